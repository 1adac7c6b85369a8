//! From tokens to text.

use super::tokens::Attributes;
use super::{Tokenizer, Vocabulary};
use crate::TokenId;

/// How tokens become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decode {
    /// Control tokens become their text (`<|im_end|>`); otherwise they become nothing.
    pub special: bool,
    /// The tokens are the start of a text, so the space that tokenizing put before its first word
    /// is taken away again. Leave it off for what a model adds to a prompt.
    pub start_of_text: bool,
    /// Spaces before punctuation are dropped where the vocabulary asks for that (llama.cpp does so
    /// when it decodes whole texts, and not when it streams). It changes the text, so it is
    /// ignored by [`StreamDecoder`].
    pub clean_up: bool,
}

impl Vocabulary {
    /// Appends the bytes that a token stands for. Control tokens and the unknown token become
    /// their text with `special`, and nothing without. A token that is not in the vocabulary
    /// becomes nothing.
    pub fn piece(&self, token: TokenId, special: bool, out: &mut Vec<u8>) {
        let Some(text) = self.tokens.text(token) else {
            return;
        };
        let attributes = self.tokens.attributes(token);
        let hidden = attributes.any(Attributes::CONTROL.with(Attributes::UNKNOWN));
        if hidden || attributes.any(Attributes::USER_DEFINED) {
            if special || !hidden {
                out.extend_from_slice(text.as_bytes());
            }
        } else if attributes.any(Attributes::BYTE) {
            out.extend(super::byte_of_text(text));
        } else if attributes.any(Attributes::NORMAL) {
            self.plain_piece(text, out);
        }
    }

    fn plain_piece(&self, text: &str, out: &mut Vec<u8>) {
        let alphabet = match &self.tokenizer {
            Tokenizer::Bpe(bpe) if !self.escapes_spaces() => bpe.alphabet(),
            _ => {
                for (index, part) in text.split(super::SPACE).enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(part.as_bytes());
                }
                return;
            }
        };
        let mut utf8 = [0; 4];
        for c in text.chars() {
            match alphabet.byte_of(c) {
                Some(byte) => out.push(byte),
                // Not of the alphabet: added by hand, and meant as it stands.
                None => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
            }
        }
    }

    /// The text of a whole list of tokens. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[TokenId], options: Decode) -> String {
        let mut decoder = StreamDecoder::new(options);
        let mut text = String::new();
        for &token in tokens {
            decoder.push(self, token, &mut text);
        }
        decoder.finish(&mut text);
        if options.clean_up && self.clean_spaces {
            clean_up(&text)
        } else {
            text
        }
    }
}

/// Turns tokens into text one by one, and never hands out a part of a character.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    /// The bytes of a character whose end has not come yet: at most 3 between calls.
    pending: Vec<u8>,
    options: Decode,
    started: bool,
}

impl StreamDecoder {
    /// A decoder at the start of a text, or of an addition to one.
    pub fn new(options: Decode) -> Self {
        Self {
            pending: Vec::new(),
            options,
            started: false,
        }
    }

    /// Takes a token and appends the text that is complete with it. Bytes that can be no character
    /// become U+FFFD.
    pub fn push(&mut self, vocabulary: &Vocabulary, token: TokenId, out: &mut String) {
        let before = self.pending.len();
        vocabulary.piece(token, self.options.special, &mut self.pending);
        // The beginning token is not text: the first word comes after it.
        let is_bos = vocabulary.roles().bos == Some(token);
        if !self.started && !is_bos {
            self.started = true;
            let prefixed = self.options.start_of_text && vocabulary.add_space_prefix();
            if prefixed && self.pending.get(before) == Some(&b' ') {
                self.pending.remove(before);
            }
        }
        self.hand_out(out);
    }

    /// Whether every character has come whole so far.
    pub fn is_between_characters(&self) -> bool {
        self.pending.is_empty()
    }

    /// Ends the text: what is left of an unfinished character becomes U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if !self.pending.is_empty() {
            self.pending.clear();
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn hand_out(&mut self, out: &mut String) {
        let mut done = 0;
        loop {
            let rest = self.pending.get(done..).unwrap_or_default();
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    done += text.len();
                    break;
                }
                Err(error) => error,
            };
            let valid = rest.get(..error.valid_up_to()).unwrap_or_default();
            out.push_str(std::str::from_utf8(valid).unwrap_or(""));
            done += valid.len();
            let Some(bad) = error.error_len() else { break };
            out.push(char::REPLACEMENT_CHARACTER);
            done += bad;
        }
        self.pending.drain(..done);
    }
}

/// Drops the space before `?!.,`, the spaces around a single `'`, and the space before `'s`, `'m`,
/// `'re` and `'ve`.
fn clean_up(text: &str) -> String {
    let mut out = text.to_owned();
    for mark in ["?", "!", ".", ","] {
        out = out.replace(&format!(" {mark}"), mark);
    }
    out = out.replace(" ' ", "'");
    for contraction in ["'s", "'m", "'re", "'ve"] {
        out = out.replace(&format!(" {contraction}"), contraction);
    }
    out
}
