//! Opening models and reading their tensors, from files, split files and memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::path::{Path, PathBuf};

use ingle_formats::TensorType;
use ingle_formats::gguf::Writer;
use ingle_store::{CachePolicy, Io, ModelFiles, OpenOptions, StoreError};
use ingle_tensor::{SourceError, WeightSource};

fn data(seed: u8) -> Vec<u8> {
    (0..40).map(|i| seed.wrapping_add(i)).collect()
}

fn one_file() -> Vec<u8> {
    Writer::new()
        .pair("general.architecture", "llama")
        .tensor("a", &[10], TensorType::F32)
        .tensor("b", &[5, 2], TensorType::F32)
        .file([data(1), data(100)])
        .unwrap()
}

/// Part `index` of a model in `count` files, with one tensor.
fn part(index: u16, count: u16, tensor: &str) -> Vec<u8> {
    let mut writer = Writer::new()
        .pair("split.no", index)
        .pair("split.count", count)
        .pair("split.tensors.count", i32::from(count));
    if index == 0 {
        writer = writer.pair("general.architecture", "llama");
    }
    writer
        .tensor(tensor, &[10], TensorType::F32)
        .file([data(index as u8)])
        .unwrap()
}

fn split_model(folder: &Path, count: u16) -> Vec<PathBuf> {
    let write = |index: u16| {
        let path = folder.join(format!("m-{:05}-of-{count:05}.gguf", index + 1));
        std::fs::write(&path, part(index, count, &format!("t{index}"))).unwrap();
        path
    };
    (0..count).map(write).collect()
}

fn read(files: &ModelFiles, name: &str, offset: u64, len: usize) -> Vec<u8> {
    let mut into = vec![0; len];
    files.read(name, offset, &mut into).unwrap();
    into
}

#[test]
fn a_range_of_a_tensor_is_the_same_from_a_file_and_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, one_file()).unwrap();
    let open = |io, cache| ModelFiles::open_with(&path, OpenOptions { io, cache }).unwrap();
    for files in [
        ModelFiles::open(&path).unwrap(),
        open(Io::Native, CachePolicy::Release),
        open(Io::Portable, CachePolicy::Release),
        ModelFiles::from_bytes("built-in", one_file()).unwrap(),
    ] {
        assert_eq!(read(&files, "a", 0, 40), data(1));
        assert_eq!(read(&files, "b", 7, 9), data(100)[7..16]);
        assert_eq!(read(&files, "b", 40, 0), [0u8; 0]);
        assert_eq!(files.tensors().len(), 2);
        assert_eq!((files.weight_bytes(), files.parameters()), (80, 20));
    }
}

#[test]
fn a_range_that_leaves_its_tensor_is_refused() {
    let files = ModelFiles::from_bytes("built-in", one_file()).unwrap();
    for (offset, len) in [(0, 41), (40, 1), (u64::MAX, 1), (u64::MAX - 30, 40)] {
        let outcome = files.read("a", offset, &mut vec![0; len]);
        assert!(
            matches!(outcome, Err(SourceError::Range { .. })),
            "{offset}"
        );
    }
    let outcome = files.read("c", 0, &mut []);
    assert!(matches!(outcome, Err(SourceError::Missing { .. })));
}

#[test]
fn many_threads_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, one_file()).unwrap();
    for io in [Io::Native, Io::Portable] {
        let cache = CachePolicy::Keep;
        let files = ModelFiles::open_with(&path, OpenOptions { io, cache }).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for offset in 0..40 {
                        let found = read(&files, "b", offset as u64, 40 - offset);
                        assert_eq!(found, data(100)[offset..]);
                    }
                });
            }
        });
    }
}

#[test]
fn a_file_cut_short_or_written_to_after_opening_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    for (io, len) in [(Io::Native, 60), (Io::Portable, 60), (Io::Native, 4000)] {
        std::fs::write(&path, one_file()).unwrap();
        let cache = CachePolicy::Keep;
        let files = ModelFiles::open_with(&path, OpenOptions { io, cache }).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(len).unwrap();
        match files.read("a", 0, &mut [0; 40]) {
            Err(SourceError::Changed {
                now, then, file, ..
            }) => {
                assert_eq!((now, then), (len, one_file().len() as u64));
                assert!(file.ends_with("m.gguf"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_that_lacks_its_end_says_how_much_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let whole = one_file();
    std::fs::write(&path, &whole[..whole.len() - 70]).unwrap();
    let message = ModelFiles::open(&path).unwrap_err().to_string();
    let message = message.replace(&path.display().to_string(), "m.gguf");
    insta::assert_snapshot!(message, @"m.gguf: this file is cut short: 218 bytes of 264 bytes (tensor `b` ends at byte 264, the file at byte 218); get the file again");
}

#[test]
fn a_split_model_opens_from_any_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    for path in split_model(folder.path(), 3) {
        let files = ModelFiles::open(&path).unwrap();
        assert_eq!(files.paths().count(), 3);
        assert!(files.name().ends_with("m-00001-of-00003.gguf"));
        assert_eq!(
            files
                .metadata()
                .require_str("general.architecture")
                .unwrap(),
            "llama"
        );
        for index in 0..3 {
            assert_eq!(read(&files, &format!("t{index}"), 0, 40), data(index));
        }
    }
}

#[test]
fn a_split_model_with_missing_files_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let paths = split_model(folder.path(), 4);
    std::fs::remove_file(&paths[0]).unwrap();
    std::fs::remove_file(&paths[2]).unwrap();
    match ModelFiles::open(&paths[1]) {
        Err(StoreError::MissingParts { count: 4, missing }) => {
            assert_eq!(missing, [paths[0].clone(), paths[2].clone()]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_renamed_part_is_told_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let paths = split_model(folder.path(), 2);
    let renamed = folder.path().join("other.gguf");
    std::fs::rename(&paths[1], &renamed).unwrap();
    let message = ModelFiles::open(&renamed).unwrap_err().to_string();
    assert!(
        message.contains("must end in -00002-of-00002.gguf"),
        "{message}"
    );
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let paths = split_model(folder.path(), 2);
    std::fs::write(&paths[1], part(0, 2, "t1")).unwrap();
    let outcome = ModelFiles::open(&paths[0]);
    assert!(
        matches!(outcome, Err(StoreError::PartMismatch { .. })),
        "{outcome:?}"
    );
    std::fs::write(&paths[1], part(1, 2, "t0")).unwrap();
    let outcome = ModelFiles::open(&paths[0]);
    assert!(
        matches!(outcome, Err(StoreError::DuplicateTensor { .. })),
        "{outcome:?}"
    );
    std::fs::write(&paths[1], one_file()).unwrap();
    let outcome = ModelFiles::open(&paths[0]);
    assert!(
        matches!(outcome, Err(StoreError::PartMismatch { .. })),
        "{outcome:?}"
    );
    let fewer = Writer::new()
        .pair("split.no", 1_u16)
        .pair("split.count", 2_u16);
    std::fs::write(&paths[1], fewer.file([[0_u8; 0]; 0]).unwrap()).unwrap();
    let outcome = ModelFiles::open(&paths[0]);
    assert!(
        matches!(
            outcome,
            Err(StoreError::TensorCount {
                found: 1,
                wanted: 2,
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = ModelFiles::open(folder.path());
    assert!(matches!(outcome, Err(StoreError::NoConfig { .. })));
    let outcome = ModelFiles::open(folder.path().join("absent.gguf"));
    assert!(matches!(outcome, Err(StoreError::NotFound { .. })));
    let path = folder.path().join("empty.gguf");
    std::fs::write(&path, []).unwrap();
    let outcome = ModelFiles::open(&path);
    assert!(matches!(outcome, Err(StoreError::Gguf { .. })));
}

/// Written by gguf-py: `crates/formats/tests/goldens/gguf_files.py`.
#[test]
fn a_split_model_of_gguf_py_opens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let files = ModelFiles::open(folder.join("split-00002-of-00003.gguf")).unwrap();
    let names: Vec<_> = files.tensors().iter().map(|t| t.name.as_str()).collect();
    let wanted = [
        "one",
        "two",
        "three",
        "four",
        "rows.Q8_0",
        "rows.Q4_0",
        "rows.BF16",
        "rows.Q6_K",
    ];
    assert_eq!(names, wanted);
    assert_eq!(
        files.metadata().u32("llama.context_length").unwrap(),
        Some(64)
    );
    // The same numbers as in the single file that the script makes.
    let single = folder.join("../../../formats/tests/goldens/gguf/v3.gguf");
    let single = ModelFiles::open(single).unwrap();
    for tensor in single.tensors() {
        let whole = |files: &ModelFiles| read(files, &tensor.name, 0, tensor.byte_len as usize);
        assert_eq!(whole(&single), whole(&files), "{}", tensor.name);
    }
}
