//! Listing the models in folders.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::path::Path;

use ingle_formats::TensorType;
use ingle_formats::gguf::Writer;
use ingle_store::{StoreError, Summary, list};

fn model(writer: Writer) -> Vec<u8> {
    writer
        .pair("general.architecture", "qwen3")
        .pair("qwen3.context_length", 4096_u32)
        .tensor("a", &[32], TensorType::Q8_0)
        .file([[0; 34]])
        .unwrap()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn models_are_found_once_and_faults_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let named = Writer::new()
        .pair("general.name", "Small")
        .pair("general.file_type", 15_u32);
    put(root, "a.gguf", &model(named));
    put(root, "deep/er/b.GGUF", &model(Writer::new()));
    put(root, "bad.gguf", b"GGUF");
    put(root, "notes.txt", b"not a model");
    put(root, ".hidden/c.gguf", &model(Writer::new()));
    let first = Writer::new()
        .pair("split.no", 0_u16)
        .pair("split.count", 2_u16);
    put(root, "s-00001-of-00002.gguf", &model(first));
    let second = Writer::new()
        .pair("split.no", 1_u16)
        .pair("split.count", 2_u16)
        .tensor("z", &[1], TensorType::F32)
        .file([[0; 4]])
        .unwrap();
    put(root, "s-00002-of-00002.gguf", &second);
    put(root, "t-00002-of-00002.gguf", &second);

    let listing = list([root, root]);
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    let names: Vec<_> = listing.models.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["a", "bad", "b", "s", "t"]);
    let facts = |index: usize| listing.models[index].summary.as_ref();
    let wanted = Summary {
        title: Some("Small".into()),
        architecture: "qwen3".into(),
        parameters: 32,
        quantisation: "Q4_K_M".into(),
        file_bytes: std::fs::metadata(root.join("a.gguf")).unwrap().len(),
        n_files: 1,
        context_length: Some(4096),
    };
    assert_eq!(facts(0).unwrap(), &wanted);
    assert!(matches!(facts(1), Err(StoreError::Gguf { .. })));
    assert_eq!(facts(2).unwrap().quantisation, "Q8_0");
    assert_eq!(
        (facts(3).unwrap().n_files, facts(3).unwrap().parameters),
        (2, 33)
    );
    assert!(matches!(facts(4), Err(StoreError::MissingParts { .. })));
}

#[test]
fn a_folder_that_is_not_there_is_a_problem_and_not_an_end() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.gguf", &model(Writer::new()));
    let listing = list([folder.path().join("absent").as_path(), folder.path()]);
    assert_eq!((listing.models.len(), listing.problems.len()), (1, 1));
}
