//! What goes wrong with a folder of pages.

use std::path::PathBuf;

/// Why pages cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// A file or folder could not be used.
    #[error(
        "{} could not be {what}: {error}; see that it belongs to you and that the disk has room, or keep no prefixes (--prefix-store 0)",
        path.display()
    )]
    Io {
        /// Which.
        path: PathBuf,
        /// What was to be done.
        what: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system gives no randomness.
    #[error(
        "the system gives no random numbers ({0}), so no secret can be made; keep no prefixes (--prefix-store 0)"
    )]
    Random(getrandom::Error),
}

impl PagesError {
    pub(super) fn io<'a>(
        path: &'a std::path::Path,
        what: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |error| Self::Io {
            path: path.to_owned(),
            what,
            error,
        }
    }
}
