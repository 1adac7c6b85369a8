//! Guesses at how a text goes on, which a batch checks beside the last known token.

use crate::request::RequestId;
use ingle_formats::TokenId;

/// Guesses how texts go on.
///
/// Guessed tokens are computed as if they were known; each that is the token that would have been
/// chosen anyway is one more token of that step, and what follows the first that is not is cut
/// off again. So a guess changes how long a step takes, and never which tokens come.
pub trait Guesser: Send {
    /// Appends at most `max` tokens that may follow `known`, the text of `request`.
    fn guess(
        &mut self,
        request: RequestId,
        known: &[TokenId],
        max: usize,
        guesses: &mut Vec<TokenId>,
    );

    /// The first `right` of the `guessed` tokens of the latest [`Self::guess`] came.
    fn judged(&mut self, request: RequestId, guessed: usize, right: usize);

    /// The request is over.
    fn over(&mut self, request: RequestId);
}
