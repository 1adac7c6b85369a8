//! Names that lead to files in the stores of other programs, and names that must not lead out of them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use ingle_store::{Found, Place, PlaceError, Places, Reference};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use support::{COMMIT, hub_file, ollama_blob, ollama_model, sha256, without, write};
use tempfile::TempDir;

/// A Hugging Face cache and a store of Ollama, both with models in them.
struct Machine {
    folder: TempDir,
    places: Places,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (hub, ollama) = (folder.path().join("hub"), folder.path().join("ollama"));
        let places = Places::new(Some(hub.clone()), [ollama.clone()]);
        hub_file(&hub, "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf", b"four");
        hub_file(&hub, "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q8_0.gguf", b"eight");
        hub_file(&hub, "a/same-GGUF", "same-Q4_0.gguf", b"a");
        hub_file(&hub, "b/same-GGUF", "same-Q4_0.gguf", b"b");
        hub_file(
            &hub,
            "c/split-GGUF",
            "Q8_0/s-Q8_0-00001-of-00002.gguf",
            b"1",
        );
        hub_file(
            &hub,
            "c/split-GGUF",
            "Q8_0/s-Q8_0-00002-of-00002.gguf",
            b"2",
        );
        hub_file(&hub, "c/half-GGUF", "h-Q8_0-00001-of-00002.gguf", b"h1");
        hub_file(&hub, "d/tensors", "config.json", b"{}");
        hub_file(&hub, "d/tensors", "model.safetensors", b"t");
        ollama_model(
            &ollama,
            "registry.ollama.ai/library/llama3.2/1b",
            &[
                ("model", b"weights"),
                ("template", b"{{ .Prompt }}"),
                ("system", b"You are terse."),
                ("params", br#"{"stop":["<|eot_id|>"],"temperature":0.5}"#),
                (
                    "license",
                    b"LLAMA 3.2 COMMUNITY LICENSE\n\nand so on\nand on",
                ),
                ("adapter", b"lora"),
                ("projector", b"clip"),
            ],
        );
        ollama_model(&ollama, "hf.co/x/y-GGUF/Q4_0", &[("model", b"of the hub")]);
        Self { folder, places }
    }

    fn hub(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn ollama(&self) -> PathBuf {
        self.folder.path().join("ollama")
    }

    fn locate(&self, name: &str) -> Result<Found, PlaceError> {
        self.places.locate(&Reference::parse(name)?)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let found = self.locate(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        std::fs::read(found.path).unwrap()
    }

    fn message(&self, name: &str) -> String {
        match self.locate(name) {
            Ok(found) => panic!("{name} is {found:?}"),
            Err(error) => without(&error.to_string(), self.folder.path()),
        }
    }

    /// Messages for several names.
    fn messages(&self, names: &[&str]) -> String {
        let messages: Vec<_> = names
            .iter()
            .map(|name| format!("> {name}\n{}", self.message(name)))
            .collect();
        messages.join("\n\n")
    }
}

#[test]
fn every_way_to_name_a_model_in_the_hub_cache() {
    let machine = Machine::new();
    for name in [
        "hf.co/Qwen/Qwen3-4B-GGUF",
        "hf.co/Qwen/Qwen3-4B-GGUF:Q4_K_M",
        "hf.co/qwen/qwen3-4b-gguf:q4_k_m",
        "https://huggingface.co/Qwen/Qwen3-4B-GGUF",
        "https://huggingface.co/Qwen/Qwen3-4B-GGUF/blob/main/Qwen3-4B-Q4_K_M.gguf",
        "hf://Qwen/Qwen3-4B-GGUF",
        "Qwen/Qwen3-4B-GGUF",
        "Qwen/Qwen3-4B-GGUF:Q4_K_M",
        "Qwen/Qwen3-4B-GGUF:Qwen3-4B-Q4_K_M.gguf",
        "Qwen3-4B-GGUF",
        "qwen3-4b-gguf:q4_k_m",
        "qwen3:4b",
    ] {
        assert_eq!(machine.bytes(name), b"four", "{name}");
    }
    for name in [
        "Qwen/Qwen3-4B-GGUF:Q8_0",
        "qwen3:4b-q8_0",
        "Qwen3-4B-GGUF:q8_0",
    ] {
        assert_eq!(machine.bytes(name), b"eight", "{name}");
    }
    let found = machine.locate("c/split-GGUF").unwrap();
    assert!(found.path.ends_with("Q8_0/s-Q8_0-00001-of-00002.gguf"));
    let found = machine.locate("d/tensors").unwrap();
    assert!(found.path.ends_with(COMMIT) && found.place == Place::Hub);
}

#[test]
fn every_way_to_name_a_model_of_ollama() {
    let machine = Machine::new();
    for name in [
        "llama3.2:1b",
        "LLAMA3.2:1B",
        "library/llama3.2:1b",
        "registry.ollama.ai/library/llama3.2:1b",
    ] {
        assert_eq!(machine.bytes(name), b"weights", "{name}");
    }
    for name in ["hf.co/x/y-GGUF:Q4_0", "x/y-GGUF:Q4_0"] {
        assert_eq!(machine.bytes(name), b"of the hub", "{name}");
    }
    let layers = machine.locate("llama3.2:1b").unwrap().layers.unwrap();
    assert_eq!(layers.system.as_deref(), Some("You are terse."));
    assert_eq!(layers.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(layers.parameters["stop"][0], "<|eot_id|>");
    assert_eq!(layers.licences, ["LLAMA 3.2 COMMUNITY LICENSE, and so on"]);
    assert_eq!(layers.unused, ["adapter", "projector"]);
}

#[test]
fn newer_and_older_layouts_of_ollama() {
    let machine = Machine::new();
    let store = machine.ollama();
    // A list of builds, in a blob, to which the name is a link; the build we want by its digest.
    let weights = ollama_blob(&store, b"new");
    let child = format!(
        r#"{{"layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"{weights}","size":3}}]}}"#
    );
    let child = ollama_blob(&store, child.as_bytes());
    let list = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.ollama.manifest.list.v2+json","manifests":[
        {{"runner":"mlx","format":"safetensors","layers":[]}},{{"runner":"ollama","digest":"{child}"}}]}}"#
    );
    let list = ollama_blob(&store, list.as_bytes()).replace(':', "-");
    let folder = store.join("manifests-v2/registry.ollama.ai/library/new");
    std::fs::create_dir_all(&folder).unwrap();
    symlink(format!("../../../../blobs/{list}"), folder.join("latest")).unwrap();
    assert_eq!(machine.bytes("new"), b"new");
    // A blob with a colon in its name.
    ollama_model(
        &store,
        "registry.ollama.ai/library/old/latest",
        &[("model", b"old")],
    );
    let digest = sha256(b"old");
    let blob = |between: &str| store.join(format!("blobs/sha256{between}{digest}"));
    std::fs::rename(blob("-"), blob(":")).unwrap();
    assert_eq!(machine.bytes("old:latest"), b"old");
}

#[test]
fn what_is_not_there_is_explained() {
    let machine = Machine::new();
    insta::assert_snapshot!(machine.messages(&[
        "qwen3:8b",
        "qwen3:8b-q8_0",
        "gemma3:12b",
        "qwen3:5b",
        "lama3.2:1b",
        "nothing-like-it",
        "Qwen/Qwen3-4B-GGUF:Q2_K",
        "hf.co/nobody/nothing",
        "nobody/nothing",
        "same-GGUF",
        "c/half-GGUF",
        "a/b/c/d",
        "what is this?",
    ]));
}

#[test]
fn damaged_stores_are_explained() {
    let machine = Machine::new();
    let manifests = machine
        .ollama()
        .join("manifests/registry.ollama.ai/library");
    let layer = |kind: &str, digest: &str, size: usize| {
        format!(
            r#"{{"layers":[{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"{digest}","size":{size}}}]}}"#
        )
    };
    let weights = format!("sha256:{}", sha256(b"weights"));
    let absent = format!("sha256:{}", "0".repeat(64));
    for (name, manifest) in [
        ("empty", String::new()),
        ("cut", r#"{"layers":[{"mediaType":"#.into()),
        ("absent", layer("model", &absent, 7)),
        ("short", layer("model", &weights, 1000)),
        ("remote", r#"{"layers":[]}"#.into()),
        ("tensors", layer("tensor", &weights, 7)),
        ("wrong", layer("model", "sha256:12", 7)),
        ("params", layer("params", &weights, 7)),
        ("large", " ".repeat(5 << 20)),
    ] {
        write(&manifests.join(name).join("latest"), manifest);
    }
    write(
        &machine.hub().join("models--e--f/refs/main"),
        "not a commit",
    );
    insta::assert_snapshot!(machine.messages(&[
        "empty:latest",
        "cut:latest",
        "absent:latest",
        "short:latest",
        "remote:latest",
        "tensors:latest",
        "wrong:latest",
        "params:latest",
        "large:latest",
        "e/f",
    ]));
}

/// CVE-2024-37032 ("Probllama"): Ollama before 0.1.34 made a path from the digest of a manifest without
/// checking that it is 64 hexadecimal digits, so that `sha256:../../../etc/passwd` read and wrote files
/// outside its store.
#[test]
fn cve_2024_37032_a_digest_is_no_path() {
    let machine = Machine::new();
    write(&machine.folder.path().join("secret"), "secret");
    let manifests = machine
        .ollama()
        .join("manifests/registry.ollama.ai/library");
    for digest in [
        "../../../secret",
        "sha256:../../../secret",
        "sha256-../../secret",
        "sha256:/etc/passwd",
        "/etc/passwd",
        "sha256:0000000000000000000000000000000000000000000000000000000000/../a",
        "sha256:ｅ000000000000000000000000000000000000000000000000000000000000",
        "sha256:",
        "",
    ] {
        for kind in ["model", "system", "params", "adapter", "something"] {
            let manifest = serde_json::json!({ "layers": [
                { "mediaType": format!("application/vnd.ollama.image.{kind}"), "digest": digest, "size": 6 },
            ]});
            write(&manifests.join("evil/latest"), manifest.to_string());
            let error = machine.locate("evil:latest").unwrap_err();
            assert!(
                matches!(error, PlaceError::Manifest { .. }),
                "{digest} {kind}: {error}"
            );
            assert!(!error.to_string().contains("root:"), "{error}");
        }
        let list = serde_json::json!({
            "mediaType": "application/vnd.ollama.manifest.list.v2+json",
            "manifests": [{ "runner": "ollama", "digest": digest }],
        });
        write(&manifests.join("evil/latest"), list.to_string());
        assert!(machine.locate("evil:latest").is_err(), "{digest}");
    }
}

/// CVE-2026-7020: up to 0.20.2, `digestToPath` of Ollama's tensor transfer
/// (`x/imagegen/transfer/transfer.go`) put a digest from a remote manifest into a path after replacing its
/// colon, without checking the rest (CWE-22; published 2026-04-26). The same class of fault for every name
/// that reaches a path here: a name of a model, a repository, a file, a commit, a shard in an index.
#[test]
fn cve_2026_7020_no_name_walks_out_of_a_store() {
    let machine = Machine::new();
    write(&machine.folder.path().join("secret.gguf"), "secret");
    for name in [
        "../secret",
        "..",
        "../../secret:latest",
        "library/../../secret",
        "x:../../secret",
        "hf.co/../secret",
        "hf.co/a/..",
        "hf.co/..%2f../x",
        "Qwen/Qwen3-4B-GGUF:../../secret.gguf",
        "Qwen/..:Q8_0",
        "a/b:/etc/passwd",
        "a\\..\\b:c",
        "\u{2025}/x",
        "a/\u{ff0e}\u{ff0e}",
        "con/nul:aux",
    ] {
        match Reference::parse(name) {
            Err(_) => {}
            // A path is what the user typed, and names nothing in a store.
            Ok(Reference::Path(_)) => {
                assert!(name.starts_with("..") || name.contains('\\'), "{name}")
            }
            Ok(other) => assert!(machine.places.locate(&other).is_err(), "{name}"),
        }
    }
    let refs = machine.hub().join("models--Qwen--Qwen3-4B-GGUF/refs/main");
    for commit in ["../../..", "/etc", "0123", &"é".repeat(20)] {
        write(&refs, commit);
        let error = machine.locate("Qwen/Qwen3-4B-GGUF").unwrap_err();
        assert!(matches!(error, PlaceError::Damaged { .. }), "{error}");
    }
    for shard in ["../../../secret.gguf", "/etc/passwd", "a\\..\\b", "x\0"] {
        let index = serde_json::json!({ "weight_map": { "a": "model.safetensors", "b": shard } })
            .to_string();
        let repo = format!("d/index{}", sha256(shard.as_bytes()).split_at(8).0);
        for (file, bytes) in [
            ("config.json", b"{}".as_slice()),
            ("model.safetensors", b"t"),
            ("model.safetensors.index.json", index.as_bytes()),
        ] {
            hub_file(&machine.hub(), &repo, file, bytes);
        }
        let error = machine.locate(&repo).unwrap_err();
        assert!(
            matches!(error, PlaceError::Damaged { .. }),
            "{shard}: {error}"
        );
    }
}

/// CVE-2024-45436: Ollama before 0.1.47 unpacked ZIP archives whose members lay outside the folder they
/// were unpacked into. There are no archives here; what is left of the class is a link in a store that
/// leads out of it.
#[test]
fn cve_2024_45436_a_link_out_of_a_store_is_not_followed() {
    let machine = Machine::new();
    let secret = machine.folder.path().join("secret.gguf");
    write(&secret, "secret");
    let leads_out = |name: &str| {
        let error = machine.locate(name).unwrap_err();
        assert!(
            matches!(error, PlaceError::LeadsOut { .. }),
            "{name}: {error}"
        );
    };
    // A file of a snapshot.
    let link = hub_file(&machine.hub(), "l/link", "m-Q8_0.gguf", b"m");
    std::fs::remove_file(&link).unwrap();
    symlink(&secret, &link).unwrap();
    leads_out("l/link");
    // A blob behind a good link.
    let link = hub_file(&machine.hub(), "l/blob", "m-Q8_0.gguf", b"n");
    let blob = link.canonicalize().unwrap();
    std::fs::remove_file(&blob).unwrap();
    symlink(&secret, &blob).unwrap();
    leads_out("l/blob");
    // One file of a folder of safetensors.
    hub_file(&machine.hub(), "l/tensors", "config.json", b"{}");
    let link = hub_file(&machine.hub(), "l/tensors", "model.safetensors", b"o");
    std::fs::remove_file(&link).unwrap();
    symlink(&secret, &link).unwrap();
    leads_out("l/tensors");
    // A blob, a manifest and a folder of Ollama's.
    ollama_model(
        &machine.ollama(),
        "registry.ollama.ai/library/blob/latest",
        &[("model", b"p")],
    );
    let blob = machine
        .ollama()
        .join(format!("blobs/sha256-{}", sha256(b"p")));
    std::fs::remove_file(&blob).unwrap();
    symlink(&secret, &blob).unwrap();
    leads_out("blob:latest");
    let library = machine
        .ollama()
        .join("manifests/registry.ollama.ai/library");
    std::fs::create_dir_all(library.join("manifest")).unwrap();
    symlink(&secret, library.join("manifest/latest")).unwrap();
    leads_out("manifest:latest");
    symlink(machine.folder.path(), library.join("folder")).unwrap();
    let error = Reference::parse("folder:secret.gguf").map(|r| machine.places.locate(&r));
    assert!(
        matches!(error, Ok(Err(PlaceError::LeadsOut { .. }))),
        "{error:?}"
    );
}

#[test]
fn nothing_is_needed_and_nothing_is_written() {
    let places = Places::new(
        Some(PathBuf::from("/no/such/hub")),
        [PathBuf::from("/no/such/ollama")],
    );
    let error = places
        .locate(&Reference::parse("some-model").unwrap())
        .unwrap_err();
    insta::assert_snapshot!(error.to_string());
    assert!(
        Places::default()
            .locate(&Reference::parse("some-model").unwrap())
            .is_err()
    );
    assert!(!Path::new("/no").exists());
}
