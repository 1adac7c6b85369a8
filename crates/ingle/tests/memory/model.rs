//! A mixture of experts with random blocks, written as a file.

use ingle::formats::TensorType as T;
use ingle::formats::gguf::{Array, Metadata, Value, Writer};
use ingle::store::ModelFiles;
use std::io::{BufWriter, Write};
use std::path::Path;

const WIDTH: u64 = 512;
const LAYERS: u64 = 8;
const EXPERTS: u64 = 64;
const FFN: u64 = 256;
const HEADS: u64 = 8;
const KV_HEADS: u64 = 2;
const HEAD_DIM: u64 = 64;
/// Tokens: those of the built-in model, and others that are never written.
const VOCABULARY: u64 = 65_536;

/// Writes the file; its bytes.
pub fn write(path: &Path) -> u64 {
    let shapes = shapes();
    let mut writer = Writer::new().metadata(&metadata());
    for (name, shape, ty) in &shapes {
        writer = writer.tensor(name, shape, *ty);
    }
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&writer.header().unwrap()).unwrap();
    let mut noise = Noise(1);
    let pools = [T::Q4K, T::Q6K].map(|ty| (ty, pool(ty, &mut noise)));
    for (name, shape, ty) in &shapes {
        let n: u64 = shape.iter().product();
        let len = ty.byte_len(n).unwrap();
        match pools.iter().find(|(other, _)| other == ty) {
            Some((_, pool)) => blocks(&mut file, pool, len as usize, &mut noise),
            None => {
                for _ in 0..n {
                    let x = if name.contains("norm") {
                        1.0
                    } else {
                        0.04 * noise.number()
                    };
                    file.write_all(&x.to_le_bytes()).unwrap();
                }
            }
        }
        let padding = writer.padding(len).unwrap() as usize;
        file.write_all(&vec![0; padding]).unwrap();
    }
    file.flush().unwrap();
    std::fs::metadata(path).unwrap().len()
}

fn shapes() -> Vec<(String, Vec<u64>, T)> {
    let mut all = vec![
        (
            "token_embd.weight".to_owned(),
            vec![WIDTH, VOCABULARY],
            T::Q4K,
        ),
        ("output.weight".to_owned(), vec![WIDTH, VOCABULARY], T::Q6K),
        ("output_norm.weight".to_owned(), vec![WIDTH], T::F32),
    ];
    for layer in 0..LAYERS {
        // As usual, some layers store their most sensitive matrices better: slots of two sizes.
        let more = if layer % 3 == 0 { T::Q6K } else { T::Q4K };
        let own: [(&str, &[u64], T); 12] = [
            ("attn_norm", &[WIDTH], T::F32),
            ("attn_q", &[WIDTH, HEADS * HEAD_DIM], T::Q4K),
            ("attn_k", &[WIDTH, KV_HEADS * HEAD_DIM], T::Q4K),
            ("attn_v", &[WIDTH, KV_HEADS * HEAD_DIM], more),
            ("attn_output", &[HEADS * HEAD_DIM, WIDTH], T::Q4K),
            ("attn_q_norm", &[HEAD_DIM], T::F32),
            ("attn_k_norm", &[HEAD_DIM], T::F32),
            ("ffn_norm", &[WIDTH], T::F32),
            ("ffn_gate_inp", &[WIDTH, EXPERTS], T::F32),
            ("ffn_gate_exps", &[WIDTH, FFN, EXPERTS], T::Q4K),
            ("ffn_up_exps", &[WIDTH, FFN, EXPERTS], T::Q4K),
            ("ffn_down_exps", &[FFN, WIDTH, EXPERTS], more),
        ];
        let named = |(name, shape, ty): (&str, &[u64], T)| {
            (format!("blk.{layer}.{name}.weight"), shape.to_vec(), ty)
        };
        all.extend(own.map(named));
    }
    all
}

/// The tokens of the built-in model, its shape changed.
fn metadata() -> Metadata {
    let built_in = "../../models/ingle-mini/ingle-mini.gguf";
    let files = ModelFiles::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(built_in)).unwrap();
    let number = |n: u64| Value::U32(n as u32);
    let mut pairs: Vec<(String, Value)> = Vec::new();
    for (key, value) in files.metadata().iter() {
        if key.starts_with("tokenizer.") && key != "tokenizer.chat_template" {
            pairs.push((key.to_owned(), longer(key, value)));
        }
    }
    pairs.push((
        "general.architecture".into(),
        Value::String("qwen3moe".into()),
    ));
    for (key, value) in [
        ("context_length", 4096),
        ("embedding_length", WIDTH),
        ("block_count", LAYERS),
        ("feed_forward_length", 3 * WIDTH),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("attention.key_length", HEAD_DIM),
        ("attention.value_length", HEAD_DIM),
        ("expert_count", EXPERTS),
        ("expert_used_count", 4),
        ("expert_feed_forward_length", FFN),
    ] {
        pairs.push((format!("qwen3moe.{key}"), number(value)));
    }
    let epsilon = "qwen3moe.attention.layer_norm_rms_epsilon";
    pairs.push((epsilon.into(), Value::F32(1e-6)));
    pairs.push(("qwen3moe.rope.freq_base".into(), Value::F32(1e6)));
    Metadata::from_pairs(pairs).unwrap()
}

/// Lists of the vocabulary with tokens added that no text has.
fn longer(key: &str, value: &Value) -> Value {
    match (key, value) {
        ("tokenizer.ggml.tokens", Value::Array(Array::Strings(tokens))) => {
            let added = (tokens.len() as u64..VOCABULARY).map(|i| format!("<|spare_{i}|>"));
            let tokens = tokens.iter().map(str::to_owned).chain(added);
            Value::Array(Array::Strings(tokens.collect()))
        }
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))) => {
            let mut types = types.clone();
            types.resize(VOCABULARY as usize, 5); // unused
            Value::Array(Array::I32(types))
        }
        _ => value.clone(),
    }
}

/// Random blocks whose numbers have mean 0 and a deviation near 0.02.
fn pool(ty: T, noise: &mut Noise) -> Vec<u8> {
    let block_len = ty.byte_len(256).unwrap() as usize;
    let mut pool = Vec::new();
    for _ in 0..4096 {
        let mut block: Vec<u8> = (0..block_len).map(|_| noise.bits() as u8).collect();
        let scale = |deviation: f32, noise: &mut Noise| {
            let x = 0.02 / deviation * (1.0 + 0.3 * noise.number());
            half::f16::from_f32(x)
        };
        match ty {
            T::Q4K => {
                let d = scale(36.6 * 4.6, noise);
                let minimum = half::f16::from_f32(d.to_f32() * 7.5);
                block[..2].copy_from_slice(&d.to_le_bytes());
                block[2..4].copy_from_slice(&minimum.to_le_bytes());
                // The same number for scale and minimum of each part: mean 0.
                block.copy_within(4..8, 8);
                for byte in &mut block[12..16] {
                    *byte = *byte & 15 | *byte << 4;
                }
            }
            _ => {
                let at = block_len - 2;
                block[at..].copy_from_slice(&scale(18.5 * 74.0, noise).to_le_bytes());
            }
        }
        pool.extend(block);
    }
    pool
}

/// `len` bytes of whole blocks, from anywhere in the pool.
fn blocks(file: &mut impl Write, pool: &[u8], len: usize, noise: &mut Noise) {
    let block_len = pool.len() / 4096;
    let mut left = len;
    while left > 0 {
        let start = noise.bits() as usize % 4096 * block_len;
        let n = left.min(pool.len() - start);
        file.write_all(&pool[start..start + n]).unwrap();
        left -= n;
    }
}

/// Numbers drawn from a counter (splitmix64).
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) >> 16
    }

    /// From -1 to 1.
    fn number(&mut self) -> f32 {
        (self.bits() & 0xff_ffff) as f32 / (1 << 23) as f32 - 1.0
    }
}
