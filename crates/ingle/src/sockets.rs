//! The sockets of servers that run: each has one, in a folder that only its owner can look into.

use crate::environment::Environment;
use crate::keys::private_folder;
use crate::out;
use std::path::PathBuf;

/// The longest path of a socket: `sun_path` has 108 bytes on Linux and 104 elsewhere.
const MOST_PATH: usize = 100;

/// The socket of this server; its file goes with it.
#[derive(Debug)]
pub struct Owner {
    path: PathBuf,
    #[cfg(unix)]
    listener: std::os::unix::net::UnixListener,
}

impl Owner {
    /// Makes one. Where that cannot be, `ingle ps`, `stop` and `run` will not find this server, and a
    /// note says so.
    #[cfg(unix)]
    pub fn listen() -> Option<Self> {
        let made = || -> anyhow::Result<Self> {
            let folder = Environment::of_process().servers_folder();
            let folder = folder.ok_or_else(|| anyhow::anyhow!("HOME is not set"))?;
            let path = folder.join(format!("{}.sock", std::process::id()));
            anyhow::ensure!(
                path.as_os_str().len() <= MOST_PATH,
                "the path {} is too long",
                path.display()
            );
            private_folder(&folder)?;
            check_private(&folder)?;
            // A server that had this number before is no more.
            let _ = std::fs::remove_file(&path);
            let listener = std::os::unix::net::UnixListener::bind(&path)?;
            Ok(Self { path, listener })
        };
        made()
            .inspect_err(|error| {
                out::note(format!(
                    "note: `ingle ps` and `ingle stop` will not find this server: {error}"
                ));
            })
            .ok()
    }

    /// There are none on this system.
    #[cfg(not(unix))]
    pub fn listen() -> Option<Self> {
        None
    }

    /// Its listening end, for the server.
    #[cfg(unix)]
    pub fn listener(&self) -> Option<std::os::unix::net::UnixListener> {
        self.listener.try_clone().ok()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A folder that others can look into lets them in without a key.
#[cfg(unix)]
fn check_private(folder: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(folder)?;
    let ours = std::fs::metadata("/proc/self").map_or(found.uid(), |own| own.uid());
    anyhow::ensure!(
        found.is_dir() && found.mode() & 0o077 == 0 && found.uid() == ours,
        "the folder {} must be yours alone: chmod 700 {0}",
        folder.display()
    );
    Ok(())
}
