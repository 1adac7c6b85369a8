//! The sockets of servers that run: each has one, in a folder that only its owner can look into.

use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::keys::private_folder;
use crate::out;
use anyhow::Context;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

/// How often it is looked whether somebody has pressed Ctrl-C.
#[cfg(unix)]
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);
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

/// A server of this user that runs.
#[derive(Clone, Debug)]
pub struct Running {
    path: PathBuf,
    /// Its process.
    pub pid: u32,
}

/// An answer of a server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    body: Body,
}

impl Running {
    /// All that run. What a server that is no more has left is cleared away.
    pub fn all() -> Vec<Self> {
        let Some(folder) = Environment::of_process().servers_folder() else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let servers = entries.filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".sock")?;
            let pid = name.parse().ok()?;
            Some(Self { path, pid })
        });
        let mut servers: Vec<Self> = servers.filter(Self::is_there).collect();
        servers.sort_by_key(|server| server.pid);
        servers
    }

    #[cfg(unix)]
    fn is_there(&self) -> bool {
        match std::os::unix::net::UnixStream::connect(&self.path) {
            Ok(_) => true,
            Err(error) => {
                if error.kind() == std::io::ErrorKind::ConnectionRefused {
                    let _ = std::fs::remove_file(&self.path);
                }
                false
            }
        }
    }

    #[cfg(not(unix))]
    fn is_there(&self) -> bool {
        false
    }

    /// Asks it something; a body is JSON.
    ///
    /// # Errors
    /// It cannot be reached, or speaks no HTTP.
    #[cfg(unix)]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        Answer::read(Box::new(self.send(method, path, body)?))
    }

    /// The same, until somebody presses Ctrl-C: then what is read ends with an error, and the server is told by
    /// the end of the connection.
    ///
    /// # Errors
    /// As [`Self::ask`]; `interrupt` is set.
    #[cfg(unix)]
    pub fn ask_until(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Answer> {
        let stream = self.send(method, path, Some(body))?;
        stream.set_read_timeout(Some(LOOK))?;
        let interrupt = interrupt.clone();
        Answer::read(Box::new(Interruptible { stream, interrupt }))
    }

    #[cfg(unix)]
    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<std::os::unix::net::UnixStream> {
        let mut stream = std::os::unix::net::UnixStream::connect(&self.path)
            .context("the server that runs on this machine cannot be reached")?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }

    /// There are none on this system.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(unix))]
    pub fn ask(&self, _: &str, _: &str, _: Option<&Value>) -> anyhow::Result<Answer> {
        anyhow::bail!("servers cannot be asked on this system")
    }

    /// There are none on this system.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(unix))]
    pub fn ask_until(&self, _: &str, _: &str, _: &Value, _: &Interrupt) -> anyhow::Result<Answer> {
        anyhow::bail!("servers cannot be asked on this system")
    }

    /// The models that it has loaded.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn models(&self) -> anyhow::Result<Vec<Value>> {
        let said = self.ask("GET", "/ingle/ps", None)?.json()?;
        Ok(said["models"].as_array().cloned().unwrap_or_default())
    }
}

/// A connection that is read until somebody presses Ctrl-C.
#[cfg(unix)]
struct Interruptible {
    stream: std::os::unix::net::UnixStream,
    interrupt: Interrupt,
}

#[cfg(unix)]
impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        loop {
            let read = self.stream.read(buffer);
            if self.interrupt.is_set() {
                return Err(std::io::Error::other("stopped"));
            }
            match read {
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => {}
                read => return read,
            }
        }
    }
}

/// The body of an answer, without the lengths of its chunks.
struct Body {
    reader: BufReader<Box<dyn Read>>,
    chunked: bool,
    /// Bytes left of the chunk, or of the body.
    left: Option<usize>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.chunked && self.left.is_none_or(|left| left == 0) {
            let mut line = String::new();
            if self.left.is_some() {
                self.reader.read_line(&mut line)?; // the end of the chunk before
                line.clear();
            }
            if self.reader.read_line(&mut line)? == 0 {
                let message = "the server ended before its answer did; ask again";
                return Err(std::io::Error::other(message));
            }
            let length = usize::from_str_radix(line.trim(), 16);
            let length = length.map_err(|_| std::io::ErrorKind::InvalidData)?;
            if length == 0 {
                return Ok(0);
            }
            self.left = Some(length);
        }
        let most = self.left.unwrap_or(buffer.len()).min(buffer.len());
        let n = self.reader.read(&mut buffer[..most])?;
        self.left = self.left.map(|left| left - n);
        if n == 0 && self.chunked {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(n)
    }
}

impl Answer {
    fn read(stream: Box<dyn Read>) -> anyhow::Result<Self> {
        const MOST_HEADERS: usize = 100;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.context("the server that runs on this machine answers no HTTP")?;
        let mut chunked = false;
        for _ in 0..MOST_HEADERS {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let body = Body {
            reader,
            chunked,
            left: None,
        };
        Ok(Self { status, body })
    }

    /// All of it; an error where the server refused.
    ///
    /// # Errors
    /// What the server said, or that it broke off.
    pub fn json(self) -> anyhow::Result<Value> {
        const MOST: u64 = 64 << 20;
        let mut text = String::new();
        self.body.take(MOST).read_to_string(&mut text)?;
        let value: Value = serde_json::from_str(&text).context("the server's answer is no JSON")?;
        if self.status >= 400 {
            let why = value["error"]["message"].as_str().unwrap_or("it refused");
            anyhow::bail!("{}", out::plain(why));
        }
        Ok(value)
    }

    /// The lines of a stream that goes on.
    pub fn lines(self) -> impl Iterator<Item = std::io::Result<String>> {
        BufReader::new(self.body).lines()
    }
}
