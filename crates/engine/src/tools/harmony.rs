//! The harmony format: an answer is messages, each with a channel and perhaps a recipient.
//!
//! ```text
//! <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...
//! <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{...}<|call|>
//! ```

use super::object::Copier;
use super::{Next, Piece, add, begun, first};

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
/// What ends a message; the last two are tokens that end the answer, and seldom seen.
const ENDS: [&str; 4] = ["<|end|>", START, "<|call|>", "<|return|>"];
/// The longest head of a message that is waited for, in bytes.
const MAX_HEAD: usize = 2048;

/// Reads such an answer, behind a prompt that ends with `<|start|>assistant`.
#[derive(Debug)]
pub(crate) struct Harmony {
    /// Calls are told from text.
    tools: bool,
    held: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Behind the start of a message, or between messages.
    Head {
        first: bool,
    },
    Reasoning,
    Text,
    Call {
        copier: Copier,
        /// As it was written, while nothing of it has been handed out.
        raw: String,
        name: Option<String>,
        whole: bool,
    },
}

impl Harmony {
    pub fn new(tools: bool) -> Self {
        Self {
            tools,
            held: String::new(),
            state: State::Head { first: true },
        }
    }

    /// Takes more text.
    pub fn push(&mut self, text: &str, out: &mut Vec<Piece>) {
        self.held.push_str(text);
        while self.step(false, out) {}
    }

    /// Ends the text.
    pub fn finish(&mut self, out: &mut Vec<Piece>) {
        while self.step(true, out) {}
        if let State::Call { .. } = self.state {
            self.end(out);
        }
        let rest = std::mem::take(&mut self.held);
        // The head of a message that never came is nothing for a reader.
        if !matches!(self.state, State::Head { .. }) {
            add(out, Piece::Text(rest));
        }
    }

    /// One change of state; whether there is more to do.
    fn step(&mut self, ended: bool, out: &mut Vec<Piece>) -> bool {
        if let State::Head { first } = self.state {
            return self.head(first, ended);
        }
        let found = first(&self.held, &ENDS);
        let known = match found {
            Some((at, _)) => at,
            None if ended => self.held.len(),
            None => self.held.len() - begun(&self.held, ENDS),
        };
        let rest = self.held.split_off(known);
        let text = std::mem::replace(&mut self.held, rest);
        match &mut self.state {
            State::Reasoning => add(out, Piece::Reasoning(text)),
            State::Text => add(out, Piece::Text(text)),
            State::Call { .. } => self.call(&text, out),
            State::Head { .. } => {}
        }
        let Some((_, mark)) = found else {
            return false;
        };
        self.end(out);
        let read = if mark == START { 0 } else { mark.len() };
        self.held.drain(..read);
        self.state = State::Head { first: false };
        true
    }

    /// Reads the head of a message.
    fn head(&mut self, first: bool, ended: bool) -> bool {
        // An answer without a head is an answer.
        let seen = self.held.trim_start();
        let starts = [CHANNEL, START, MESSAGE, "to=", "<|constrain|>"];
        let is_head = starts.iter().any(|s| seen.starts_with(s));
        let may_be = is_head || !ended && starts.iter().any(|s| s.starts_with(seen));
        if first && !may_be && !seen.is_empty() {
            self.state = State::Text;
            return true;
        }
        let Some((head, rest)) = self.held.split_once(MESSAGE) else {
            if self.held.len() > MAX_HEAD {
                self.state = State::Text;
            }
            return self.held.len() > MAX_HEAD;
        };
        let recipient = head.split_once("to=").map(|(_, to)| {
            let end = to.find(|c: char| c.is_whitespace() || c == '<');
            to[..end.unwrap_or(to.len())].to_owned()
        });
        let channel = head.split_once(CHANNEL).map_or("", |(_, c)| c.trim_start());
        let state = match recipient {
            Some(name) if self.tools && !name.is_empty() => State::Call {
                copier: Copier::default(),
                raw: format!("{head}{MESSAGE}"),
                name: Some(name.strip_prefix("functions.").unwrap_or(&name).to_owned()),
                whole: false,
            },
            _ if channel.starts_with("analysis") => State::Reasoning,
            _ => State::Text,
        };
        self.held = rest.to_owned();
        self.state = state;
        true
    }

    /// More of the arguments of a call. It begins with the first of them.
    fn call(&mut self, text: &str, out: &mut Vec<Piece>) {
        let State::Call {
            copier,
            raw,
            name,
            whole,
        } = &mut self.state
        else {
            return;
        };
        if *whole {
            return; // white space behind the arguments
        }
        raw.push_str(text);
        let text = match name {
            Some(_) => text.trim_start(),
            None => text,
        };
        let is_object = name.is_none() || text.starts_with('{');
        if text.is_empty() {
            return;
        }
        let mut more = String::new();
        let next = match is_object {
            true => copier.read(text, &mut more).1,
            false => Next::Broken,
        };
        if is_object && let Some(name) = name.take() {
            out.push(Piece::CallBegin { name });
        }
        add(out, Piece::CallArguments(more));
        match next {
            Next::More => {}
            Next::Done => {
                *whole = true;
                out.push(Piece::CallEnd { whole: true });
            }
            Next::Broken => {
                if name.is_none() {
                    out.push(Piece::CallEnd { whole: false });
                }
                let raw = std::mem::take(raw);
                self.state = State::Text;
                add(out, Piece::Text(raw));
            }
        }
    }

    /// A message has ended.
    fn end(&mut self, out: &mut Vec<Piece>) {
        let State::Call {
            raw, name, whole, ..
        } = &mut self.state
        else {
            return;
        };
        match (*whole, name.is_some()) {
            (true, _) => {}
            (false, true) => add(out, Piece::Text(std::mem::take(raw))),
            (false, false) => out.push(Piece::CallEnd { whole: false }),
        }
        self.state = State::Head { first: false };
    }
}
