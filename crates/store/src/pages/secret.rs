//! The secret that all keys come from.

use super::PagesError;
use super::index::{private, private_folder};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// 32 random bytes, made once.
#[derive(Clone)]
pub struct PageSecret(pub(super) [u8; 32]);

impl std::fmt::Debug for PageSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageSecret")
    }
}

impl PageSecret {
    /// The secret in this file, which only its owner may read. Where there is none, or none that is whole,
    /// it is made: pages of an earlier one do not open any more.
    ///
    /// # Errors
    /// [`PagesError`]: the file can be neither read nor made.
    pub fn of_file(path: &Path) -> Result<Self, PagesError> {
        for _ in 0..3 {
            match read(path) {
                Ok(Some(secret)) => return Ok(secret),
                Ok(None) => make(path)?,
                Err(error) => return Err(PagesError::io(path, "read")(error)),
            }
        }
        let error = std::io::Error::other("it changes while it is read");
        Err(PagesError::io(path, "read")(error))
    }

    /// The secret in this file, if there is one.
    ///
    /// # Errors
    /// [`PagesError`]: it cannot be read.
    pub fn if_there(path: &Path) -> Result<Option<Self>, PagesError> {
        read(path).map_err(PagesError::io(path, "read"))
    }
}

fn read(path: &Path) -> std::io::Result<Option<PageSecret>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut secret = [0; 32];
    if file.metadata()?.len() != 32 {
        drop(file);
        fs::remove_file(path)?;
        return Ok(None);
    }
    file.read_exact(&mut secret)?;
    only_mine(&file)?;
    Ok(Some(PageSecret(secret)))
}

/// Makes a secret under another name, and gives it its own if nobody was faster.
fn make(path: &Path) -> Result<(), PagesError> {
    let mut secret = [0; 40];
    getrandom::fill(&mut secret).map_err(PagesError::Random)?;
    let (secret, name) = secret.split_at(32);
    if let Some(folder) = path.parent() {
        private_folder(folder).map_err(PagesError::io(folder, "made"))?;
    }
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = path.with_extension(name);
    let made = (|| {
        let mut file = private().create_new(true).write(true).open(&temporary)?;
        file.write_all(secret)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            // Some file systems have no links.
            Err(_) => fs::rename(&temporary, path),
            Ok(()) => Ok(()),
        }
    })();
    let _ = fs::remove_file(&temporary); // it may have been renamed
    made.map_err(PagesError::io(path, "written"))
}

#[cfg(unix)]
fn only_mine(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn only_mine(_: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/prefix.key");
        assert!(PageSecret::if_there(&path).unwrap().is_none());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || PageSecret::of_file(&path).unwrap().0)
            })
            .collect();
        let secrets: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(secrets.iter().all(|s| s == &secrets[0] && s != &[0; 32]));
        let state = path.parent().unwrap();
        assert_eq!(
            fs::read_dir(state).unwrap().count(),
            1,
            "nothing is left over"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(), 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(PageSecret::of_file(&path).unwrap().0, secrets[0]);
            assert_eq!(mode(), 0o600);
        }
        // A torn one is made anew.
        fs::write(&path, b"short").unwrap();
        assert_ne!(PageSecret::of_file(&path).unwrap().0, secrets[0]);
        assert_eq!(format!("{:?}", PageSecret([7; 32])), "PageSecret");
    }
}
