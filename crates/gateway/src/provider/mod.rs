//! Upstreams: who may be asked beyond this machine, in which dialect, and what to do when one fails.
//!
//! ```text
//! ingle.toml -> ProviderSettings -> Provider --+
//!                                  PoolSettings +-> Providers::ask -> Answer::next -> chat::Piece ...
//!                          a Door of its own ---+
//! ```
//!
//! [`Providers`] is made once. A *target* is what can be asked: `PROVIDER/MODEL`, or a pool by its name.
//! [`Providers::ask`] writes a [`chat::Request`](crate::chat::Request) in the upstream's dialect, sends it
//! through the door, and comes back when the first piece of the answer is there; [`Answer::next`] gives
//! the pieces, the last of them [`Finish`](crate::chat::Piece::Finish) and
//! [`Usage`](crate::chat::Piece::Usage).
//!
//! # What is tried again
//! Only what was surely not answered, and never after a piece was seen: a connection that was not made,
//! 408, 429 and 5xx (not 504, which says that somebody may still be at work). In a pool the next upstream
//! is asked at once; after the last one there is a wait with full jitter, or what `Retry-After` says. A
//! request that may have been answered is sent again only where it costs nothing.
//!
//! # What it costs
//! Every failure says whether money may be asked for ([`Charged`]). A provider's usage is believed where
//! it can be (no more tokens than the model takes or the answer was allowed, no part larger than its
//! whole); else the answer stands and what it cost is [`Charged::Unknown`]: reckon with the most.
//!
//! # Who drops it
//! An [`Answer`] or a call that is dropped closes its connection.
//!
//! **Invariant:** no key is in an error, in `Debug` or in a row: it is a [`Secret`], bound to its origin,
//! and cut out of what a provider says.

mod balance;
mod breaker;
mod call;
mod error;
mod incoming;
mod retry;
mod said;
mod settings;
mod site;
mod target;
#[cfg(test)]
mod tests;
mod upstreams;
mod wire;

pub use breaker::BreakerSettings;
pub use error::{CallError, Charged, Fault, Misfit};
pub use incoming::{Most, recorded};
pub use retry::Retries;
pub use said::refusal;
pub use settings::{
    Dialect, Key, LimitField, Provider, ProviderSettings, RemoteModel, Secret, SettingsError,
    Thinking, Timeouts,
};
pub use site::Clock;
pub use target::{PoolSettings, Target, check_pool};
pub use upstreams::{Answer, Providers};
