//! The providers of ingle.toml behind a door of their own, with their keys.

use crate::config::{Config, KeyPlace, ProviderEntry};
use crate::environment::Environment;
use crate::network;
use anyhow::Context;
use ingle_egress::{Door, DoorOptions, Log};
use ingle_gateway::provider::{Key, Provider, Providers, Secret};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The largest file with a key.
const MOST_KEY: u64 = 64 << 10;

/// All providers and pools of `config`, behind a door whose every use is a row in `log`; none where the
/// file has no provider. A key that is not there is told when it is wanted.
///
/// # Errors
/// A key file that others can read, a proxy that cannot be used, what the gateway refuses.
pub fn providers(
    environment: &Environment,
    offline: bool,
    config: &Config,
    log: Arc<dyn Log>,
) -> anyhow::Result<Option<Providers>> {
    if config.providers.is_empty() {
        return Ok(None);
    }
    let made = config
        .providers
        .iter()
        .map(|entry| made(entry, environment));
    let made: Vec<Provider> = made.collect::<anyhow::Result<_>>()?;
    let options = DoorOptions {
        endpoints: Providers::endpoints(&made),
        offline: network::offline(environment, offline),
        proxy: network::proxy(environment)?,
        ..DoorOptions::default()
    };
    let pools = config.pools.iter().map(|pool| pool.settings.clone());
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|_| anyhow::anyhow!("the system gives no random bits"))?;
    let start = Instant::now();
    let providers = Providers::new(
        Door::new(options, log),
        made,
        pools.collect(),
        Arc::new(move || start.elapsed()),
        u64::from_le_bytes(seed),
    );
    Ok(Some(providers?))
}

/// Keys that are named in the file and not there: a sentence for each.
pub fn missing_keys(environment: &Environment, config: &Config) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for entry in &config.providers {
        if let Key::Missing(why) = key(&entry.key, environment)? {
            missing.push(format!(
                "The provider {} cannot be asked: {why}.",
                entry.settings.name
            ));
        }
    }
    Ok(missing)
}

fn made(entry: &ProviderEntry, environment: &Environment) -> anyhow::Result<Provider> {
    let name = &entry.settings.name;
    let mut settings = entry.settings.clone();
    settings.key = key(&entry.key, environment)?;
    Provider::new(settings).with_context(|| format!("[providers.{name}] of ingle.toml"))
}

/// The key, from where it lies.
fn key(place: &KeyPlace, environment: &Environment) -> anyhow::Result<Key> {
    match place {
        KeyPlace::None => Ok(Key::None),
        KeyPlace::Variable(name) => Ok(match environment.text(name) {
            Some(text) if !text.trim().is_empty() => Key::Given(Secret::new(&text)),
            _ => Key::Missing(format!("set {name} to its key")),
        }),
        KeyPlace::File(path) => from_file(path),
    }
}

fn from_file(path: &Path) -> anyhow::Result<Key> {
    let shown = path.display();
    let file = match std::fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Key::Missing(format!("write its key into {shown}")));
        }
        Err(error) => return Err(error).with_context(|| format!("{shown} cannot be read")),
    };
    anyhow::ensure!(
        file.is_file() && file.len() <= MOST_KEY,
        "{shown} is no file with a key: it is too large, or no file"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        anyhow::ensure!(
            file.mode() & 0o077 == 0,
            "{shown} holds a key and can be read by others than its owner; run `chmod 600 {shown}`"
        );
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    Ok(match text.trim() {
        "" => Key::Missing(format!("write its key into {shown}")),
        text => Key::Given(Secret::new(text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud.key");
        let read = || from_file(&path);
        assert!(matches!(read().unwrap(), Key::Missing(why) if why.contains("cloud.key")));
        crate::keys::write_private(&path, b"sk-secret\n").unwrap();
        assert_eq!(read().unwrap(), Key::Given(Secret::new("sk-secret")));
        crate::keys::write_private(&path, b" \n").unwrap();
        assert!(matches!(read().unwrap(), Key::Missing(_)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(read().unwrap_err().to_string().contains("chmod 600"));
        }
    }
}
