//! Special tokens inside a text: where they stand, and the text between them.
//!
//! The rule is that of llama.cpp: one token after the other, the longest first, is looked for in
//! the text that is left. Looking for each of several thousand would be slow, so one pass of an
//! automaton first finds which ones occur at all.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use hashbrown::HashSet;
use memchr::memmem;

use super::VocabularyError;
use super::tokens::{Attributes, Tokens};
use crate::TokenId;

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(TokenId),
}

/// The tokens that are looked for before text is tokenized.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    /// The longest first; of equal length, by id.
    longest_first: Vec<TokenId>,
    /// Finds the texts of `longest_first`, by their index there.
    finder: NFA,
}

impl SpecialTokens {
    /// The control, user-defined and unknown tokens among `tokens`.
    pub(super) fn new(tokens: &Tokens) -> Result<Self, VocabularyError> {
        let special = Attributes::CONTROL
            .with(Attributes::USER_DEFINED)
            .with(Attributes::UNKNOWN);
        let mut found: Vec<(TokenId, &str)> = tokens
            .iter()
            .filter(|(id, _)| tokens.attributes(*id).any(special))
            .collect();
        found.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        let finder = NFA::builder()
            .match_kind(MatchKind::Standard)
            .build(found.iter().map(|(_, text)| text))
            .map_err(|error| VocabularyError::SpecialTokens {
                reason: error.to_string(),
            })?;
        let longest_first = found.into_iter().map(|(id, _)| id).collect();
        Ok(Self {
            longest_first,
            finder,
        })
    }

    /// All special tokens, the longest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.longest_first.iter().copied()
    }

    /// Cuts `text` at its special tokens. Without `parse_special` only user-defined tokens count:
    /// control tokens are then text like any other.
    pub(super) fn cut<'a>(
        &self,
        tokens: &Tokens,
        text: &'a str,
        parse_special: bool,
    ) -> Vec<Fragment<'a>> {
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(text));
        }
        for token in self.present(text) {
            let attributes = tokens.attributes(token);
            if !parse_special && attributes.any(Attributes::CONTROL.with(Attributes::UNKNOWN)) {
                continue;
            }
            let Some(needle) = tokens.text(token) else {
                continue;
            };
            fragments = cut_at(fragments, token, needle, attributes);
        }
        fragments
    }

    /// The special tokens whose text occurs, the longest first.
    fn present(&self, text: &str) -> Vec<TokenId> {
        let Ok(mut state) = self.finder.start_state(Anchored::No) else {
            return Vec::new();
        };
        let mut states = HashSet::new();
        let mut indices = Vec::new();
        if self.longest_first.is_empty() {
            return Vec::new();
        }
        for byte in text.bytes() {
            state = self.finder.next_state(Anchored::No, state, byte);
            // The tokens that end in a state are always the same, so each state counts once.
            if self.finder.is_match(state) && states.insert(state) {
                let count = self.finder.match_len(state);
                indices.extend((0..count).map(|i| self.finder.match_pattern(state, i).as_usize()));
            }
        }
        indices.sort_unstable();
        indices.dedup();
        indices
            .into_iter()
            .filter_map(|index| self.longest_first.get(index).copied())
            .collect()
    }
}

/// Cuts every text among the fragments where `needle` stands.
fn cut_at<'a>(
    fragments: Vec<Fragment<'a>>,
    token: TokenId,
    needle: &str,
    attributes: Attributes,
) -> Vec<Fragment<'a>> {
    let finder = memmem::Finder::new(needle);
    let mut out = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        let Fragment::Text(mut rest) = fragment else {
            out.push(fragment);
            continue;
        };
        while let Some(at) = finder.find(rest.as_bytes()) {
            let (mut left, mut right) = rest.split_at_checked(at).unwrap_or((rest, ""));
            right = right.get(needle.len()..).unwrap_or("");
            if attributes.any(Attributes::LEFT_STRIP) {
                left = left.trim_end_matches(is_ascii_space);
            }
            if attributes.any(Attributes::RIGHT_STRIP) {
                right = right.trim_start_matches(is_ascii_space);
            }
            if !left.is_empty() {
                out.push(Fragment::Text(left));
            }
            out.push(Fragment::Token(token));
            rest = right;
        }
        if !rest.is_empty() {
            out.push(Fragment::Text(rest));
        }
    }
    out
}

fn is_ascii_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: i32 = 3;
    const USER_DEFINED: i32 = 4;

    fn tokens(list: &[(&str, i32)]) -> Tokens {
        let kinds: Vec<i32> = list.iter().map(|(_, kind)| *kind).collect();
        Tokens::new(list.iter().map(|(text, _)| *text), Some(&kinds)).unwrap()
    }

    fn show(tokens: &Tokens, text: &str, parse_special: bool) -> String {
        let fragments = SpecialTokens::new(tokens)
            .unwrap()
            .cut(tokens, text, parse_special);
        let show = |fragment: &Fragment<'_>| match fragment {
            Fragment::Text(text) => format!("{text:?}"),
            Fragment::Token(id) => id.to_string(),
        };
        fragments.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_longest_token_is_taken_first_even_where_a_shorter_one_begins_before_it() {
        let tokens = tokens(&[("abc", USER_DEFINED), ("bcde", USER_DEFINED)]);
        assert_eq!(show(&tokens, "abcde abc", true), r#""a" 1 " " 0"#);
    }

    #[test]
    fn control_tokens_in_plain_text_are_text() {
        let tokens = tokens(&[("<s>", CONTROL), ("<u>", USER_DEFINED), ("x", 1)]);
        assert_eq!(show(&tokens, "<s>x<u>", false), r#""<s>x" 1"#);
        assert_eq!(show(&tokens, "<s>x<u>", true), r#"0 "x" 1"#);
        assert_eq!(show(&tokens, "", true), "");
    }

    #[test]
    fn white_space_beside_a_token_that_strips_it_is_dropped() {
        let mut tokens = tokens(&[("<m>", CONTROL)]);
        let strip = Attributes::CONTROL
            .with(Attributes::LEFT_STRIP)
            .with(Attributes::RIGHT_STRIP);
        tokens.set_attributes(TokenId(0), strip);
        assert_eq!(
            show(&tokens, "a \n<m>\t b \u{a0}<m>", true),
            "\"a\" 0 \"b \\u{a0}\" 0"
        );
    }

    /// With nested special tokens every position is the end of many of them; the work must not be
    /// their product.
    #[test]
    fn nested_special_tokens_over_a_long_run_take_linear_time() {
        let texts: Vec<String> = (1..=400).map(|len| "a".repeat(len)).collect();
        let list: Vec<_> = texts
            .iter()
            .map(|text| (text.as_str(), USER_DEFINED))
            .collect();
        let tokens = tokens(&list);
        let text = "a".repeat(1 << 20);
        let special = SpecialTokens::new(&tokens).unwrap();
        let fragments = special.cut(&tokens, &text, true);
        assert_eq!(fragments.len(), (1_usize << 20).div_ceil(400));
        assert_eq!(
            fragments.last(),
            Some(&Fragment::Token(TokenId((1 << 20) % 400 - 1)))
        );
    }
}
