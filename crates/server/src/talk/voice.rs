//! One answer while it comes: reasoning, text and calls told apart.

use super::answers::{News, TokenLogprob};
use ingle_engine::tools::{Format, Piece, Reader, Style, Tool};

/// One answer while it comes.
#[derive(Debug)]
pub(super) struct Voice {
    /// None where the answer is text as it stands.
    reader: Option<Reader>,
    format: Option<Format>,
    thinking: bool,
    /// Tokens of which it is not known yet whether they are reasoning.
    undecided: u64,
    /// Tokens of reasoning.
    pub reasoning_tokens: u64,
    /// Calls that have begun.
    begun: u32,
    /// Calls that are whole.
    pub calls: u32,
    random: fn() -> u64,
}

impl Voice {
    /// The answer to a conversation; `prompt` may have opened the reasoning.
    pub fn chat(style: &Style, prompt: &str, tools: &[Tool], random: fn() -> u64) -> Self {
        Self {
            thinking: style.reasoning.opened_by(prompt),
            reader: Some(Reader::new(style, prompt, tools)),
            format: style.calls,
            ..Self::text(random)
        }
    }

    /// A text that goes on as it stands.
    pub fn text(random: fn() -> u64) -> Self {
        Self {
            reader: None,
            format: None,
            thinking: false,
            undecided: 0,
            reasoning_tokens: 0,
            begun: 0,
            calls: 0,
            random,
        }
    }

    /// Takes the text of the next token, and how probable that was, if somebody asked and the token is
    /// not the one that ends the answer.
    pub fn push(&mut self, text: &str, logprob: Option<TokenLogprob>) -> Vec<News> {
        let thought = self.thinking;
        let pieces = match &mut self.reader {
            Some(reader) => reader.push(text),
            None => answer(text),
        };
        let mut news = self.tell(pieces);
        if thought || self.thinking {
            self.reasoning_tokens += 1 + std::mem::take(&mut self.undecided);
        } else if self.reader.is_some() && news.is_empty() && self.reasoning_tokens == 0 {
            self.undecided += 1;
        } else {
            self.undecided = 0;
        }
        news.extend(logprob.map(News::Logprob));
        news
    }

    /// Ends the answer: what was held back is what it looks like. A call that was cut stays one.
    pub fn finish(&mut self) -> Vec<News> {
        let mut pieces = match &mut self.reader {
            Some(reader) => reader.finish(),
            None => Vec::new(),
        };
        let cut = pieces
            .iter()
            .position(|p| *p == Piece::CallEnd { whole: false });
        pieces.truncate(cut.unwrap_or(pieces.len()));
        self.tell(pieces)
    }

    fn tell(&mut self, pieces: Vec<Piece>) -> Vec<News> {
        let mut news = Vec::new();
        for piece in pieces {
            self.thinking = matches!(piece, Piece::Reasoning(_));
            let index = self.begun.saturating_sub(1);
            match piece {
                Piece::Reasoning(text) => news.push(News::Reasoning(text)),
                Piece::Text(text) => news.push(News::Content(text)),
                Piece::CallBegin { name } => {
                    let index = self.begun;
                    self.begun += 1;
                    let id = self.call_id(&name, index);
                    news.push(News::CallBegin { index, id, name });
                }
                Piece::CallArguments(text) => news.push(News::CallArguments { index, text }),
                Piece::CallEnd { whole } => {
                    self.calls += u32::from(whole);
                    news.push(News::CallEnd { index, whole });
                }
            }
        }
        news
    }

    /// What the answer of a tool refers to, in the form that the model's template wants.
    fn call_id(&self, name: &str, index: u32) -> String {
        let random = (self.random)();
        match self.format {
            Some(format) if nine_characters(format) => nine(random),
            Some(Format::Kimi) => format!("functions.{name}:{index}"),
            _ => format!("call_{random:016x}"),
        }
    }
}

/// Whether templates of this format take calls only by names of nine letters and digits.
pub(super) fn nine_characters(format: Format) -> bool {
    matches!(format, Format::MistralList | Format::MistralArgs)
}

/// Nine letters and digits.
pub(super) fn nine(mut number: u64) -> String {
    let mut digit = || {
        let digit = (number % 36) as u32;
        number /= 36;
        char::from_digit(digit, 36).unwrap_or('0')
    };
    (0..9).map(|_| digit()).collect()
}

fn answer(text: &str) -> Vec<Piece> {
    match text.is_empty() {
        true => Vec::new(),
        false => vec![Piece::Text(text.to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::whole::{Choice, Said};
    use crate::talk::{Call, End};
    use ingle_engine::reasoning::Marks;

    fn style(calls: Format) -> Style {
        Style {
            calls: Some(calls),
            reasoning: Marks::THINK,
            reasons: true,
            shows_tools: true,
        }
    }

    fn heard(calls: Format, prompt: &str, pieces: &[&str]) -> (Choice, u64) {
        let tools = [Tool {
            name: "f".into(),
            parameters: None,
            strict: false,
        }];
        let mut voice = Voice::chat(&style(calls), prompt, &tools, || 7);
        let mut choice = Choice::default();
        for text in pieces {
            let news = voice.push(text, None);
            news.into_iter().for_each(|n| choice.add(n));
        }
        voice.finish().into_iter().for_each(|n| choice.add(n));
        choice.add(News::End(End::Calls));
        (choice, voice.reasoning_tokens)
    }

    fn call(id: &str, arguments: &str) -> Said {
        Said::Call(Call {
            id: id.into(),
            name: "f".into(),
            arguments: arguments.into(),
        })
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
        let (choice, reasoning) = heard(Format::Hermes, "...<think>\n", &pieces);
        let texts: Vec<&Said> = choice.said.iter().collect();
        assert_eq!(texts[0], &Said::Reasoning("Hmm.".into()));
        assert_eq!(choice.content().trim_end(), "I look.");
        assert_eq!(texts[2], &call("call_0000000000000007", "{\"a\": 1}"));
        assert_eq!(choice.end, Some(End::Calls));
        assert_eq!(reasoning, 3);
    }

    #[test]
    fn a_call_that_was_cut_stays_a_call_and_what_is_none_is_text() {
        let begun = ["<tool_call>{\"name\": \"f\", ", "\"arguments\": {\"a\": 1"];
        let (choice, _) = heard(Format::Hermes, "", &begun);
        assert_eq!(choice.said, [call("call_0000000000000007", "{\"a\": 1")]);
        let broken = [begun[0], begun[1], "} nonsense</tool_call>"];
        let (choice, _) = heard(Format::Hermes, "", &broken);
        assert_eq!(choice.calls().count(), 0, "{choice:?}");
        assert_eq!(choice.content(), broken.concat());
    }

    #[test]
    fn names_of_calls_are_as_templates_want_them() {
        let (choice, _) = heard(Format::MistralArgs, "", &["[TOOL_CALLS]f[ARGS]{}"]);
        assert_eq!(choice.said, [call("700000000", "{}")]);
        assert!(nine(u64::MAX).bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn tokens_that_open_reasoning_belong_to_it() {
        let pieces = ["<th", "ink>", "a", "</think>", "\n\n", "b", "c"];
        let (choice, reasoning) = heard(Format::Hermes, "", &pieces);
        assert_eq!(reasoning, 6); // the one that brought the answer closed it
        assert_eq!(choice.reasoning(), "a");
        assert_eq!(choice.content(), "bc");
        assert_eq!(heard(Format::Hermes, "", &["<th", "us"]).1, 0);
    }
}
