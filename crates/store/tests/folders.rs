//! Hugging Face folders, as transformers saves them, are the GGUF files that they would be converted to.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail"
)]

use std::path::{Path, PathBuf};

use ingle_formats::TensorType;
use ingle_formats::gguf::{TensorInfo, Value};
use ingle_store::quantize::{QuantizeError, Recipe};
use ingle_store::{Format, Io, ModelFiles, OpenOptions, StoreError, list};
use ingle_tensor::{WeightSource, quant};
use serde_json::json;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/folders")
}

fn folder(name: &str) -> PathBuf {
    goldens().join(name)
}

/// The GGUF file of the same model.
fn gguf(name: &str) -> ModelFiles {
    let file = format!("../model/tests/goldens/{name}.gguf");
    ModelFiles::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn whole(source: &ModelFiles, name: &str) -> Vec<u8> {
    let len = source.tensor(name).unwrap().byte_len as usize;
    let mut bytes = vec![0; len];
    source.read(name, 0, &mut bytes).unwrap();
    bytes
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(goldens()).unwrap();
    let name =
        |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}

/// The golden whose weights and settings a folder has.
fn twin(name: &str) -> &str {
    name.strip_suffix("-stacked").unwrap_or(name)
}

#[test]
fn every_tensor_is_that_of_the_gguf_file() {
    for name in names() {
        let (found, wanted) = (ModelFiles::open(folder(&name)).unwrap(), gguf(twin(&name)));
        assert_eq!(found.format(), Format::Safetensors);
        let all = |files: &ModelFiles| -> Vec<String> {
            let mut all: Vec<_> = files.tensors().iter().map(|t| t.name.clone()).collect();
            all.sort();
            all
        };
        assert_eq!(all(&found), all(&wanted), "{name}");
        for tensor in wanted.tensors() {
            let here = found
                .tensor(&tensor.name)
                .unwrap_or_else(|| panic!("{name}: {}", tensor.name));
            assert_eq!(here.shape, tensor.shape, "{name}: {}", tensor.name);
            // Only types that this model is stored in, and F32 for what GGUF keeps so.
            let wanted = whole(&wanted, &tensor.name);
            let mut values = vec![0.0; wanted.len() / 4];
            quant::decode(TensorType::F32, &wanted, &mut values).unwrap();
            let mut rounded = vec![0; here.byte_len as usize];
            let stored = match name.as_str() {
                "mistral" => TensorType::F16,
                "llama" => TensorType::F32,
                _ => TensorType::Bf16,
            };
            // Norms of Gemma have 1 added to what is stored.
            let added = name.starts_with("gemma") && tensor.shape.len() == 1;
            let through = if tensor.name.starts_with("rope") || added {
                TensorType::F32
            } else {
                stored
            };
            let mut narrow = vec![0; values.len() * through.block_bytes() as usize];
            quant::encode(through, &values, &mut narrow).unwrap();
            quant::decode(through, &narrow, &mut values).unwrap();
            quant::encode(here.ty, &values, &mut rounded).unwrap();
            assert!(
                whole(&found, &tensor.name) == rounded,
                "{name}: {}",
                tensor.name
            );
            assert!(
                here.ty == TensorType::F32 || here.ty == stored,
                "{name}: {}",
                tensor.name
            );
        }
    }
}

/// Keys that say the same in another way, or that the GGUF golden's writer leaves out.
fn may_differ(key: &str) -> bool {
    matches!(key, "general.name" | "general.file_type") || key.ends_with(".rope.dimension_count")
}

/// The GGUF goldens of some architectures have another vocabulary than the folders.
fn own_vocabulary(name: &str, key: &str) -> bool {
    key.starts_with("tokenizer.")
        && ["phi3", "gemma", "qwen3-"]
            .iter()
            .any(|start| name.starts_with(start))
}

#[test]
fn every_key_is_that_of_the_gguf_file() {
    for name in names() {
        let (found, wanted) = (ModelFiles::open(folder(&name)).unwrap(), gguf(twin(&name)));
        for (key, value) in wanted
            .metadata()
            .iter()
            .filter(|(key, _)| !may_differ(key) && !own_vocabulary(&name, key))
        {
            let here = found.metadata().get(key);
            let same = match (here, value) {
                (Some(Value::F32(a)), Value::F32(b)) => (a - b).abs() <= 1e-6 * b.abs(),
                (Some(a), b) if b.as_integer().is_some() => a.as_integer() == b.as_integer(),
                (a, b) => a == Some(b),
            };
            assert!(same, "{name}: {key} is {here:?}, and {value:?} is wanted");
        }
    }
}

#[test]
fn any_range_of_a_tensor_can_be_read() {
    for name in ["llama-tied-llama3", "qwen3moe-stacked", "qwen3moe"] {
        let files = ModelFiles::open(folder(name)).unwrap();
        for tensor in files.tensors() {
            let all = whole(&files, &tensor.name);
            let len = all.len();
            // Cuts at odd places: in the middle of elements, rows, heads and experts.
            let cuts = [0, 1, 3, 64, 67, 128, len / 3, len / 2 + 1, len - 1, len];
            for (i, &from) in cuts.iter().enumerate() {
                for &to in cuts.iter().skip(i).filter(|&&to| to >= from && to <= len) {
                    let mut part = vec![0xaa; to - from];
                    files.read(&tensor.name, from as u64, &mut part).unwrap();
                    assert!(
                        part == all[from..to],
                        "{name}: {} {from}..{to}",
                        tensor.name
                    );
                }
            }
            assert!(files.read(&tensor.name, len as u64, &mut [0]).is_err());
        }
    }
}

#[test]
fn a_folder_is_known_by_its_files_and_reads_the_same_in_the_portable_way() {
    let by = |path: &str| ModelFiles::open(goldens().join(path)).unwrap();
    let wanted = whole(&by("llama"), "blk.1.attn_q.weight");
    for path in [
        "llama/config.json",
        "llama/model.safetensors.index.json",
        "llama/model-00003-of-00009.safetensors",
    ] {
        assert!(whole(&by(path), "blk.1.attn_q.weight") == wanted, "{path}");
    }
    let options = OpenOptions {
        io: Io::Portable,
        ..OpenOptions::default()
    };
    let portable = ModelFiles::open_with(folder("llama"), options).unwrap();
    assert!(whole(&portable, "blk.1.attn_q.weight") == wanted);
    assert_eq!(portable.paths().count(), 9);
    assert_eq!(portable.summary().quantisation, "F32");
    assert_eq!(by("qwen3").summary().quantisation, "BF16");
    assert_eq!(by("qwen3").summary().title.as_deref(), Some("qwen3"));
}

#[test]
fn folders_are_listed_once_by_their_names() {
    let listing = list([goldens()]);
    let found: Vec<&str> = listing
        .models
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    assert_eq!(found, names());
    for model in &listing.models {
        let summary = model.summary.as_ref().unwrap_or_else(|e| panic!("{e}"));
        assert!(summary.parameters > 1000, "{}", model.name);
        assert!(ModelFiles::open(&model.path).is_ok());
    }
}

#[test]
fn weights_can_be_quantised_while_they_are_read() {
    for name in ["llama", "qwen3", "qwen3moe-stacked"] {
        let plain = ModelFiles::open(folder(name)).unwrap();
        let open = || ModelFiles::open(folder(name)).unwrap();
        for recipe in [Recipe::Q8_0, Recipe::Q4_0, Recipe::F16] {
            let files = open().quantised(recipe, 2).unwrap();
            assert_eq!(files.quantised_to(), Some(recipe));
            assert_eq!(
                files.metadata().u32("general.file_type").unwrap(),
                Some(recipe.file_type())
            );
            let tensor = files.tensor("blk.0.attn_output.weight").unwrap();
            assert_eq!(tensor.ty, recipe.main_type(), "{name}");
            for tensor in files.tensors() {
                let stored = plain.tensor(&tensor.name).unwrap();
                let raw = whole(&plain, &tensor.name);
                let mut values = vec![0.0; stored.shape.iter().product::<u64>() as usize];
                quant::decode(stored.ty, &raw, &mut values).unwrap();
                let mut wanted = vec![0; tensor.byte_len as usize];
                quant::encode(tensor.ty, &values, &mut wanted).unwrap();
                assert!(
                    whole(&files, &tensor.name) == wanted,
                    "{name}: {}",
                    tensor.name
                );
                // Any range, also one that cuts blocks.
                let (from, to) = (wanted.len() / 3, wanted.len() - 1);
                let mut part = vec![0; to - from];
                files.read(&tensor.name, from as u64, &mut part).unwrap();
                assert!(part == wanted[from..to], "{name}: {}", tensor.name);
                let end = wanted.len() as u64;
                assert!(files.read(&tensor.name, end, &mut [0]).is_err());
            }
            let norms = |t: &&TensorInfo| t.shape.len() == 1;
            assert!(
                files
                    .tensors()
                    .iter()
                    .filter(norms)
                    .all(|t| t.ty == TensorType::F32)
            );
        }
        let twice = open()
            .quantised(Recipe::Q8_0, 1)
            .unwrap()
            .quantised(Recipe::Q4_0, 1);
        assert!(matches!(twice, Err(QuantizeError::Quantised { .. })));
    }
}

/// A copy of a golden that a test may damage.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(folder(name)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        Self(copy)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let text = std::fs::read(self.path(file)).unwrap();
        let mut json = serde_json::from_slice(&text).unwrap();
        change(&mut json);
        std::fs::write(self.path(file), json.to_string()).unwrap();
    }

    fn open(&self) -> Result<ModelFiles, StoreError> {
        ModelFiles::open(self.0.path())
    }

    /// The message, without the place of the folder.
    fn refused(&self) -> String {
        let message = self.open().expect_err("it is opened").to_string();
        message.replace(&self.0.path().display().to_string(), "FOLDER")
    }
}

/// A message where config.json of a golden has other values.
fn with_config(name: &str, changes: serde_json::Value) -> String {
    let copy = Copy::of(name);
    copy.edit("config.json", |config| {
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
    });
    copy.refused()
}

#[test]
fn a_config_that_lies_is_refused_with_what_it_says() {
    let mut messages = String::new();
    for changes in [
        json!({"architectures": ["MambaForCausalLM"]}),
        json!({"architectures": []}),
        json!({"hidden_size": 0}),
        json!({"hidden_size": -64}),
        json!({"hidden_size": 1e300}),
        json!({"hidden_size": "64"}),
        json!({"num_attention_heads": 0}),
        json!({"num_attention_heads": 8}),
        json!({"num_attention_heads": 3}),
        json!({"num_key_value_heads": 4}),
        json!({"num_hidden_layers": 4_000_000_000_u32}),
        json!({"vocab_size": 95}),
        json!({"hidden_act": "relu"}),
        json!({"quantization_config": {"quant_method": "fp8"}}),
        json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}),
        json!({"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}),
        json!({"rope_parameters": {"rope_type": "linear", "factor": -1.0}}),
        json!({"rope_parameters": {"rope_type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}}),
        json!({"rope_parameters": 7}),
        json!({"text_config": []}),
    ] {
        messages += &format!("{changes}\n    {}\n", with_config("llama", changes.clone()));
    }
    let moe = [
        json!({"num_local_experts": 7}),
        json!({"num_local_experts": 9}),
        json!({"num_local_experts": 4_294_967_295_u32}),
    ];
    for changes in moe {
        for name in ["qwen3moe", "qwen3moe-stacked"] {
            messages += &format!(
                "{name} {changes}\n    {}\n",
                with_config(name, changes.clone())
            );
        }
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn a_folder_that_is_incomplete_is_refused_with_what_is_missing() {
    let mut messages = String::new();
    let mut note = |what: &str, message: String| messages += &format!("{what}\n    {message}\n");
    let without = |name: &str, file: &str| {
        let copy = Copy::of(name);
        std::fs::remove_file(copy.path(file)).unwrap();
        copy.refused()
    };
    note("no config.json", without("llama", "config.json"));
    note("no tokenizer", without("llama", "tokenizer.json"));
    note(
        "no shard",
        without("llama", "model-00002-of-00009.safetensors"),
    );
    note("no index", without("llama", "model.safetensors.index.json"));
    note("no weights", without("qwen3", "model.safetensors"));
    let copy = Copy::of("qwen3");
    std::fs::rename(
        copy.path("model.safetensors"),
        copy.path("pytorch_model.bin"),
    )
    .unwrap();
    note("pickled", copy.refused());
    for (what, map) in [
        ("a way out", json!({"a": "../model.safetensors"})),
        ("an absolute path", json!({"a": "/etc/model.safetensors"})),
        ("another file", json!({"a": "config.json"})),
        ("no files", json!({})),
        ("no map", json!(1)),
        (
            "another place",
            json!({"model.norm.weight": "model-00001-of-00009.safetensors"}),
        ),
        (
            "too few",
            json!({"lm_head.weight": "model-00009-of-00009.safetensors"}),
        ),
    ] {
        let copy = Copy::of("llama");
        copy.edit("model.safetensors.index.json", |index| {
            index["weight_map"] = map
        });
        note(what, copy.refused());
    }
    let copy = Copy::of("llama");
    std::fs::write(copy.path("config.json"), "{").unwrap();
    note("half a config.json", copy.refused());
    std::fs::write(copy.path("config.json"), "[".repeat(100_000)).unwrap();
    note("a deep config.json", copy.refused());
    let copy = Copy::of("llama");
    let (first, second) = (
        "model-00001-of-00009.safetensors",
        "model-00002-of-00009.safetensors",
    );
    std::fs::copy(copy.path(first), copy.path(second)).unwrap();
    note("the same file twice", copy.refused());
    insta::assert_snapshot!(messages);
}

#[test]
fn old_spellings_mean_the_same() {
    let key = |files: &ModelFiles, key: &str| files.metadata().get(key).cloned();
    let copy = Copy::of("llama-tied-llama3");
    copy.edit("config.json", |config| {
        let mut rope = config["rope_parameters"].take();
        config["rope_theta"] = rope["rope_theta"].take();
        rope["type"] = rope["rope_type"].take();
        config["rope_scaling"] = rope;
        config.as_object_mut().unwrap().remove("rope_parameters");
    });
    let (old, new) = (
        copy.open().unwrap(),
        ModelFiles::open(folder("llama-tied-llama3")).unwrap(),
    );
    assert!(whole(&old, "rope_freqs.weight") == whole(&new, "rope_freqs.weight"));
    let base = "llama.rope.freq_base";
    assert_eq!(key(&old, base), Some(Value::F32(5000.0)));
    assert_eq!(key(&old, base), key(&new, base));
}

/// A network takes an absent key for its family's default, so that "none" has to be said.
#[test]
fn what_a_config_says_is_absent_is_not_the_default_of_the_family() {
    let copy = Copy::of("gemma2");
    let none = [
        ("attn_logit_softcapping", Value::F32(0.0)),
        ("final_logit_softcapping", Value::F32(0.0)),
    ];
    copy.edit("config.json", |config| {
        for (key, _) in &none {
            config[*key] = serde_json::Value::Null;
        }
        config["sliding_window"] = serde_json::Value::Null;
    });
    let files = copy.open().unwrap();
    for (key, value) in none {
        let found = files.metadata().get(&format!("gemma2.{key}"));
        assert_eq!(found, Some(&value), "{key}");
    }
    let window = files.metadata().get("gemma2.attention.sliding_window");
    assert_eq!(window, Some(&Value::U32(0)));
}

#[test]
fn a_file_that_changes_behind_us_is_noticed() {
    let copy = Copy::of("qwen3");
    let files = copy.open().unwrap();
    let name = "blk.0.attn_q.weight";
    let mut bytes = vec![0; files.tensor(name).unwrap().byte_len as usize];
    files.read(name, 0, &mut bytes).unwrap();
    let path = copy.path("model.safetensors");
    let len = path.metadata().unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len - 1)
        .unwrap();
    let error = files.read(name, 0, &mut bytes).unwrap_err().to_string();
    assert!(error.contains("has changed"), "{error}");
}
