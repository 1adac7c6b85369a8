//! Guesses from each text itself.

use super::costs::{Costs, Fill};
use super::follow::Follower;
use crate::guess::Guesser;
use crate::request::{Request, RequestId};
use ingle_formats::TokenId;
use std::collections::HashMap;
use std::time::Duration;

/// Guesses that follow the texts of all requests.
#[derive(Debug, Default)]
pub(crate) struct Ngram {
    texts: HashMap<RequestId, Text>,
    pub costs: Costs,
    pub fill: Fill,
    /// The latest batch, if all its rows gave logits: how many rows, and when it began.
    latest: Option<(usize, Duration)>,
    began: Duration,
    /// Scratch.
    guesses: Vec<(TokenId, f32)>,
}

#[derive(Debug)]
struct Text {
    prompt_len: usize,
    follower: Follower,
}

impl Ngram {
    /// Bytes that following a text takes at most, beside [`Self::TOKEN_BYTES`].
    pub const FIXED_BYTES: u64 = Follower::FIXED_BYTES;
    /// Bytes that following a text takes at most for each of its tokens.
    pub const TOKEN_BYTES: u64 = Follower::TOKEN_BYTES;
}

impl Guesser for Ngram {
    fn submitted(&mut self, request: RequestId, asked: &Request) {
        let text = Text {
            prompt_len: asked.prompt.len(),
            follower: Follower::new(),
        };
        self.texts.insert(request, text);
    }

    fn begin(&mut self, now: Duration, rows: usize) {
        if let Some((rows, began)) = self.latest.take() {
            self.costs.note(rows, now.saturating_sub(began));
        }
        self.began = now;
        self.fill = Fill::new(rows);
    }

    fn guess(
        &mut self,
        request: RequestId,
        known: &[TokenId],
        max: usize,
        guesses: &mut Vec<TokenId>,
    ) {
        let Some(Text {
            prompt_len,
            follower,
        }) = self.texts.get_mut(&request)
        else {
            return;
        };
        follower.read(known, *prompt_len);
        follower.guess(known, max, &mut self.guesses);
        let taken = self.fill.take(&self.guesses, 0.0, &self.costs);
        guesses.extend(self.guesses[..taken].iter().map(|(token, _)| token));
    }

    fn filled(&mut self, rows: usize, outputs: usize) {
        self.latest = (rows == outputs).then_some((rows, self.began));
    }

    fn over(&mut self, request: RequestId) {
        self.texts.remove(&request);
        if self.texts.is_empty() {
            // What comes next may be long after.
            self.latest = None;
        }
    }
}
