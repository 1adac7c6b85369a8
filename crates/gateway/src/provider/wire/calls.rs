//! Calls of tools on their way: the first goes out as it comes; those beside it wait for the end, because
//! upstreams may mix them and pieces are in order.

use serde_json::Value;
use std::collections::HashSet;

use super::reader::{Known, Read, Wrong};
use crate::chat::{Finish, Piece};

/// Calls in one answer.
const MOST_CALLS: usize = 128;
/// Bytes of a name or an id.
const MOST_NAME: usize = 512;

#[derive(Debug, Default)]
struct Call {
    /// What the upstream counts it as.
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    /// Bytes of `arguments` that went out, and whether its beginning did.
    sent: usize,
    began: bool,
}

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// More of a call: the one of that index; without one, that of the id; without both, the last. Some servers
    /// give every call the same index, and some the index of a call only once: a new id with a name begins a new
    /// one.
    pub(super) fn more(
        &mut self,
        index: Option<u64>,
        id: &str,
        name: &str,
        arguments: &str,
        known: &mut Known,
    ) -> Read {
        if id.len() > MOST_NAME || name.len() > MOST_NAME {
            return Err(Wrong::bad("the name or id of a call is too long"));
        }
        let at = self.at(index, id, name);
        let at = match at {
            Some(at) => at,
            None if self.0.len() >= MOST_CALLS => return Err(Wrong::bad("it has too many calls")),
            None => {
                self.0.push(Call {
                    index,
                    ..Call::default()
                });
                self.0.len().saturating_sub(1)
            }
        };
        let Some(call) = self.0.get_mut(at) else {
            return Ok(());
        };
        call.index = call.index.or(index);
        if call.id.is_empty() {
            call.id = id.to_owned();
        }
        if call.name.is_empty() {
            call.name = name.to_owned();
        }
        call.arguments.push_str(arguments);
        known.bytes = known.bytes.saturating_add(arguments.len() as u64);
        if at == 0 && !call.name.is_empty() && !call.id.is_empty() {
            call.send(0, known);
        }
        Ok(())
    }

    fn at(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let last = || self.0.len().checked_sub(1);
        let of_id = || {
            let known = |call: &Call| !id.is_empty() && call.id == id;
            self.0.iter().rposition(known)
        };
        let Some(index) = index else {
            return match (id.is_empty(), name.is_empty()) {
                (false, _) => of_id(),
                // A name begins another one.
                (true, false) => None,
                (true, true) => last(),
            };
        };
        let same = self.0.iter().rposition(|call| call.index == Some(index));
        let another = |call: &Call| !call.id.is_empty() && !id.is_empty() && call.id != id;
        match same.and_then(|at| Some((at, self.0.get(at)?))) {
            Some((_, call)) if another(call) && !name.is_empty() => of_id(),
            Some((at, _)) => Some(at),
            // One that came without its index so far.
            None => {
                let at = match name.is_empty() {
                    true => of_id().or_else(last),
                    false => of_id(),
                };
                at.filter(|at| self.0.get(*at).is_some_and(|call| call.index.is_none()))
            }
        }
    }

    /// The answer is complete: what waits goes out. What a model wrote as arguments must be an object,
    /// except where it was cut at its limit.
    pub(super) fn end(&mut self, finish: &Finish, known: &mut Known) -> Read {
        let mut ids = HashSet::new();
        for (i, call) in self.0.iter_mut().enumerate() {
            if call.name.is_empty() {
                return Err(Wrong::bad("a call has no name"));
            }
            // What a tool answers refers to one call: ids that are missing, or there twice, are made.
            let mut n = i;
            while call.id.is_empty() || !call.began && ids.contains(&call.id) {
                call.id = format!("call_{n}");
                n = n.saturating_add(1);
            }
            ids.insert(call.id.clone());
            if call.arguments.trim().is_empty() && call.sent == 0 {
                call.arguments = "{}".to_owned();
            }
            let object = || {
                serde_json::from_str(&call.arguments).is_ok_and(|value: Value| value.is_object())
            };
            if *finish != Finish::Length && !object() {
                return Err(Wrong::bad("the arguments of a call are no JSON object"));
            }
            call.send(u32::try_from(i).unwrap_or(u32::MAX), known);
        }
        Ok(())
    }
}

impl Call {
    fn send(&mut self, index: u32, known: &mut Known) {
        if !std::mem::replace(&mut self.began, true) {
            known.pieces.push(Piece::CallBegin {
                index,
                id: self.id.clone(),
                name: self.name.clone(),
            });
        }
        let more = self.arguments.get(self.sent..).unwrap_or_default();
        if !more.is_empty() {
            let text = more.to_owned();
            known.pieces.push(Piece::CallArguments { index, text });
        }
        self.sent = self.arguments.len();
    }
}
