//! Guesses at how a text goes on, which a batch checks beside the last known token.

use crate::request::{Request, RequestId};
use ingle_formats::TokenId;
use std::time::Duration;

/// Guesses how texts go on.
///
/// Guessed tokens are computed as if they were known; each that is the token that would have been
/// chosen anyway is one more token of that step, and what follows the first that is not is cut
/// off again. So a guess changes how long a step takes, and never which tokens come.
pub trait Guesser: Send {
    /// A request was taken.
    fn submitted(&mut self, _request: RequestId, _asked: &Request) {}

    /// A batch begins at `now`; without guesses it would have `rows` rows.
    fn begin(&mut self, _now: Duration, _rows: usize) {}

    /// Appends at most `max` tokens that may follow `known`, the text of `request`.
    fn guess(
        &mut self,
        request: RequestId,
        known: &[TokenId],
        max: usize,
        guesses: &mut Vec<TokenId>,
    );

    /// The batch has `rows` rows, guesses among them, of which `outputs` give logits.
    fn filled(&mut self, _rows: usize, _outputs: usize) {}

    /// The first `right` of the `guessed` tokens of the latest [`Self::guess`] came.
    fn judged(&mut self, _request: RequestId, _guessed: usize, _right: usize) {}

    /// The request is over.
    fn over(&mut self, _request: RequestId) {}
}
