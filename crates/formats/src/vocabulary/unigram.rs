//! The unigram language model of SentencePiece (Kudo 2018): of all ways to cut the text into
//! tokens, the one with the greatest sum of scores.

use super::charsmap::Charsmap;
use super::tokens::{Attributes, Tokens};
use super::trie::Trie;
use crate::TokenId;

/// How much less than the worst token the unknown token scores.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Tokens with their scores, and how text is normalised.
#[derive(Debug, Clone)]
pub(super) struct Unigram {
    trie: Trie,
    scores: Vec<f32>,
    unknown_score: f64,
    charsmap: Option<Charsmap>,
    pub(super) add_space_prefix: bool,
    pub(super) merge_spaces: bool,
}

/// The best way to reach a position in the text.
#[derive(Debug, Clone, Copy)]
struct Best {
    token: Option<TokenId>,
    from: usize,
    score: f64,
}

impl Unigram {
    pub(super) fn new(tokens: &Tokens, mut scores: Vec<f32>, charsmap: Option<Charsmap>) -> Self {
        let usable = Attributes::NORMAL
            .with(Attributes::USER_DEFINED)
            .with(Attributes::UNUSED);
        let texts = tokens
            .iter()
            .filter(|(id, _)| tokens.attributes(*id).any(usable))
            .map(|(id, text)| (text.as_bytes(), id))
            .collect();
        let mut worst = f32::MAX;
        for ((id, _), score) in tokens.iter().zip(&mut scores) {
            let attributes = tokens.attributes(id);
            if attributes.any(Attributes::NORMAL) {
                worst = worst.min(*score);
            }
            if attributes.any(Attributes::USER_DEFINED) {
                *score = 0.0; // the others are logarithms of probabilities, so below 0
            }
        }
        Self {
            trie: Trie::new(texts),
            scores,
            unknown_score: f64::from(worst - UNKNOWN_PENALTY),
            charsmap,
            add_space_prefix: false,
            merge_spaces: false,
        }
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, unknown: Option<TokenId>, out: &mut Vec<TokenId>) {
        let text = self.normalise(text);
        let start = Best {
            token: unknown,
            from: 0,
            score: f64::MIN,
        };
        let mut best = vec![start; text.len() + 1];
        if let Some(first) = best.first_mut() {
            first.score = 0.0;
        }
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let char_len = char_len(rest);
            let reached = best.get(at).map_or(f64::MIN, |here| here.score);
            let mut improve = |token: Option<TokenId>, len: usize, score: f64| {
                if let Some(there) = best.get_mut(at + len)
                    && reached + score > there.score
                {
                    *there = Best {
                        token,
                        from: at,
                        score: reached + score,
                    };
                }
            };
            let mut char_has_token = false;
            for (token, len) in self.trie.prefixes(rest) {
                char_has_token |= len == char_len;
                let index = usize::try_from(token.0).unwrap_or(usize::MAX);
                let score = self.scores.get(index).copied().unwrap_or_default();
                improve(Some(token), len, f64::from(score));
            }
            if !char_has_token {
                improve(unknown, char_len, self.unknown_score);
            }
            at += char_len;
        }
        trace_back(&best, unknown, out);
    }

    /// Replaces by the character map and writes spaces as `▁`.
    fn normalise(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len().saturating_mul(2));
        let mut in_word = false;
        let mut prefixed = false;
        let mut push = |bytes: &[u8]| {
            for &byte in bytes {
                if byte == b' ' {
                    in_word = false;
                    if !self.merge_spaces {
                        out.extend(super::SPACE.as_bytes());
                    }
                    continue;
                }
                if !in_word {
                    in_word = true;
                    if self.merge_spaces || (self.add_space_prefix && !prefixed) {
                        out.extend(super::SPACE.as_bytes());
                        prefixed = true;
                    }
                }
                out.push(byte);
            }
        };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let found = self.charsmap.as_ref().and_then(|map| map.longest(rest));
            let len = match found {
                Some((replacement, len)) => {
                    push(replacement);
                    len
                }
                None => {
                    let len = char_len(rest);
                    push(rest.get(..len).unwrap_or_default());
                    len
                }
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        out
    }
}

/// Bytes of the first character, by its first byte.
fn char_len(text: &[u8]) -> usize {
    let len = match text.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..) => 4,
        _ => 1,
    };
    len.min(text.len())
}

/// Appends the tokens on the best way to the end; neighbouring unknown tokens become one.
fn trace_back(best: &[Best], unknown: Option<TokenId>, out: &mut Vec<TokenId>) {
    let start = out.len();
    let mut at = best.len().saturating_sub(1);
    let mut after_unknown = false;
    while at > 0 {
        let Some(step) = best.get(at) else { break };
        let is_unknown = step.token == unknown;
        if !(after_unknown && is_unknown) {
            out.extend(step.token);
        }
        after_unknown = is_unknown;
        if step.from >= at {
            break; // no way leads here: only a map that cuts characters does this
        }
        at = step.from;
    }
    if let Some(tokens) = out.get_mut(start..) {
        tokens.reverse();
    }
}
