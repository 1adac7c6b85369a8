//! A hole is filled only as far as the model is sure of it: llama.cpp's sampler `infill`, which its
//! editors ask for (llama-sampler.cpp, read 2026-11).
//!
//! Of the `n` candidates that truncation left, with their probabilities among themselves:
//!
//! 1. Where `3 n P(ends) > P(texts)`, only ends stay.
//! 2. Of two candidates, the text of one of which begins the other's, the more probable one gets the
//!    probability of both, and the other goes: `f` and `fn` are the same guess.
//! 3. Texts below 0.2 go. Is none left, the text ends here.
//! 4. Of the `m` texts that are left, those below `1 / (m + 1)` of what is left go too.
//!
//! Ends are never dropped by 3 and 4. Logits stay as they were: among what is left is drawn by them.

use super::truncate::{Candidate, sort_by_logit};
use super::weights;
use crate::constrain::end_token;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use std::sync::Arc;

/// The most candidates: each is compared with each.
pub(super) const MAX_CANDIDATES: u32 = 256;
/// Texts that are less probable are no guess.
const LEAST: f32 = 0.2;

/// What tokens say, and scratch.
#[derive(Clone, Debug)]
pub(super) struct Infill {
    vocabulary: Arc<Vocabulary>,
    bytes: Vec<u8>,
    /// Where the text of each candidate ends in `bytes`.
    ends: Vec<usize>,
}

impl Infill {
    pub(super) fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self {
            vocabulary,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Keeps what the model is sure of, most probable first; at least one candidate stays.
    pub(super) fn keep_sure(&mut self, logits: &[f32], candidates: &mut Vec<Candidate>) {
        sort_by_logit(candidates);
        let Some(&first) = candidates.first() else {
            return;
        };
        for c in candidates.iter_mut() {
            c.weight = weights::exp(c.logit - first.logit);
        }
        share(candidates);
        let vocabulary = Arc::clone(&self.vocabulary);
        let ends = |c: &Candidate| vocabulary.is_end_of_generation(TokenId(c.id));
        let of_ends: f32 = sum(candidates.iter().filter(|c| ends(c)));
        let of_texts: f32 = sum(candidates.iter().filter(|c| !ends(c)));
        if 3.0 * of_ends * candidates.len() as f32 > of_texts {
            candidates.retain(ends);
            return;
        }
        self.merge(candidates);
        candidates.retain(|c| c.weight >= LEAST || ends(c));
        let texts = candidates.iter().filter(|c| !ends(c)).count();
        if texts == 0 {
            let end = end_token(&vocabulary).and_then(|end| {
                let logit = *logits.get(end.0 as usize)?;
                (logit > f32::NEG_INFINITY).then(|| Candidate::new(end.0, logit))
            });
            // Where a rule lets nothing end here, the best guess is as good as any.
            candidates.clear();
            candidates.push(end.unwrap_or(first));
            return;
        }
        share(candidates);
        let least = 1.0 / (texts + 1) as f32;
        candidates.retain(|c| c.weight >= least || ends(c));
    }

    /// Candidates with a common beginning become one.
    fn merge(&mut self, candidates: &mut Vec<Candidate>) {
        self.bytes.clear();
        self.ends.clear();
        for c in candidates.iter() {
            self.vocabulary.piece(TokenId(c.id), false, &mut self.bytes);
            self.ends.push(self.bytes.len());
        }
        let text = |i: usize| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            &self.bytes[start..self.ends[i]]
        };
        for i in 0..candidates.len() {
            for j in 0..candidates.len() {
                if candidates[i].weight == 0.0 {
                    break;
                }
                let begins = !text(i).is_empty() && text(j).starts_with(text(i));
                if i == j || candidates[j].weight == 0.0 || !begins {
                    continue;
                }
                let (kept, gone) = match candidates[j].weight > candidates[i].weight {
                    true => (j, i),
                    false => (i, j),
                };
                candidates[kept].weight += candidates[gone].weight;
                candidates[gone].weight = 0.0;
            }
        }
        candidates.retain(|c| c.weight > 0.0);
    }
}

/// Weights become shares of their sum.
fn share(candidates: &mut [Candidate]) {
    let all = sum(candidates.iter());
    for c in candidates {
        c.weight /= all;
    }
}

fn sum<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> f32 {
    candidates.map(|c| c.weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Sampler, Sampling, SamplingError};
    use ingle_formats::gguf::{Metadata, Value};
    use proptest::prelude::*;

    const TOKENS: [&str; 10] = [
        "f",
        "fn",
        "foo",
        "bar",
        "b",
        "<|endoftext|>",
        "v",
        "w",
        "x",
        "y",
    ];
    const END: &str = "<|endoftext|>";

    fn vocabulary() -> Arc<Vocabulary> {
        let kinds = TOKENS.map(|token| if token == END { 3 } else { 1 });
        let pairs: [(&str, Value); 6] = [
            ("tokenizer.ggml.model", "gpt2".into()),
            ("tokenizer.ggml.pre", "qwen2".into()),
            ("tokenizer.ggml.tokens", TOKENS.to_vec().into()),
            ("tokenizer.ggml.token_type", kinds.to_vec().into()),
            ("tokenizer.ggml.merges", vec!["f n"].into()),
            ("tokenizer.ggml.eos_token_id", 5_u32.into()),
        ];
        let metadata = Metadata::from_pairs(pairs).unwrap();
        Arc::new(Vocabulary::from_metadata(&metadata).unwrap())
    }

    fn logits(probabilities: &[(&str, f32)]) -> [f32; TOKENS.len()] {
        TOKENS.map(|token| {
            let found = probabilities.iter().find(|(text, _)| *text == token);
            found.map_or(f32::NEG_INFINITY, |(_, p)| p.ln())
        })
    }

    fn candidates(logits: &[f32]) -> Vec<Candidate> {
        let all = (0..).zip(logits);
        let possible = all.filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        possible
            .map(|(id, &logit)| Candidate::new(id, logit))
            .collect()
    }

    /// What is left of tokens with these probabilities.
    fn left(probabilities: &[(&str, f32)]) -> Vec<&'static str> {
        let logits = logits(probabilities);
        let mut candidates = candidates(&logits);
        Infill::new(vocabulary()).keep_sure(&logits, &mut candidates);
        candidates.iter().map(|c| TOKENS[c.id as usize]).collect()
    }

    #[test]
    fn an_end_that_is_likely_enough_is_the_end() {
        // 3 * 3 * 0.11 > 0.89
        assert_eq!(left(&[("f", 0.8), ("b", 0.09), (END, 0.11)]), [END]);
        // 3 * 3 * 0.09 < 0.91: one guess, and the end as a chance.
        assert_eq!(left(&[("f", 0.9), ("b", 0.01), (END, 0.09)]), ["f", END]);
    }

    #[test]
    fn what_begins_alike_is_one_guess() {
        // `f` stands for three, `bar` for `b`: 0.6 and 0.4, both above a third.
        let all = [
            ("f", 0.3),
            ("fn", 0.15),
            ("foo", 0.15),
            ("bar", 0.3),
            ("b", 0.1),
        ];
        assert_eq!(left(&all), ["f", "bar"]);
        // `fn` has the most: it stands for `f`, and `foo` is another guess, below a third.
        assert_eq!(left(&[("f", 0.2), ("fn", 0.5), ("foo", 0.3)]), ["fn"]);
    }

    #[test]
    fn where_nothing_is_sure_the_text_ends() {
        let six = ["f", "b", "v", "w", "x", "y"].map(|token| (token, 1.0 / 6.0));
        // The end has no probability of its own, but nothing bans it.
        let mut all = logits(&six);
        all[5] = -50.0;
        let mut few = candidates(&logits(&six));
        Infill::new(vocabulary()).keep_sure(&all, &mut few);
        assert_eq!(few.iter().map(|c| c.id).collect::<Vec<_>>(), [5]);
        // Where it is banned, the best guess stays.
        assert_eq!(left(&six), ["f"]);
        assert_eq!(
            left(&[("v", 0.25), ("w", 0.25), ("x", 0.25), ("y", 0.25)]).len(),
            4
        );
    }

    #[test]
    fn a_sampler_ends_where_it_is_unsure() {
        let sampling = Sampling {
            infill: true,
            top_k: 40,
            ..Sampling::default()
        };
        let sampler = |sampling: &Sampling| {
            let sampler = Sampler::new(sampling, TOKENS.len()).unwrap();
            sampler.with_vocabulary(vocabulary())
        };
        let mut warm = sampler(&sampling);
        for position in 0..50 {
            let mut logits = logits(&[("f", 0.8), ("b", 0.09), (END, 0.11)]);
            assert_eq!(warm.choose(&mut logits, position).unwrap().token.0, 5);
        }
        let mut greedy = sampler(&Sampling {
            temperature: 0.0,
            ..sampling
        });
        let mut logits = logits(&[("f", 0.2), ("fn", 0.5), ("foo", 0.3)]);
        assert_eq!(greedy.choose(&mut logits, 0).unwrap().token.0, 1);
    }

    #[test]
    fn it_needs_few_candidates() {
        for top_k in [0, MAX_CANDIDATES + 1] {
            let sampling = Sampling {
                infill: true,
                top_k,
                ..Sampling::default()
            };
            let error = sampling.validate().unwrap_err();
            assert_eq!(error, SamplingError::InfillOfMany { top_k });
        }
    }

    proptest! {
        #[test]
        fn something_stays_and_logits_stay(
            weights in prop::array::uniform10(prop_oneof![Just(0.0_f32), 0.0_f32..1.0]),
        ) {
            let logits = weights.map(f32::ln);
            let mut candidates = candidates(&logits);
            let some = !candidates.is_empty();
            Infill::new(vocabulary()).keep_sure(&logits, &mut candidates);
            prop_assert_eq!(!candidates.is_empty(), some);
            for c in candidates {
                prop_assert_eq!(logits[c.id as usize], c.logit);
                prop_assert!(c.logit > f32::NEG_INFINITY);
            }
        }
    }
}
