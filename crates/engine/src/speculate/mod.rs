//! Guesses at how a text goes on, computed together with its last token.
//!
//! A guess is right if it is the very token that the sampler chooses there; rows behind a wrong one
//! are forgotten. So the tokens are those that come without guesses: noise is a function of seed,
//! position and token, and everything else that a choice depends on is looked at position by
//! position, each with the tokens chosen before it.
//!
//! ```text
//! Follower   guesses from the prompt and the text so far, and how likely each is
//! Costs      what a batch costs by its rows, measured
//! Fill       as many guesses as give the most tokens in their time; none where it does not pay
//! Ngram      all of it, for all texts of an engine
//! Draft      the same with a small model where the text itself foretells nothing
//! ```

mod chances;
mod costs;
mod draft;
mod edits;
mod follow;
mod index;
mod ngram;
#[cfg(test)]
mod tests;

pub use draft::Draft;
pub(crate) use ngram::Ngram;

/// What came of guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speculated {
    /// Guesses that were computed.
    pub proposed: u64,
    /// Those that were right.
    pub accepted: u64,
}
