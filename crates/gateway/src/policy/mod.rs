//! What may leave: rules, what a text holds (secrets, personal data, a company's own terms), taint,
//! redaction. What cannot be classified stays here.
//!
//! ```text
//! chat::Request -> scan -> taint -> rules -> Verdict { leave, rule, reason, redacted, held }
//! ```
//!
//! [`Policy::judge`] is the one way in. Whoever answers a request whose verdict has [`Verdict::held`] gives
//! the answer to [`Taint::answered`], so that the conversation stays when a client leaves out what made it
//! sensitive.
//!
//! **Invariant:** no error, reason, find or `Debug` output holds a piece of a text that was looked through.

mod judge;
mod kind;
mod memory;
mod read;
mod redact;
mod rules;
mod scan;
mod taint;
#[cfg(test)]
mod tests;

pub use judge::{Counted, Policy, Redacted, Verdict};
pub use kind::{Class, Find, KINDS, Kind};
pub use redact::{LONGEST_PLACEHOLDER, Mapping, Pieces, Restorer, Writing};
pub use rules::{Action, BUILT_IN, Content, LONGEST_PATTERN, Pattern, Rule};
pub use scan::{
    LONGEST_WORD, Late, Limits, MOST_WORDS, ScanError, Scanner, Term, Unclassified, apart,
};
pub use taint::{Bounds, Held, Taint, TaintError};
