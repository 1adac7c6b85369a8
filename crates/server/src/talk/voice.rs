//! One answer while it comes: reasoning, text and calls told apart.

use super::answers::{News, TokenLogprob};
use super::calls;
use ingle_engine::reasoning::{Part, Splitter};
use ingle_formats::TokenId;

/// One answer while it comes.
#[derive(Debug)]
pub(super) struct Voice {
    /// None where the answer is text as it stands.
    reasoning: Option<Splitter>,
    thinking: bool,
    /// Tokens of which it is not known yet whether they are reasoning.
    undecided: u64,
    /// Tokens of reasoning.
    pub reasoning_tokens: u64,
    /// Where tools may be called.
    tools: Option<calls::Splitter>,
    pub calls: u32,
    random: fn() -> u64,
}

/// What came with a token.
pub(super) struct Piece<'a> {
    pub text: &'a str,
    /// None for the token that ends the answer, and where nobody asked.
    pub logprob: Option<TokenLogprob>,
}

impl Voice {
    /// The answer to a conversation; `prompt` may have opened the reasoning.
    pub fn chat(prompt: &str, has_tools: bool, random: fn() -> u64) -> Self {
        Self {
            thinking: prompt.trim_end().ends_with("<think>"),
            reasoning: Some(Splitter::new(prompt)),
            tools: has_tools.then(calls::Splitter::default),
            ..Self::text(random)
        }
    }

    /// A text that goes on as it stands.
    pub fn text(random: fn() -> u64) -> Self {
        Self {
            reasoning: None,
            thinking: false,
            undecided: 0,
            reasoning_tokens: 0,
            tools: None,
            calls: 0,
            random,
        }
    }

    /// Takes the next token.
    pub fn push(&mut self, piece: Piece<'_>) -> Vec<News> {
        let thought = self.thinking;
        let parts = match &mut self.reasoning {
            Some(splitter) => splitter.push(piece.text),
            None => answer(piece.text),
        };
        let mut news = self.tell(parts, false);
        if thought || self.thinking {
            self.reasoning_tokens += 1 + std::mem::take(&mut self.undecided);
        } else if self.reasoning.is_some() && news.is_empty() && self.reasoning_tokens == 0 {
            self.undecided += 1;
        } else {
            self.undecided = 0;
        }
        news.extend(piece.logprob.map(News::Logprob));
        news
    }

    /// Ends the answer: what was held back is what it looks like.
    pub fn finish(&mut self) -> Vec<News> {
        let parts = self.reasoning.as_mut().map(Splitter::finish);
        self.tell(parts.unwrap_or_default(), true)
    }

    fn tell(&mut self, parts: Vec<Part>, ends: bool) -> Vec<News> {
        let mut news = Vec::new();
        let mut heard = Vec::new();
        for part in parts {
            match part {
                Part::Reasoning(text) => {
                    self.thinking = true;
                    push(&mut news, News::Reasoning, text);
                }
                Part::Answer(text) => {
                    self.thinking = false;
                    match &mut self.tools {
                        None => push(&mut news, News::Content, text),
                        Some(tools) => heard.extend(tools.push(&text)),
                    }
                }
            }
        }
        if let Some(tools) = self.tools.as_mut().filter(|_| ends) {
            heard.extend(tools.finish());
        }
        for part in heard {
            match part {
                calls::Part::Text(text) => push(&mut news, News::Content, text),
                calls::Part::Call { name, arguments } => {
                    let (index, id) = (self.calls, format!("call_{:016x}", (self.random)()));
                    self.calls += 1;
                    news.push(News::CallBegin { index, id, name });
                    let text = arguments;
                    news.push(News::CallArguments { index, text });
                }
            }
        }
        news
    }
}

fn answer(text: &str) -> Vec<Part> {
    match text.is_empty() {
        true => Vec::new(),
        false => vec![Part::Answer(text.to_owned())],
    }
}

fn push(news: &mut Vec<News>, kind: fn(String) -> News, text: String) {
    if !text.is_empty() {
        news.push(kind(text));
    }
}

/// Whether a token ends an answer and is no part of it.
pub(super) fn is_end(vocabulary: &ingle_formats::vocabulary::Vocabulary, token: TokenId) -> bool {
    vocabulary.is_end_of_generation(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::whole::{Choice, Said};
    use crate::talk::{Call, End};

    fn heard(prompt: &str, pieces: &[&str]) -> (Choice, u64) {
        let mut voice = Voice::chat(prompt, true, || 7);
        let mut choice = Choice::default();
        for text in pieces {
            let piece = Piece {
                text,
                logprob: None,
            };
            voice.push(piece).into_iter().for_each(|n| choice.add(n));
        }
        voice.finish().into_iter().for_each(|n| choice.add(n));
        choice.add(News::End(End::Calls));
        (choice, voice.reasoning_tokens)
    }

    #[test]
    fn reasoning_content_and_calls_are_told_apart() {
        let pieces = [
            "Hm",
            "m.</th",
            "ink>\n\nI look. ",
            "\n<tool",
            "_call>{\"name\": \"f\", ",
            "\"arguments\": {\"a\": 1}}</tool_call>",
            "\n",
        ];
        let (choice, reasoning) = heard("...<think>\n", &pieces);
        let call = Call {
            id: "call_0000000000000007".into(),
            name: "f".into(),
            arguments: "{\"a\":1}".into(),
        };
        assert_eq!(
            choice.said,
            [
                Said::Reasoning("Hmm.".into()),
                Said::Content("I look.".into()),
                Said::Call(call)
            ]
        );
        assert_eq!(choice.end, Some(End::Calls));
        assert_eq!(reasoning, 3);
    }

    #[test]
    fn tokens_that_open_reasoning_belong_to_it() {
        let (choice, reasoning) = heard("", &["<th", "ink>", "a", "</think>", "\n\n", "b", "c"]);
        assert_eq!(reasoning, 6); // the one that brought the answer closed it
        assert_eq!(choice.reasoning(), "a");
        assert_eq!(choice.content(), "bc");
        assert_eq!(heard("", &["<th", "us"]).1, 0);
    }
}
