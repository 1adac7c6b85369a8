//! Stores as other programs make them, in a temporary folder.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part, and a test may fail"
)]

use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// The commit of every repository here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The SHA-256 of some bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A file in a repository of a Hugging Face cache: a blob, and a relative link to it.
#[cfg(unix)]
pub fn hub_file(cache: &Path, repo: &str, file: &str, bytes: &[u8]) -> PathBuf {
    let folder = cache.join(format!("models--{}", repo.replace('/', "--")));
    let blob = sha256(bytes);
    write(&folder.join("blobs").join(&blob), bytes);
    write(&folder.join("refs/main"), COMMIT);
    let link = folder.join("snapshots").join(COMMIT).join(file);
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    let up = "../".repeat(2 + file.matches('/').count());
    std::os::unix::fs::symlink(format!("{up}blobs/{blob}"), &link).unwrap();
    link
}

/// A blob of Ollama's store.
pub fn ollama_blob(store: &Path, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    write(&store.join("blobs").join(format!("sha256-{digest}")), bytes);
    format!("sha256:{digest}")
}

/// A model of Ollama's store: its weights and other layers by kind. `name` is the path of its manifest.
pub fn ollama_model(store: &Path, name: &str, layers: &[(&str, &[u8])]) {
    let layers: Vec<String> = layers
        .iter()
        .map(|(kind, bytes)| {
            let (digest, size) = (ollama_blob(store, bytes), bytes.len());
            format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"{digest}","size":{size}}}"#)
        })
        .collect();
    let config = ollama_blob(store, b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
        "config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{config}","size":2}},
        "layers":[{}]}}"#,
        layers.join(",")
    );
    write(&store.join("manifests").join(name), manifest);
}

/// Everything below a folder: path, length, time of the last change, where a link leads.
pub fn tree(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let link = std::fs::read_link(&path).ok();
            let changed = about.modified().unwrap();
            lines.push(format!(
                "{} {} {changed:?} {link:?}",
                path.display(),
                about.len()
            ));
            if about.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines
}
