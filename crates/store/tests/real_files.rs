//! Real files of other people, where they are there (`../shared/data`, or `INGLE_SHARED`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where it fails, and says what it skips"
)]

use std::path::PathBuf;

use ingle_store::{ModelFiles, list};
use ingle_tensor::WeightSource;

fn shared(below: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("INGLE_SHARED") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let path = root.join("data").join(below);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn every_vocabulary_file_is_read() {
    let Some(folder) = shared("tokenizers") else {
        return;
    };
    let listing = list([folder]);
    assert!(!listing.models.is_empty());
    for model in &listing.models {
        let summary = model.summary.as_ref().unwrap();
        assert_eq!(summary.quantisation, "none", "{}", model.name);
        let files = ModelFiles::open(&model.path).unwrap();
        let metadata = files.metadata();
        let pieces = metadata.require_strings("tokenizer.ggml.tokens").unwrap();
        let kinds = metadata.i32s("tokenizer.ggml.token_type").unwrap().unwrap();
        assert!(pieces.len() > 30_000, "{}", model.name);
        assert_eq!(pieces.len(), kinds.len(), "{}", model.name);
    }
}

#[test]
fn every_tensor_of_a_real_model_is_read() {
    let Some(path) = shared("models/stories260K/stories260K.gguf") else {
        return;
    };
    let files = ModelFiles::open(path).unwrap();
    assert_eq!(files.summary().architecture, "llama");
    assert!((200_000..400_000).contains(&files.parameters()));
    for tensor in files.tensors() {
        let mut bytes = vec![0; usize::try_from(tensor.byte_len).unwrap()];
        files.read(&tensor.name, 0, &mut bytes).unwrap();
        assert!(bytes.iter().any(|&byte| byte != 0), "{}", tensor.name);
    }
}
