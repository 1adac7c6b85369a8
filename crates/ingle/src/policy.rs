//! The policy of ingle.toml, and the store of conversations that stay here.

use crate::config::Config;
use crate::environment::Environment;
use crate::out;
use anyhow::Context;
use ingle_gateway::policy::{Policy, Scanner, Taint, TaintError};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The rules, and what reads texts by them.
///
/// # Errors
/// A term cannot be looked for.
pub fn rules(config: &Config) -> anyhow::Result<Policy> {
    let section = &config.policy;
    let scanner = Scanner::new(&section.terms, section.limits)?;
    Ok(Policy::new(section.rules.clone(), scanner))
}

/// The rules, and the store of conversations that stay. Where the store cannot be used, one that lets nothing
/// leave stands in for it, and a note says why.
///
/// # Errors
/// A term cannot be looked for, or there is no place for the store.
pub fn open(config: &Config, environment: &Environment) -> anyhow::Result<(Policy, Taint)> {
    let folder = environment.state_folder();
    let folder = folder.context(
        "there is no place for the store of conversations that stay; set HOME or XDG_STATE_HOME",
    )?;
    let taint = store(config, &folder).unwrap_or_else(|why| {
        out::note(format!("note: {why}"));
        Taint::closed(why)
    });
    Ok((rules(config)?, taint))
}

/// The store and its secret, which lie in two files.
fn store(config: &Config, folder: &Path) -> Result<Taint, TaintError> {
    let unusable = |error: std::io::Error| TaintError::Unusable(error.to_string());
    fs::create_dir_all(folder).map_err(unusable)?;
    let secret = secret(&folder.join("stays.key")).map_err(unusable)?;
    Taint::open(&folder.join("stays.db"), &secret, config.policy.bounds)
}

/// 32 random bytes in a file that its owner alone can read, made where there is none.
fn secret(path: &Path) -> std::io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => {
            let secret = bytes.try_into();
            return secret.map_err(|_| std::io::Error::other("stays.key is damaged"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|_| std::io::Error::other("the system gives no random bits"))?;
    // Whole or not at all, and whoever is first wins.
    let new = path.with_extension(format!("key.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    let made = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match made {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let secret = fs::read(path)?.try_into();
            secret.map_err(|_| std::io::Error::other("stays.key is damaged"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stays.key");
        let one = secret(&path).unwrap();
        assert_eq!(secret(&path).unwrap(), one);
        assert_ne!(one, [0; 32]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        fs::write(&path, b"short").unwrap();
        assert!(secret(&path).is_err());
    }

    #[test]
    fn a_store_that_cannot_be_used_lets_nothing_leave() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stays.key"), b"short").unwrap();
        assert!(store(&Config::default(), folder.path()).is_err());
    }
}
