//! Keys on disk: hashed, in a file that only its owner can read.

use crate::clock;
use crate::environment::Environment;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How every key begins: people and programs that look for lost secrets know one by it.
const PREFIX: &str = "ingle-";
/// More keys than any team has people and machines.
const MOST: usize = 10_000;
/// The largest file that is read.
const MOST_BYTES: u64 = 16 << 20;

/// A key as it is kept: not the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Whose it is.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal digits.
    pub sha256: String,
    /// Seconds since 1970.
    pub created: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(default)]
    pub keep_prefixes: bool,
    #[serde(default)]
    pub admin: bool,
}

/// All that are kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct All {
    keys: Vec<Kept>,
}

/// The file with the keys.
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The user's own.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn of_user() -> anyhow::Result<Self> {
        let path = Environment::of_process().keys_file();
        let path = path.context("there is no place for keys; set HOME or XDG_STATE_HOME")?;
        Ok(Self { path })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys that are kept; none where there is no file.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or others can read it.
    pub fn read(&self) -> anyhow::Result<Vec<Kept>> {
        let shown = self.path.display();
        let file = match fs::metadata(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("{shown} cannot be read")),
        };
        anyhow::ensure!(
            file.len() <= MOST_BYTES,
            "{shown} is no file with keys: it is too large"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            anyhow::ensure!(
                file.mode() & 0o077 == 0,
                "{shown} can be read by others than its owner; run `chmod 600 {shown}`"
            );
        }
        let text =
            fs::read_to_string(&self.path).with_context(|| format!("{shown} cannot be read"))?;
        let all: All = serde_json::from_str(&text).map_err(|error| {
            // Without the text: a hash is nobody's business either.
            let (line, column) = (error.line(), error.column());
            anyhow::anyhow!(
                "{shown}:{line}:{column}: this is not what `ingle key` wrote; restore the file or remove it and make new keys"
            )
        })?;
        for key in &all.keys {
            anyhow::ensure!(
                hash(&key.sha256).is_some(),
                "{shown}: the hash of the key `{}` is damaged; revoke it and make a new one",
                key.name.escape_debug()
            );
        }
        Ok(all.keys)
    }

    /// Makes a key, keeps its hash, and answers the key, which is shown once.
    ///
    /// # Errors
    /// There is a key of that name, or the file cannot be written.
    pub fn add(&self, mut key: Kept) -> anyhow::Result<String> {
        let mut keys = self.read()?;
        anyhow::ensure!(
            !keys.iter().any(|other| other.name == key.name),
            "there is a key named `{}`; revoke it first, or take another name",
            key.name
        );
        anyhow::ensure!(
            keys.len() < MOST,
            "there are {MOST} keys; revoke some first"
        );
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)
            .map_err(|_| anyhow::anyhow!("the system gives no random bits"))?;
        let secret = format!("{PREFIX}{}", hex(&bits));
        key.sha256 = hex(&Sha256::digest(secret.as_bytes()));
        key.created = clock::unix();
        keys.push(key);
        self.write(keys)?;
        Ok(secret)
    }

    /// Forgets a key. `false`: there was none of that name.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn revoke(&self, name: &str) -> anyhow::Result<bool> {
        let mut keys = self.read()?;
        let before = keys.len();
        keys.retain(|key| key.name != name);
        if keys.len() == before {
            return Ok(false);
        }
        self.write(keys)?;
        Ok(true)
    }

    fn write(&self, keys: Vec<Kept>) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&All { keys })? + "\n";
        write_private(&self.path, text.as_bytes())
    }
}

/// Writes a file that only its owner can read: whole, or not at all.
///
/// # Errors
/// What the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = path.display();
    let wrong = || format!("{shown} cannot be written");
    let folder = path.parent().unwrap_or(Path::new("."));
    private_folder(folder).with_context(wrong)?;
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The rename survives a crash too.
        fs::File::open(folder)?.sync_all()
    };
    let _ = fs::remove_file(&draft);
    write()
        .inspect_err(|_| drop(fs::remove_file(&draft)))
        .with_context(wrong)
}

/// Makes a folder that only its owner can look into.
///
/// # Errors
/// What the system says.
pub fn private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// 32 bytes in hexadecimal digits.
pub fn hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        let plain = pair.bytes().all(|c| c.is_ascii_hexdigit());
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| plain)?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Kept {
        Kept {
            name: name.into(),
            sha256: String::new(),
            created: 0,
            requests_per_minute: Some(3),
            tokens_per_minute: None,
            concurrent: None,
            models: Vec::new(),
            keep_prefixes: false,
            admin: false,
        }
    }

    #[test]
    fn a_key_is_kept_hashed_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile {
            path: folder.path().join("state/keys.json"),
        };
        assert_eq!(file.read().unwrap(), []);
        let secret = file.add(key("ann")).unwrap();
        assert!(secret.starts_with(PREFIX) && secret.len() == PREFIX.len() + 64);
        assert!(
            file.add(key("ann"))
                .unwrap_err()
                .to_string()
                .contains("revoke")
        );
        assert_ne!(file.add(key("bob")).unwrap(), secret);
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(secret.trim_start_matches(PREFIX)));
        let kept = file.read().unwrap();
        let want: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        assert_eq!(hash(&kept[0].sha256), Some(want));
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, PermissionsExt};
            assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
            assert!(file.read().unwrap_err().to_string().contains("chmod 600"));
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert!(file.revoke("ann").unwrap() && !file.revoke("ann").unwrap());
        assert_eq!(file.read().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_file_is_told_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        for text in [
            "{\"keys\": [{\"name\": \"ann\", \"sha256\": \"secret\", \"created\": 1}]}",
            "{\"keys\": secret}",
            "{\"keys\": [], \"secret\": 1}",
        ] {
            write_private(&path, text.as_bytes()).unwrap();
            let message = KeyFile { path: path.clone() }
                .read()
                .unwrap_err()
                .to_string();
            assert!(!message.contains("secret"), "{message}");
        }
        assert_eq!(hash(&"+f".repeat(32)), None);
    }
}
