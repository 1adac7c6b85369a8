//! Guesses from a small model of the same vocabulary.

use super::Ngram;
use super::chances::Chance;
use crate::budget::{Budget, Lease};
use crate::engine::EngineError;
use crate::guess::Guesser;
use crate::memory::pages_for;
use crate::plan::Plan;
use crate::request::{Request, RequestId};
use crate::sampler::{Dry, Sampler, Sampling};
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_formats::vocabulary::Vocabulary;
use ingle_model::Network;
use ingle_tensor::WeightSource;
use ingle_tensor::ops::{Batch, Item, Ops, PageId, Row};
use std::collections::HashMap;
use std::time::Duration;

/// Guesses of one text at most.
const MOST: usize = 16;
/// How often its guesses are right before anything is known.
const ASSUMED: f32 = 0.7;
/// Tokens without guesses after which one is tried: at first, and, as long as they do not pay, at
/// most.
const TRY_AFTER: (u32, u32) = (16, 256);

/// A second, small network that writes ahead of the first.
///
/// It chooses with the same sampling and the same noise, so that where both models think alike, a
/// guess is the token that comes. It keeps keys and values of its own, and computes a text only
/// when it is asked for a guess.
pub struct Draft<O: Ops> {
    ops: O,
    network: Box<dyn Network<O>>,
    cache: O::Memory,
    free: Vec<PageId>,
    max_rows: usize,
    /// What one of its passes takes, as a share of one of the large model's.
    share: f64,
    texts: HashMap<RequestId, Text>,
    /// What the text itself foretells is guessed first, and costs nothing.
    ngram: Ngram,
    use_ngram: bool,
    /// Scratch.
    rows: Vec<Row>,
    logits: Vec<f32>,
    _lease: Lease,
}

/// A request's text, as far as the small model knows it.
struct Text {
    sampler: Sampler,
    prompt_len: usize,
    /// What it guesses behind the prompt whatever it thinks.
    forced: Vec<TokenId>,
    pages: Vec<PageId>,
    /// Tokens with keys and values in the pages.
    computed: usize,
    /// Tokens that the sampler has been told.
    told: usize,
    /// Guesses of the batch under way.
    guessed: usize,
    right: Chance,
    /// Tokens since the last guess, and how many there are to be before one is tried.
    silent: u32,
    try_after: u32,
}

impl Text {
    /// Ends a batch in which `right` of its guesses were right. The last guess had not been
    /// computed; those that were wrong will be written over.
    fn settle(&mut self, right: usize) {
        let computed = std::mem::take(&mut self.guessed).saturating_sub(1);
        self.computed = self.computed - computed + right.min(computed);
    }
}

impl<O: Ops + 'static> Draft<O> {
    /// Loads a small model to guess for a large one, of which are given the vocabulary and the
    /// bytes of its weights. `plan` has the large one's context and number of sequences. With
    /// `use_ngram` the text itself is asked first.
    ///
    /// # Errors
    /// As [`crate::Engine::load`]; [`EngineError::DraftVocabulary`]: its tokens are others.
    #[allow(clippy::too_many_arguments, reason = "as many things are needed")]
    pub fn load(
        metadata: &Metadata,
        source: &dyn WeightSource,
        ops: O,
        plan: &Plan,
        budget: &Budget,
        (target, target_bytes): (&Vocabulary, u64),
        use_ngram: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, EngineError> {
        same_tokens(&Vocabulary::from_metadata(metadata)?, target)?;
        let lease = budget.take(plan.total())?;
        let (max_rows, total) = (plan.options.max_batch_rows as usize, plan.needs.file_bytes);
        let mut progress = |done| progress(done, total);
        let network = ingle_model::load(
            metadata,
            source,
            &ops,
            max_rows,
            plan.context,
            &mut progress,
        )?;
        let cache = ops.memory(&network.layers(), plan.options.kv, plan.n_pages as usize);
        Ok(Self {
            ops,
            network,
            cache,
            free: (0..plan.n_pages).rev().map(PageId).collect(),
            max_rows,
            share: plan.needs.weight_bytes as f64 / target_bytes.max(1) as f64,
            texts: HashMap::new(),
            ngram: Ngram::default(),
            use_ngram,
            rows: Vec::new(),
            logits: Vec::new(),
            _lease: lease,
        })
    }

    /// Computes `tokens`, which stand behind those that are computed, and leaves the logits of the
    /// last one; false where there is no room for them, or their weights could not be read.
    fn compute(&mut self, request: RequestId, tokens: &[TokenId]) -> bool {
        let Some(text) = self.texts.get_mut(&request) else {
            return false;
        };
        let end = text.computed + tokens.len();
        while (text.pages.len() as u64) < pages_for(end as u64) {
            match self.free.pop() {
                Some(page) => text.pages.push(page),
                None => return false,
            }
        }
        self.rows.clear();
        let row = |(&token, position): (&TokenId, usize)| Row {
            item: Item::Token(token),
            position: position as u32,
            sequence: 0,
        };
        self.rows
            .extend(tokens.iter().zip(text.computed..).map(row));
        let batch = Batch {
            rows: &self.rows,
            sequences: &[&text.pages],
            outputs: &[tokens.len() as u32 - 1],
            hidden: false,
        };
        let (ops, cache) = (&mut self.ops, &mut self.cache);
        let read = self.network.forward(ops, cache, &batch, &mut self.logits);
        if read.is_ok() {
            text.computed = end;
        }
        read.is_ok()
    }

    /// How many guesses pay now.
    fn wanted(&mut self, request: RequestId, max: usize) -> usize {
        let Some(text) = self.texts.get_mut(&request) else {
            return 0;
        };
        let (right, mut path) = (text.right.probability(ASSUMED), 1.0);
        let mut chances = [(TokenId(0), 0.0); MOST];
        let most = max.min(MOST);
        for (_, chance) in &mut chances[..most] {
            path *= right;
            *chance = path;
        }
        let costs = &self.ngram.costs;
        let wanted = self.ngram.fill.take(&chances[..most], self.share, costs);
        text.silent += 1;
        if wanted > 0 {
            (text.silent, text.try_after) = (0, TRY_AFTER.0);
        } else if text.silent >= text.try_after {
            text.silent = 0;
            text.try_after = (2 * text.try_after).min(TRY_AFTER.1);
            return max.min(1);
        }
        wanted
    }

    /// Writes `wanted` tokens behind `known`.
    fn write(
        &mut self,
        request: RequestId,
        known: &[TokenId],
        wanted: usize,
        guesses: &mut Vec<TokenId>,
    ) {
        let Some(text) = self.texts.get_mut(&request) else {
            return;
        };
        let behind = &known[text.computed.min(known.len() - 1)..];
        text.computed = known.len() - behind.len();
        // A long prompt is read a part at a time, between batches of the large model.
        let part = &behind[..behind.len().min(self.max_rows)];
        if !self.compute(request, part) || part.len() < behind.len() {
            return;
        }
        while let Some(text) = self.texts.get_mut(&request) {
            for &token in &known[text.told..] {
                text.sampler.accept(token);
            }
            text.told = known.len();
            let position = known.len() + text.guessed;
            let Ok(choice) = text.sampler.choose(&mut self.logits, position as u32) else {
                break;
            };
            let forced = position.checked_sub(text.prompt_len);
            let forced = forced.and_then(|i| text.forced.get(i));
            let token = forced.copied().unwrap_or(choice.token);
            guesses.push(token);
            text.guessed += 1;
            if text.guessed == wanted {
                break;
            }
            text.sampler.accept(token);
            if !self.compute(request, &[token]) {
                break;
            }
        }
        if let Some(text) = self.texts.get_mut(&request) {
            text.sampler.retract(text.guessed.saturating_sub(1));
        }
    }
}

impl<O: Ops + 'static> Guesser for Draft<O>
where
    O: Send,
    O::Memory: Send,
{
    fn submitted(&mut self, request: RequestId, asked: &Request) {
        if self.use_ngram {
            self.ngram.submitted(request, asked);
        }
        let sampling = Sampling {
            logprobs: None,
            dry: Dry::default(), // would need the vocabulary's breakers; costs a few guesses
            infill: false,       // would need the vocabulary
            ..asked.sampling.clone()
        };
        let n_vocab = self.network.shape().n_vocab;
        let Ok(sampler) = Sampler::new(&sampling, n_vocab) else {
            return;
        };
        let text = Text {
            sampler,
            prompt_len: asked.prompt.len(),
            forced: match asked.forced_draft {
                true => asked.forced.clone(),
                false => Vec::new(),
            },
            pages: Vec::new(),
            computed: 0,
            told: 0,
            guessed: 0,
            right: Chance::default(),
            silent: 0,
            try_after: TRY_AFTER.0,
        };
        self.texts.insert(request, text);
    }

    fn begin(&mut self, now: Duration, rows: usize) {
        self.ngram.begin(now, rows);
    }

    fn guess(
        &mut self,
        request: RequestId,
        known: &[TokenId],
        max: usize,
        guesses: &mut Vec<TokenId>,
    ) {
        let before = guesses.len();
        if self.use_ngram {
            self.ngram.guess(request, known, max, guesses);
        }
        if let Some(text) = self.texts.get_mut(&request) {
            // Guesses for which there was no room have not been judged.
            text.settle(0);
        }
        if guesses.len() == before && !known.is_empty() {
            let wanted = self.wanted(request, max);
            if wanted > 0 {
                self.write(request, known, wanted, guesses);
            }
        }
    }

    fn filled(&mut self, rows: usize, outputs: usize) {
        // The time of its own passes is not the batch's: only batches without them are measured.
        let drafted = self.texts.values().any(|text| text.guessed > 0);
        self.ngram.filled(rows, if drafted { 0 } else { outputs });
    }

    fn judged(&mut self, request: RequestId, guessed: usize, right: usize) {
        let Some(text) = self.texts.get_mut(&request) else {
            return;
        };
        if text.guessed > 0 {
            for i in 0..guessed.min(right + 1) {
                text.right.note(i < right);
            }
        }
        text.settle(right);
    }

    fn over(&mut self, request: RequestId) {
        if self.use_ngram {
            self.ngram.over(request);
        }
        if let Some(text) = self.texts.remove(&request) {
            self.free.extend(text.pages);
        }
    }
}

/// Whether a guess of one means the same to the other.
fn same_tokens(draft: &Vocabulary, target: &Vocabulary) -> Result<(), EngineError> {
    let ids = || (0..target.len() as u32).map(TokenId);
    let other = match draft.len() == target.len() {
        true => ids().find(|&id| draft.token_text(id) != target.token_text(id)),
        false => Some(TokenId(draft.len().min(target.len()) as u32)),
    };
    match other {
        None => Ok(()),
        Some(token) => Err(EngineError::DraftVocabulary {
            token,
            draft: draft.len(),
            target: target.len(),
        }),
    }
}
