//! Tells a model's reasoning from its answer while the text streams in.

/// The marks that a model puts around what it thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Before it.
    pub open: &'static str,
    /// A word behind the opening mark that is no part of it.
    label: &'static str,
    /// Behind it.
    pub close: &'static str,
    /// Around the answer, where there are such marks.
    answer: Option<(&'static str, &'static str)>,
}

const fn marks(open: &'static str, close: &'static str) -> Marks {
    Marks {
        open,
        label: "",
        close,
        answer: None,
    }
}

impl Marks {
    /// `<think>`, as most models write.
    pub const THINK: Self = marks("<think>", "</think>");
    /// Mistral's.
    pub const BRACKETS: Self = marks("[THINK]", "[/THINK]");
    /// Granite's, which puts marks around the answer too.
    pub const GRANITE: Self = Self {
        answer: Some(("<response>", "</response>")),
        ..Self::THINK
    };
    /// Gemma's channel.
    pub const GEMMA: Self = Self {
        label: "thought\n",
        ..marks("<|channel>", "<channel|>")
    };
    /// The channel for analysis of the harmony format, which a reader of that format reads whole.
    pub const HARMONY: Self = marks("<|channel|>analysis<|message|>", "<|end|>");
    /// Command's.
    pub const COMMAND: Self = marks("<|START_THINKING|>", "<|END_THINKING|>");
    /// Seed's.
    pub const SEED: Self = marks("<seed:think>", "</seed:think>");

    /// The marks that a template speaks of.
    pub fn detect(template: &str) -> Option<Self> {
        let says = |text: &str| template.contains(text);
        let tests = [
            (says("<response>") && says("<think>"), Self::GRANITE),
            (says("<|channel>"), Self::GEMMA),
            (says("[THINK]"), Self::BRACKETS),
            (says("<|START_THINKING|>"), Self::COMMAND),
            (says("<seed:think>"), Self::SEED),
            (says("<think>") || says("</think>"), Self::THINK),
        ];
        let found = tests.into_iter().find(|(is, _)| *is);
        found.map(|(_, marks)| marks)
    }

    /// All of them.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'static str> {
        let answer = self
            .answer
            .into_iter()
            .flat_map(|(open, close)| [open, close]);
        [self.open, self.close].into_iter().chain(answer)
    }

    /// Whether a prompt has opened the reasoning.
    pub fn opened_by(&self, prompt: &str) -> bool {
        let prompt = prompt.trim_end();
        let label = self.label.trim_end();
        prompt
            .strip_suffix(label)
            .unwrap_or(prompt)
            .ends_with(self.open)
    }
}

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
    marks: Marks,
    state: State,
    /// Text whose kind is not known yet: it may be the start of a mark.
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far.
    Start,
    /// Behind the opening mark, where its label may stand.
    Label,
    Reasoning,
    /// Between the closing mark and the first character of the answer.
    Between,
    Answer,
    /// In an answer that began with a mark of its own, which another one ends.
    Marked,
}

impl Splitter {
    /// A splitter of `<think>` for an answer to `prompt`, which may itself have opened the reasoning.
    pub fn new(prompt: &str) -> Self {
        Self::with(Marks::THINK, prompt)
    }

    /// As [`Self::new`], with other marks.
    pub fn with(marks: Marks, prompt: &str) -> Self {
        let opened = marks.opened_by(prompt);
        let state = if opened { State::Label } else { State::Start };
        Self {
            marks,
            state,
            held: String::new(),
        }
    }

    /// Whether the model is thinking, as far as is known.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Label | State::Reasoning)
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
            State::Label | State::Reasoning if !rest.is_empty() => vec![Part::Reasoning(rest)],
            State::Start | State::Answer | State::Marked if !rest.is_empty() => {
                vec![Part::Answer(rest)]
            }
            _ => Vec::new(),
        }
    }

    /// One change of state; whether there is more to do.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Start => {
                let seen = self.held.trim_start();
                let Some(rest) = seen.strip_prefix(self.marks.open) else {
                    // White space, or the start of the mark?
                    let waits = self.marks.open.starts_with(seen);
                    if !waits {
                        self.state = self.answer_state();
                    }
                    return !waits;
                };
                self.held = rest.to_owned();
                self.state = State::Label;
                true
            }
            State::Label => self.label(),
            State::Reasoning => {
                let close = self.marks.close;
                let Some((thought, rest)) = self.held.split_once(close) else {
                    return self.hand_out(close, Part::Reasoning, parts);
                };
                push(parts, Part::Reasoning, thought.to_owned());
                self.held = rest.to_owned();
                self.state = State::Between;
                true
            }
            State::Between => {
                self.held = self.held.trim_start().to_owned();
                let more = !self.held.is_empty();
                if more {
                    self.state = self.answer_state();
                }
                more
            }
            State::Answer => {
                push(parts, Part::Answer, std::mem::take(&mut self.held));
                false
            }
            State::Marked => self.marked(parts),
        }
    }

    fn label(&mut self) -> bool {
        let label = self.marks.label;
        if let Some(rest) = self.held.strip_prefix(label) {
            self.held = rest.to_owned();
        } else if label.starts_with(self.held.as_str()) {
            return false;
        }
        self.state = State::Reasoning;
        true
    }

    fn answer_state(&self) -> State {
        match self.marks.answer {
            Some(_) => State::Marked,
            None => State::Answer,
        }
    }

    /// Drops the marks around an answer.
    fn marked(&mut self, parts: &mut Vec<Part>) -> bool {
        let Some((open, close)) = self.marks.answer else {
            return false;
        };
        let mark = match first(&self.held, [open, close]) {
            Some(found) => found,
            None => {
                let held = started(&self.held, open).max(started(&self.held, close));
                let rest = self.held.split_off(self.held.len() - held);
                push(parts, Part::Answer, std::mem::replace(&mut self.held, rest));
                return false;
            }
        };
        let (at, mark) = mark;
        let rest = self.held[at + mark.len()..].to_owned();
        self.held.truncate(at);
        push(parts, Part::Answer, std::mem::replace(&mut self.held, rest));
        true
    }

    /// Hands out all but what may be the start of a mark; there is nothing more to do.
    fn hand_out(&mut self, mark: &str, kind: fn(String) -> Part, parts: &mut Vec<Part>) -> bool {
        let known = self.held.len() - started(&self.held, mark);
        let rest = self.held.split_off(known);
        push(parts, kind, std::mem::replace(&mut self.held, rest));
        false
    }
}

/// The first of two marks in a text.
fn first(text: &str, marks: [&'static str; 2]) -> Option<(usize, &'static str)> {
    let found = marks.into_iter().filter_map(|m| Some((text.find(m)?, m)));
    found.min()
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
