//! Tells a model's reasoning from its answer while the text streams in.

/// The marks that reasoning models put around what they think.
const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// What the model thinks before it answers.
    Reasoning(String),
    /// The answer.
    Answer(String),
}

/// Splits a stream of text into reasoning and answer.
///
/// Reasoning can only come first: a mark further in is part of the answer.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    /// Text whose kind is not known yet: it may be the start of a mark.
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far.
    Start,
    Reasoning,
    /// Between the closing mark and the first character of the answer.
    Between,
    Answer,
}

impl Splitter {
    /// A splitter for an answer to `prompt`, which may itself have opened the reasoning.
    pub fn new(prompt: &str) -> Self {
        let opened = prompt.trim_end().ends_with(OPEN);
        let state = if opened {
            State::Reasoning
        } else {
            State::Start
        };
        Self {
            state,
            held: String::new(),
        }
    }

    /// Takes the next text and gives back what is known of it.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// Ends the stream: what was held is what it looks like.
    pub fn finish(&mut self) -> Vec<Part> {
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Reasoning if !rest.is_empty() => vec![Part::Reasoning(rest)],
            State::Start | State::Answer if !rest.is_empty() => vec![Part::Answer(rest)],
            _ => Vec::new(),
        }
    }

    /// One change of state; whether there is more to do.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Start => {
                let seen = self.held.trim_start();
                if let Some(rest) = seen.strip_prefix(OPEN) {
                    self.held = rest.to_owned();
                    self.state = State::Reasoning;
                } else if OPEN.starts_with(seen) {
                    return false; // white space, or the start of the mark
                } else {
                    self.state = State::Answer;
                }
                true
            }
            State::Reasoning => {
                if let Some(at) = self.held.find(CLOSE) {
                    let rest = self.held.split_off(at);
                    push(parts, Part::Reasoning, std::mem::take(&mut self.held));
                    self.held = rest.strip_prefix(CLOSE).unwrap_or_default().to_owned();
                    self.state = State::Between;
                    return true;
                }
                let known = self.held.len() - started(&self.held, CLOSE);
                let rest = self.held.split_off(known);
                push(
                    parts,
                    Part::Reasoning,
                    std::mem::replace(&mut self.held, rest),
                );
                false
            }
            State::Between => {
                self.held = self.held.trim_start().to_owned();
                let more = !self.held.is_empty();
                if more {
                    self.state = State::Answer;
                }
                more
            }
            State::Answer => {
                push(parts, Part::Answer, std::mem::take(&mut self.held));
                false
            }
        }
    }
}

fn push(parts: &mut Vec<Part>, kind: fn(String) -> Part, text: String) {
    if !text.is_empty() {
        parts.push(kind(text));
    }
}

/// Bytes at the end of `text` that are the start of `mark`.
fn started(text: &str, mark: &str) -> usize {
    let starts = (1..mark.len()).rev();
    starts
        .filter(|&n| mark.is_char_boundary(n))
        .find(|&n| text.ends_with(&mark[..n]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// (reasoning, answer) of a text that arrives in pieces of `size` characters.
    fn split(prompt: &str, text: &str, size: usize) -> (String, String) {
        let mut splitter = Splitter::new(prompt);
        let chars: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        for piece in chars.chunks(size) {
            parts.extend(splitter.push(&piece.iter().collect::<String>()));
        }
        parts.extend(splitter.finish());
        let (mut reasoning, mut answer) = (String::new(), String::new());
        for part in parts {
            match part {
                Part::Reasoning(text) => reasoning += &text,
                Part::Answer(text) => answer += &text,
            }
        }
        (reasoning, answer)
    }

    #[test]
    fn reasoning_comes_first_or_not_at_all() {
        for size in 1..12 {
            let cases = [
                ("", "<think>\nhm</think>\n\nYes.", ("\nhm", "Yes.")),
                ("", "\n <think>a < b</think>c", ("a < b", "c")),
                ("x<think>\n", "hm</think>Yes", ("hm", "Yes")),
                (
                    "",
                    "No <think>at</think> all",
                    ("", "No <think>at</think> all"),
                ),
                ("", "<thin", ("", "<thin")),
                ("", "<think>cut </thi", ("cut </thi", "")),
                ("", "", ("", "")),
            ];
            for (prompt, text, want) in cases {
                let got = split(prompt, text, size);
                assert_eq!((got.0.as_str(), got.1.as_str()), want, "{text:?} by {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_cut_does_not_matter(text in "(<think>)?[ a<>/thinké]{0,30}(</think>)?[ a<]{0,9}", size in 1_usize..9) {
            prop_assert_eq!(split("", &text, size), split("", &text, 1000));
        }
    }
}
