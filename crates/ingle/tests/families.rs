//! Small files with random weights and the vocabularies of the families, through `ingle run`: the
//! prompt has the tokens that the family's own tokenizer gives, and its end of turn ends an answer.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

mod support;

use ingle_formats::TensorType;
use ingle_formats::gguf::{Header, Metadata, Value, Writer};
use serde_json::Value as Json;
use std::fs::File;
use support::{run, shared};

type Pairs = Vec<(String, Value)>;

const WIDTH: usize = 32;
const FFN: usize = 32;

/// A model that says `word` and then wants to stop by `end`, once the word is penalised.
struct Model {
    arch: &'static str,
    /// Keys of the vocabulary, the template among them.
    vocabulary: Pairs,
    n_vocab: usize,
    word: usize,
    end: usize,
}

impl Model {
    fn pairs(&self) -> Pairs {
        let mut pairs = vec![("general.architecture".to_owned(), self.arch.into())];
        let mut set = |key: &str, value: u32| {
            pairs.push((format!("{}.{key}", self.arch), value.into()));
        };
        set("block_count", 2);
        set("context_length", 256);
        set("embedding_length", WIDTH as u32);
        set("feed_forward_length", FFN as u32);
        set("attention.head_count", 2);
        set("attention.head_count_kv", 1);
        set("attention.sliding_window", 6);
        if self.arch == "llama" {
            set("expert_count", 3);
            set("expert_used_count", 2);
        }
        let eps = format!("{}.attention.layer_norm_rms_epsilon", self.arch);
        pairs.push((eps, 1e-5_f32.into()));
        pairs.extend(self.vocabulary.iter().cloned());
        pairs
    }

    /// Names and shapes of the tensors.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let n = self.n_vocab;
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), vec![WIDTH, n]),
            ("output_norm.weight".to_owned(), vec![WIDTH]),
            ("output.weight".to_owned(), vec![WIDTH, n]),
            ("output.bias".to_owned(), vec![n]),
        ];
        let mut add = |name: &str, shape: &[usize]| {
            for i in 0..2 {
                tensors.push((format!("blk.{i}.{name}.weight"), shape.to_vec()));
            }
        };
        add("attn_norm", &[WIDTH]);
        add("ffn_norm", &[WIDTH]);
        add("attn_output", &[WIDTH, WIDTH]);
        if self.arch == "phi3" {
            add("attn_qkv", &[WIDTH, 2 * WIDTH]);
            add("ffn_up", &[WIDTH, 2 * FFN]);
            add("ffn_down", &[FFN, WIDTH]);
            return tensors;
        }
        add("attn_q", &[WIDTH, WIDTH]);
        add("attn_k", &[WIDTH, WIDTH / 2]);
        add("attn_v", &[WIDTH, WIDTH / 2]);
        if self.arch == "llama" {
            add("ffn_gate_inp", &[WIDTH, 3]);
            add("ffn_gate_exps", &[WIDTH, FFN, 3]);
            add("ffn_up_exps", &[WIDTH, FFN, 3]);
            add("ffn_down_exps", &[FFN, WIDTH, 3]);
            return tensors;
        }
        add("ffn_gate", &[WIDTH, FFN]);
        add("ffn_up", &[WIDTH, FFN]);
        add("ffn_down", &[FFN, WIDTH]);
        add("post_attention_norm", &[WIDTH]);
        add("post_ffw_norm", &[WIDTH]);
        if self.arch == "gemma3" {
            add("attn_q_norm", &[WIDTH / 2]);
            add("attn_k_norm", &[WIDTH / 2]);
        }
        tensors
    }

    fn file(&self) -> Vec<u8> {
        let mut state = 5_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let metadata = Metadata::from_pairs(self.pairs()).unwrap();
        let mut writer = Writer::new().metadata(&metadata);
        let mut data = Vec::new();
        for (name, shape) in self.tensors() {
            let n: usize = shape.iter().product();
            let mut values: Vec<f32> = (0..n).map(|_| random() * 0.5).collect();
            if name == "output.bias" {
                (values[self.word], values[self.end]) = (25.0, 24.0);
            }
            let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
            writer = writer.tensor(name, &shape, TensorType::F32);
            data.push(
                values
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect::<Vec<u8>>(),
            );
        }
        writer.file(&data).unwrap()
    }

    /// What `ingle run` says about the answer to "Hi there", the word penalised or not.
    fn answer(&self, penalty: &str) -> Json {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, self.file()).unwrap();
        let path = path.to_str().unwrap();
        let args = [
            "run",
            path,
            "Hi there",
            "--json",
            "--temp",
            "0",
            "-n",
            "5",
            "--presence-penalty",
            penalty,
            "--repeat-last-n",
            "1", // the prompt has the end of a turn too
            "--threads",
            "1",
        ];
        let done = run(&args);
        assert_eq!(done.code, 0, "{}: {}", self.arch, done.err);
        serde_json::from_str(&done.out).unwrap()
    }

    fn check(&self, word: &str, prompt_tokens: u32) {
        let endless = self.answer("0");
        assert_eq!(endless["finish_reason"], "length", "{}", self.arch);
        assert_eq!(endless["text"], word.repeat(5), "{}", self.arch);
        let ended = self.answer("2");
        assert_eq!(ended["finish_reason"], "stop", "{}", self.arch);
        assert_eq!(ended["text"], word, "{}", self.arch);
        assert_eq!(
            ended["usage"]["prompt_tokens"], prompt_tokens,
            "{}",
            self.arch
        );
    }
}

/// The vocabulary's keys of a file, and its tokens.
fn vocabulary(file: &str) -> Option<(Pairs, Vec<String>)> {
    let path = shared(file)?;
    let len = path.metadata().unwrap().len();
    let header = Header::read(&mut File::open(path).unwrap(), len).unwrap();
    let tokens = header
        .metadata
        .strings("tokenizer.ggml.tokens")
        .unwrap()
        .unwrap();
    let tokens = tokens.iter().map(|t| t.to_string()).collect();
    let ours = |key: &str| key.starts_with("tokenizer.") || key == "general.name";
    let pairs = header.metadata.iter().filter(|(key, _)| ours(key));
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.clone()));
    Some((pairs.collect(), tokens))
}

fn find(tokens: &[String], token: &str) -> usize {
    tokens.iter().position(|t| t == token).unwrap()
}

#[test]
fn phi_3_ends_by_its_end_of_turn() {
    let file = "tokenizers/ggml-vocab-phi-3.gguf";
    let Some((vocabulary, tokens)) = vocabulary(file) else {
        return;
    };
    let model = Model {
        arch: "phi3",
        vocabulary, // with its template
        n_vocab: tokens.len(),
        word: find(&tokens, "▁cat"),
        end: find(&tokens, "<|end|>"),
    };
    // <s> <|user|> ▁Hi ▁there <|end|> <|assistant|>: the line ends are eaten, as by llama.cpp.
    model.check(" cat", 6);
}

#[test]
fn mixtral_ends_by_the_end_of_a_text() {
    let file = "tokenizers/ggml-vocab-llama-spm.gguf"; // that of Mixtral but for scores
    let Some((mut vocabulary, tokens)) = vocabulary(file) else {
        return;
    };
    let template = "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %} [INST] {{ message.content }} [/INST]{% else %} {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}";
    vocabulary.push(("tokenizer.chat_template".to_owned(), template.into()));
    let model = Model {
        arch: "llama",
        vocabulary,
        n_vocab: tokens.len(),
        word: find(&tokens, "▁cat"),
        end: find(&tokens, "</s>"),
    };
    // <s> and the ten that llama.cpp makes of " [INST] Hi there [/INST]" behind it.
    model.check(" cat", 11);
}

/// A SentencePiece vocabulary in Gemma's manner: no space before a text, turns in tokens.
fn gemma() -> (Pairs, Vec<String>) {
    let mut tokens: Vec<String> = ["<pad>", "<eos>", "<bos>", "<unk>"]
        .map(String::from)
        .to_vec();
    let mut kinds = vec![3, 3, 3, 2];
    for turn in ["<start_of_turn>", "<end_of_turn>"] {
        tokens.push(turn.to_owned());
        kinds.push(3);
    }
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    kinds.extend([6; 256]);
    for piece in [
        "\n", "u", "s", "e", "r", "us", "er", "user", "m", "o", "d", "l", "mo", "de", "mode",
        "model", "H", "i", "Hi", "▁", "t", "h", "th", "the", "ther", "there", "▁there", "▁cat",
    ] {
        tokens.push(piece.to_owned());
    }
    kinds.resize(tokens.len(), 1);
    let scores: Vec<f32> = (0..tokens.len()).map(|i| -(i as f32)).collect();
    let pairs: Vec<(&str, Value)> = vec![
        ("tokenizer.ggml.model", "llama".into()),
        ("tokenizer.ggml.pre", "default".into()),
        ("tokenizer.ggml.tokens", tokens.clone().into()),
        ("tokenizer.ggml.scores", scores.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.bos_token_id", 2_u32.into()),
        ("tokenizer.ggml.eos_token_id", 1_u32.into()),
        ("tokenizer.ggml.unknown_token_id", 3_u32.into()),
        ("tokenizer.ggml.padding_token_id", 0_u32.into()),
        ("tokenizer.ggml.add_bos_token", true.into()),
        ("tokenizer.ggml.add_eos_token", false.into()),
        ("tokenizer.ggml.add_space_prefix", false.into()),
    ];
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    (pairs.collect(), tokens)
}

#[test]
fn gemmas_end_by_their_end_of_turn() {
    let Some(template) = shared("templates/google-gemma-2-2b-it.jinja") else {
        return;
    };
    let template = std::fs::read_to_string(template).unwrap();
    for arch in ["gemma2", "gemma3"] {
        let (mut vocabulary, tokens) = gemma();
        let key = "tokenizer.chat_template".to_owned();
        vocabulary.push((key, template.as_str().into()));
        let model = Model {
            arch,
            vocabulary,
            n_vocab: tokens.len(),
            word: find(&tokens, "▁cat"),
            end: find(&tokens, "<end_of_turn>"),
        };
        // <bos> <start_of_turn> user \n Hi ▁there <end_of_turn> \n <start_of_turn> model \n
        model.check(" cat", 11);
    }
}
