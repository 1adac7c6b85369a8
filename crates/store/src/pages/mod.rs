//! Pages of keys and values on disk: what was computed of texts, sealed, for the next start.
//!
//! A page is a file of its own: `1/TENANT/MODEL/PAGE.INDEX` in the folder that is handed in, where the
//! first three are secret functions of who, what and which text, and INDEX is how many pages of the text
//! come before it. It is sealed with XChaCha20-Poly1305
//! (<https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha>) under a key of its tenant, and bound to its
//! tenant, model and text: what was torn, changed, moved or written by somebody else does not open, and is
//! removed. The secret that all keys come from lies in another folder ([`PageSecret`]).
//!
//! A file appears under its name when it is whole (written under another one, synced, renamed). Its writer
//! holds a lock on it until then, so what a dead process left is told from what a living one writes.

mod error;
mod folder;
mod index;
mod seal;
mod secret;

pub use error::PagesError;
pub use folder::{PageFolder, PageLimits, UnixClock};
pub use index::{PagesSummary, clear_pages, pages_summary};
pub use secret::PageSecret;
