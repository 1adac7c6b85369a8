//! What comes through a pipe.

use crate::{Usage, out};
use anyhow::Context;
use std::io::{IsTerminal, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// More text than any context holds; a pipe without end must not fill memory.
const MOST_BYTES: usize = 1 << 30;

/// How long a pipe may stay silent where there is a prompt without it. Programs that start others
/// often leave them a pipe that nobody writes to.
const PATIENCE: Duration = Duration::from_secs(3);

/// Standard input, read to its end.
///
/// # Errors
/// It cannot be read, is not UTF-8, or does not end.
pub fn text() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let limit = MOST_BYTES as u64 + 1;
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.context("standard input could not be read")?;
    checked(bytes)
}

/// Standard input that is being read while other things are done.
pub struct Piped(Receiver<std::io::Result<Vec<u8>>>);

impl Piped {
    /// Begins to read; `None` where standard input is a terminal.
    pub fn begin() -> Option<Self> {
        if std::io::stdin().is_terminal() {
            return None;
        }
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let mut part = vec![0; 1 << 16];
            loop {
                let read = std::io::stdin().lock().read(&mut part);
                let end = !matches!(read, Ok(n) if n > 0);
                let sent = send.send(read.map(|n| part[..n].to_vec()));
                if end || sent.is_err() {
                    return;
                }
            }
        });
        Some(Self(receive))
    }

    /// All of it. `hurry`: a pipe on which nothing comes for three seconds is left alone.
    ///
    /// # Errors
    /// As [`text`].
    pub fn text(self, hurry: bool) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        let patience = if hurry {
            PATIENCE
        } else {
            Duration::from_secs(u64::from(u32::MAX))
        };
        let mut next = match self.0.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {
                out::note(
                    "note: nothing came on standard input, going on without it (`< /dev/null` avoids the wait)",
                );
                return Ok(String::new());
            }
            first => first.ok(),
        };
        while let Some(part) = next {
            let part = part.context("standard input could not be read")?;
            if part.is_empty() || bytes.len() > MOST_BYTES {
                break;
            }
            bytes.extend_from_slice(&part);
            next = self.0.recv().ok();
        }
        checked(bytes)
    }
}

fn checked(bytes: Vec<u8>) -> anyhow::Result<String> {
    if bytes.len() > MOST_BYTES {
        return Err(Usage("the text is larger than 1 GiB; give a part of it".into()).into());
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Usage(format!(
            "the text is not UTF-8 (byte {at}); convert it first, as with iconv"
        ))
        .into()
    })
}
