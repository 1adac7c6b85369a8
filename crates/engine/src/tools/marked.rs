//! Calls between marks, in a text.

use super::gemma::Gemma;
use super::header::{Header, Shape};
use super::object::Object;
use super::params::Types;
use super::python::{Code, Python};
use super::style::CallMarks;
use super::xml::{ArgKeys, Functions};
use super::{Call, Format, Next, Piece, Tool, add, begun, first};

/// Tells calls from text. White space beside a call is no part of the text.
pub(crate) struct Marked {
    format: Format,
    marks: CallMarks,
    types: Types,
    /// Text that is not sorted yet.
    held: String,
    state: State,
    /// Nothing but white space came since the last call.
    after_call: bool,
    /// Nothing but white space came at all.
    at_start: bool,
}

enum State {
    Text,
    /// Where calls may begin, behind an opening mark.
    Between {
        /// What came since the mark, and the white space before it, while no call has begun.
        raw: String,
        /// Inside `[`, of which the end is to come.
        list: bool,
        /// Whether a call has come since the mark.
        called: bool,
        /// A further call needs no mark of its own.
        open: bool,
    },
    Call {
        call: Box<dyn Call + Send + Sync>,
        /// What was read of it, and the mark before it.
        raw: String,
        list: bool,
        begun: bool,
    },
}

impl std::fmt::Debug for Marked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marked")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Marked {
    pub fn new(format: Format, tools: &[Tool]) -> Self {
        Self {
            format,
            marks: format.marks(),
            types: Types::new(tools),
            held: String::new(),
            state: State::Text,
            after_call: false,
            at_start: true,
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
        let rest = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => self.text(&rest, out),
            State::Between {
                raw, called: false, ..
            } => self.text(&(raw + &rest), out),
            State::Between { .. } => {}
            State::Call { begun: true, .. } => out.push(Piece::CallEnd { whole: false }),
            State::Call { raw, .. } => self.text(&(raw + &rest), out),
        }
    }

    /// One change of state; whether there is more to do.
    fn step(&mut self, ended: bool, out: &mut Vec<Piece>) -> bool {
        match &self.state {
            State::Text => self.plain(ended, out),
            State::Between { .. } => self.between(ended, out),
            State::Call { .. } => self.call(ended, out),
        }
    }

    /// The marks at which calls begin.
    fn opens(&self) -> Vec<&'static str> {
        let section = self.marks.section.map(|(open, _)| open);
        self.marks.open.iter().copied().chain(section).collect()
    }

    fn plain(&mut self, ended: bool, out: &mut Vec<Piece>) -> bool {
        if self.format == Format::Llama && (self.at_start || self.after_call) {
            match self.held.trim_start().chars().next() {
                None => return false,
                Some('{') => {
                    let called = self.after_call;
                    self.open_at(0, "", called);
                    return true;
                }
                Some(_) => {}
            }
        }
        let opens = self.opens();
        if let Some((at, mark)) = first(&self.held, &opens) {
            let text = self.held[..at].trim_end().to_owned();
            self.text(&text, out);
            self.open_at(text.len(), mark, false);
            return true;
        }
        let tail = if ended { 0 } else { begun(&self.held, opens) };
        let solid = self.held[..self.held.len() - tail].trim_end().len();
        if solid > 0 {
            let rest = self.held.split_off(solid);
            let text = std::mem::replace(&mut self.held, rest);
            self.text(&text, out);
        }
        false
    }

    /// Goes on behind an opening mark; `from` is where the white space before it begins.
    fn open_at(&mut self, from: usize, mark: &'static str, called: bool) {
        let end = from + self.held[from..].find(mark).unwrap_or(0) + mark.len();
        // A mark that is a part of the call is read with it.
        let part = mark == "<function=";
        let keep = if part { end - mark.len() } else { end };
        let rest = self.held.split_off(keep);
        let raw = std::mem::replace(&mut self.held, rest).split_off(from);
        let section = self.marks.section.is_some_and(|(open, _)| open == mark);
        self.state = State::Between {
            raw,
            list: false,
            called,
            open: !section,
        };
    }

    /// Between calls: begins one, or goes back to text.
    fn between(&mut self, ended: bool, out: &mut Vec<Piece>) -> bool {
        let lists = self.is_list();
        let State::Between {
            raw,
            list,
            called,
            open,
        } = &mut self.state
        else {
            return false;
        };
        let seen = self.held.trim_start();
        let mut marks: Vec<&str> = self.marks.close.into_iter().collect();
        if let Some((begin, end)) = self.marks.section {
            marks.extend([begin, end]);
        }
        if *called || !*open {
            marks.extend(self.marks.open);
        }
        let mark = marks.iter().find(|mark| seen.starts_with(**mark));
        let waits = seen.is_empty() || marks.iter().any(|mark| mark.starts_with(seen));
        if mark.is_none() && waits && !ended {
            return false;
        }
        if let Some(mark) = mark {
            let is_open = self.marks.open.contains(mark) && *mark != "<function=";
            let is_close = self.marks.close == Some(*mark);
            let ends = self.marks.section.is_some_and(|(_, end)| end == *mark);
            let reads = if *mark == "<function=" { 0 } else { mark.len() };
            let done = self.held.len() - seen.len() + reads;
            raw.push_str(&self.held[..done]);
            self.held.drain(..done);
            *open = is_open || reads == 0;
            if reads == 0 {
                self.begin();
            } else if ends || is_close && self.marks.section.is_none() {
                self.close(out);
            }
            return true;
        }
        let next = seen.chars().next();
        let separator = match next {
            Some('[') if !*list && !*called && lists => Some(true),
            Some(']') if *list => Some(false),
            Some(',') if *list => Some(true),
            Some(';') if self.format == Format::Llama && *called => Some(false),
            _ => None,
        };
        if let Some(is_list) = separator {
            let done = self.held.len() - seen.len() + 1;
            raw.push_str(&self.held[..done]);
            self.held.drain(..done);
            *called |= next == Some(']');
            *list = is_list;
            return true;
        }
        let more = match self.format {
            Format::Hermes | Format::MistralList | Format::PipeList | Format::Llama => {
                next == Some('{')
            }
            Format::Lfm => *list && next.is_some(),
            Format::QwenXml => seen.starts_with("<function="),
            _ => false,
        };
        match next {
            // Another call without a mark, or the first behind one.
            Some(_) if more || *open => self.begin(),
            Some(_) => {
                self.close(out);
                return true;
            }
            None => return false,
        }
        true
    }

    /// Whether calls of this format may stand in a list.
    fn is_list(&self) -> bool {
        matches!(
            self.format,
            Format::MistralList | Format::MistralArgs | Format::PipeList | Format::Lfm
        )
    }

    /// Back to text. What stood between marks without a call is text.
    fn close(&mut self, out: &mut Vec<Piece>) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Between { called: true, .. } => self.after_call = true,
            State::Between { raw, .. } => self.text(&raw, out),
            _ => {}
        }
    }

    /// A call begins at the next text.
    fn begin(&mut self) {
        let State::Between { raw, list, .. } = &mut self.state else {
            return;
        };
        let (raw, list) = (std::mem::take(raw), *list);
        let object = self.held.trim_start().starts_with('{');
        let call: Box<dyn Call + Send + Sync> = match self.format {
            Format::Hermes | Format::PipeList => Box::new(Object::default()),
            Format::MistralList | Format::MistralArgs if object => Box::new(Object::default()),
            Format::Llama if object => Box::new(Object::default()),
            Format::MistralList | Format::MistralArgs => Box::new(Header::new(Shape::Mistral)),
            Format::Llama => Box::new(Code::new(&self.types)),
            Format::QwenXml => Box::new(Functions::new(self.types.clone())),
            Format::Glm => Box::new(ArgKeys::new(self.types.clone())),
            Format::DeepSeek | Format::DeepSeek31 => Box::new(Header::new(Shape::DeepSeek)),
            Format::Kimi => Box::new(Header::new(Shape::Kimi)),
            Format::Gemma4 => Box::new(Gemma::new("<|\"|>")),
            Format::FunctionGemma => Box::new(Gemma::new("<escape>")),
            Format::Lfm | Format::Harmony => Box::new(Python::default()),
        };
        self.state = State::Call {
            call,
            raw,
            list,
            begun: false,
        };
    }

    /// Reads a call.
    fn call(&mut self, ended: bool, out: &mut Vec<Piece>) -> bool {
        let State::Call {
            call,
            raw,
            list,
            begun,
        } = &mut self.state
        else {
            return false;
        };
        let mut pieces = Vec::new();
        let (n, next) = call.read(&self.held, ended, &mut pieces);
        raw.push_str(&self.held[..n]);
        self.held.drain(..n);
        for piece in pieces {
            *begun |= matches!(piece, Piece::CallBegin { .. });
            add(out, piece);
        }
        match next {
            Next::More => return false,
            Next::Done => {
                out.push(Piece::CallEnd { whole: true });
                self.after_call = true;
                self.at_start = false;
                self.state = State::Between {
                    raw: String::new(),
                    list: *list,
                    called: true,
                    open: false,
                };
            }
            Next::Broken => {
                let raw = std::mem::take(raw);
                if *begun {
                    out.push(Piece::CallEnd { whole: false });
                }
                self.state = State::Text;
                self.at_start = false;
                self.after_call = false;
                self.text(&raw, out);
            }
        }
        true
    }

    fn text(&mut self, text: &str, out: &mut Vec<Piece>) {
        let text = match self.after_call {
            true => text.trim_start(),
            false => text,
        };
        if !text.is_empty() {
            self.after_call = false;
            self.at_start &= text.trim().is_empty();
            add(out, Piece::Text(text.to_owned()));
        }
    }
}
