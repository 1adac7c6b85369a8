//! Tiny models with random weights, made in memory.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use ingle_formats::TensorType;
use ingle_formats::gguf::{Header, Metadata, TensorInfo, Value};
use ingle_tensor::MemorySource;
use std::path::{Path, PathBuf};

/// A model in memory, to be changed by a test before it is loaded.
#[derive(Clone, Default)]
pub struct Model {
    pub pairs: Vec<(String, Value)>,
    pub tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
}

pub const N_VOCAB: u64 = 300;

impl Model {
    /// A model of this architecture: 3 layers, width 32, 4 heads of 16 on 2 key-value heads.
    pub fn random(arch: &str) -> Self {
        let mut model = Self::default();
        model.set("general.architecture", arch);
        for (key, value) in [
            ("block_count", 3_u32),
            ("context_length", 512),
            ("embedding_length", 32),
            ("feed_forward_length", 48),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.key_length", 16),
            ("attention.value_length", 16),
            ("rope.dimension_count", 16),
        ] {
            model.set(&format!("{arch}.{key}"), value);
        }
        model.set(
            &format!("{arch}.attention.layer_norm_rms_epsilon"),
            1e-5_f32,
        );
        model.set(&format!("{arch}.rope.freq_base"), 10_000_f32);
        let mut rng = Rng(0x1234_5678_9abc_def1);
        model.weight(&mut rng, "token_embd.weight", &[32, N_VOCAB], 1.0);
        model.weight(&mut rng, "output_norm.weight", &[32], 0.0);
        model.weight(&mut rng, "output.weight", &[32, N_VOCAB], 0.3);
        for i in 0..3 {
            model.layer(&mut rng, arch, i);
        }
        if arch == "phi3" {
            model.set("phi3.rope.scaling.original_context_length", 100_u32);
            model.weight(&mut rng, "rope_factors_short.weight", &[8], 0.0);
            model.weight(&mut rng, "rope_factors_long.weight", &[8], 0.0);
        }
        model
    }

    /// A Llama of experts, all in one tensor, or each in its own.
    pub fn mixtral(split: bool) -> Self {
        let mut model = Self::random("llama");
        model.tensors.retain(|t| {
            !["ffn_gate", "ffn_up", "ffn_down"]
                .iter()
                .any(|name| t.0.contains(name))
        });
        let mut rng = Rng(99);
        for i in 0..3 {
            let b = format!("blk.{i}.ffn_");
            model.weight(&mut rng, &format!("{b}gate_inp.weight"), &[32, 5], 0.3);
            for (name, shape) in [("gate", [32, 48]), ("up", [32, 48]), ("down", [48, 32])] {
                let stack = [shape[0], shape[1], 5];
                model.weight(&mut rng, &format!("{b}{name}_exps.weight"), &stack, 0.3);
                if split {
                    let (_, _, data) = model.tensors.pop().unwrap();
                    for (expert, data) in data.chunks(32 * 48).enumerate() {
                        let name = format!("{b}{name}.{expert}.weight");
                        model.tensors.push((name, shape.to_vec(), data.to_vec()));
                    }
                }
            }
        }
        model.set("llama.expert_count", 5_u32);
        model.set("llama.expert_used_count", 2_u32);
        model
    }

    /// Adds a vocabulary: `<unk>`, `<s>`, `</s>`, every byte, and the words `w0` to `w40`.
    pub fn with_vocabulary(mut self) -> Self {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
        let mut kinds = vec![2, 3, 3];
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        kinds.extend([6; 256]);
        tokens.extend((0..N_VOCAB - 259).map(|i| format!("\u{2581}w{i}")));
        kinds.resize(tokens.len(), 1);
        self.set("tokenizer.ggml.model", "llama");
        self.set("tokenizer.ggml.scores", vec![0_f32; tokens.len()]);
        self.set("tokenizer.ggml.token_type", kinds);
        self.set("tokenizer.ggml.tokens", tokens);
        self.set("tokenizer.ggml.bos_token_id", 1_u32);
        self.set("tokenizer.ggml.eos_token_id", 2_u32);
        self
    }

    fn layer(&mut self, rng: &mut Rng, arch: &str, i: usize) {
        let b = format!("blk.{i}.");
        let mut weight = |name: &str, shape: &[u64], size| {
            self.weight(rng, &format!("{b}{name}"), shape, size);
        };
        weight("attn_norm.weight", &[32], 0.0);
        if arch == "phi3" {
            weight("attn_qkv.weight", &[32, 128], 0.4);
        } else {
            weight("attn_q.weight", &[32, 64], 0.4);
            weight("attn_k.weight", &[32, 32], 0.4);
            weight("attn_v.weight", &[32, 32], 0.2);
        }
        weight("attn_output.weight", &[64, 32], 0.2);
        weight("ffn_norm.weight", &[32], 0.0);
        match arch {
            "qwen2" => {
                weight("attn_q.bias", &[64], 0.5);
                weight("attn_k.bias", &[32], 0.5);
                weight("attn_v.bias", &[32], 0.5);
            }
            "qwen3" | "qwen3moe" | "gemma3" => {
                weight("attn_q_norm.weight", &[16], 0.0);
                weight("attn_k_norm.weight", &[16], 0.0);
            }
            _ => {}
        }
        if ["gemma2", "gemma3"].contains(&arch) {
            weight("post_attention_norm.weight", &[32], 0.0);
            weight("post_ffw_norm.weight", &[32], 0.0);
        }
        if arch == "phi3" {
            weight("ffn_up.weight", &[32, 96], 0.3);
            weight("ffn_down.weight", &[48, 32], 0.3);
        } else if arch == "qwen3moe" {
            weight("ffn_gate_inp.weight", &[32, 6], 0.3);
            weight("ffn_gate_exps.weight", &[32, 24, 6], 0.3);
            weight("ffn_up_exps.weight", &[32, 24, 6], 0.3);
            weight("ffn_down_exps.weight", &[24, 32, 6], 0.3);
            self.set("qwen3moe.expert_count", 6_u32);
            self.set("qwen3moe.expert_used_count", 2_u32);
            self.set("qwen3moe.expert_feed_forward_length", 24_u32);
        } else {
            weight("ffn_gate.weight", &[32, 48], 0.3);
            weight("ffn_up.weight", &[32, 48], 0.3);
            weight("ffn_down.weight", &[48, 32], 0.3);
        }
    }

    /// Adds a tensor of uniform numbers within `size`; of numbers around 1 where `size` is 0.
    fn weight(&mut self, rng: &mut Rng, name: &str, shape: &[u64], size: f32) {
        let n: u64 = shape.iter().product();
        let mut number = || match size {
            0.0 => 1.0 + 0.2 * rng.next(),
            _ => size * rng.next(),
        };
        let data = (0..n).map(|_| number()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), data));
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.remove(key);
        self.pairs.push((key.to_owned(), value.into()));
    }

    pub fn remove(&mut self, key: &str) {
        self.pairs.retain(|(k, _)| k != key);
    }

    pub fn tensor(&mut self, name: &str) -> &mut (String, Vec<u64>, Vec<f32>) {
        self.tensors.iter_mut().find(|t| t.0 == name).unwrap()
    }

    pub fn remove_tensor(&mut self, name: &str) {
        self.tensors.retain(|t| t.0 != name);
    }

    pub fn add_tensor(&mut self, name: &str, data: Vec<f32>) {
        let shape = vec![data.len() as u64];
        self.tensors.push((name.to_owned(), shape, data));
    }

    /// The metadata and the weights.
    pub fn build(&self) -> (Metadata, MemorySource) {
        let metadata = Metadata::from_pairs(self.pairs.clone()).unwrap();
        let (mut infos, mut bytes) = (Vec::new(), Vec::new());
        for (name, shape, data) in &self.tensors {
            infos.push(TensorInfo {
                name: name.clone(),
                shape: shape.clone(),
                ty: TensorType::F32,
                offset: bytes.len() as u64,
                byte_len: data.len() as u64 * 4,
            });
            bytes.extend(data.iter().flat_map(|x| x.to_le_bytes()));
        }
        (metadata, MemorySource::new(infos, bytes).unwrap())
    }
}

/// The metadata and the weights of a GGUF file.
pub fn open(path: &Path) -> Option<(Metadata, MemorySource)> {
    let bytes = std::fs::read(path).ok()?;
    let header = Header::read(&mut bytes.as_slice(), bytes.len() as u64).unwrap();
    let source = MemorySource::new(header.tensors, bytes).unwrap();
    Some((header.metadata, source))
}

/// The folder of public data that tests may use; they say what they skip where it is absent.
pub fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("INGLE_SHARED").map_or_else(beside, PathBuf::from)
}

/// xorshift64*: <https://arxiv.org/abs/1402.6246>
pub struct Rng(pub u64);

impl Rng {
    /// Uniform from -1 to 1.
    pub fn next(&mut self) -> f32 {
        (self.next_u32() as f64 / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    }

    pub fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}
