//! A call as a name, a mark, and arguments as JSON.

use super::object::Copier;
use super::{Call, Next, Piece, add};

/// What stands before the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `NAME[ARGS]`, perhaps with `[CALL_ID]ID` between.
    Mistral,
    /// `NAME<｜tool▁sep｜>`, or `function<｜tool▁sep｜>NAME` and a line with three backticks.
    DeepSeek,
    /// `functions.NAME:NUMBER<|tool_call_argument_begin|>`.
    Kimi,
}

/// The longest name that is waited for, in bytes.
const MAX_NAME: usize = 1024;

/// Reads such a call.
#[derive(Debug)]
pub(crate) struct Header {
    shape: Shape,
    state: State,
}

#[derive(Debug)]
enum State {
    Name,
    Arguments(Copier),
    /// Behind the arguments, where a fence may be closed.
    Fence,
}

impl Header {
    pub fn new(shape: Shape) -> Self {
        let state = State::Name;
        Self { shape, state }
    }

    /// The name and where the arguments begin, if both are there.
    fn name<'a>(&self, text: &'a str) -> Result<Option<(&'a str, usize)>, ()> {
        let open = text.find('{');
        let head = &text[..open.unwrap_or(text.len())];
        if head.len() > MAX_NAME {
            return Err(());
        }
        let Some(open) = open else {
            return Ok(None);
        };
        let name = match self.shape {
            Shape::Mistral => {
                let end = head.find("[CALL_ID]").or(head.find("[ARGS]"));
                &head[..end.unwrap_or(head.len())]
            }
            Shape::DeepSeek => {
                let Some((first, second)) = head.split_once("<｜tool▁sep｜>") else {
                    return Err(());
                };
                match second.trim().is_empty() {
                    true => first,
                    false => second.trim_start().lines().next().unwrap_or_default(),
                }
            }
            Shape::Kimi => {
                let Some((id, _)) = head.split_once("<|tool_call_argument_begin|>") else {
                    return Err(());
                };
                let id = id.trim();
                let id = id.strip_prefix("functions.").unwrap_or(id);
                id.rsplit_once(':').map_or(id, |(name, _)| name)
            }
        };
        let name = name.trim();
        let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
        is_name.then_some(Some((name, open))).ok_or(())
    }
}

impl Call for Header {
    fn read(&mut self, text: &str, ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        let mut done = 0;
        if matches!(self.state, State::Name) {
            match self.name(text) {
                Err(()) => return (0, Next::Broken),
                Ok(None) => return (0, Next::More),
                Ok(Some((name, at))) => {
                    let name = name.to_owned();
                    out.push(Piece::CallBegin { name });
                    self.state = State::Arguments(Copier::default());
                    done = at;
                }
            }
        }
        if let State::Arguments(copier) = &mut self.state {
            let mut more = String::new();
            let (n, next) = copier.read(&text[done..], &mut more);
            add(out, Piece::CallArguments(more));
            done += n;
            match next {
                Next::Done if self.shape == Shape::DeepSeek => self.state = State::Fence,
                next => return (done, next),
            }
        }
        const FENCE: &str = "```";
        let rest = text[done..].trim_start();
        if rest.starts_with(FENCE) {
            let end = text.len() - rest.len() + FENCE.len();
            return (end, Next::Done);
        }
        match FENCE.starts_with(rest) && !ended {
            true => (done, Next::More),
            false => (done, Next::Done),
        }
    }
}
