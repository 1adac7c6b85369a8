//! An answer as it comes, whoever carries its bytes: cut anywhere, whole or as events.

use std::collections::VecDeque;

use super::error::{Charged, Fault};
use super::settings::Dialect;
use super::wire::{Events, Reader, Wrong};
use crate::chat::Piece;

/// Bytes that a token of an answer takes at most, with all that is written around it.
const BYTES_A_TOKEN: u64 = 2 << 10;
/// Bytes of an answer beside its tokens.
const BYTES_BESIDE: u64 = 1 << 20;

/// What figures and answers are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Tokens that the model takes.
    pub context: u32,
    /// Tokens that the answer may have.
    pub answer: u32,
}

/// An answer under way, as far as its bytes have come.
pub(super) struct Incoming {
    /// None: it comes whole, into `whole`.
    events: Option<Events>,
    whole: Vec<u8>,
    reader: Reader,
    ready: VecDeque<Piece>,
    read: u64,
    bytes: u64,
    over: bool,
    most: Most,
    charged: Charged,
    usage_fault: Option<&'static str>,
}

impl Incoming {
    pub(super) fn new(dialect: Dialect, streamed: bool, most: Most) -> Self {
        let tokens = u64::from(most.answer).saturating_mul(BYTES_A_TOKEN);
        Self {
            events: streamed.then(Events::default),
            whole: Vec::new(),
            reader: Reader::new(dialect),
            ready: VecDeque::new(),
            read: 0,
            bytes: tokens.saturating_add(BYTES_BESIDE),
            over: false,
            most,
            charged: Charged::Unknown,
            usage_fault: None,
        }
    }

    /// A piece that has come.
    pub(super) fn piece(&mut self) -> Option<Piece> {
        self.ready.pop_front()
    }

    /// Whether a piece has come, or nothing more will.
    pub(super) fn is_ready(&self) -> bool {
        self.over || !self.ready.is_empty()
    }

    /// Whether it has been read to its end.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether it is complete, and only what it took may follow.
    pub(super) fn has_ended(&self) -> bool {
        self.reader.finish().is_some()
    }

    /// Whether money may be asked for, as far as is known by now.
    pub(super) fn charged(&self) -> Charged {
        self.charged
    }

    /// What is wrong with what it says it took, where something is.
    pub(super) fn usage_fault(&self) -> Option<&'static str> {
        self.usage_fault
    }

    /// More of it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.read = self.read.saturating_add(bytes.len() as u64);
        if self.read > self.bytes {
            return Err(Fault::TooLarge { limit: self.bytes });
        }
        let Some(events) = &mut self.events else {
            self.whole.extend_from_slice(bytes);
            return Ok(());
        };
        let mut found = Vec::new();
        let pushed = events.push(bytes, &mut found);
        for event in found {
            if self.reader.is_over() {
                break;
            }
            let read = self.reader.event(&event);
            self.ready.extend(self.reader.take());
            read.map_err(wrong)?;
        }
        // However the bytes are cut, what follows the end says nothing.
        match self.reader.is_over() {
            true => self.end(),
            false => pushed.map_err(|why| Fault::BadAnswer(why.into())),
        }
    }

    /// All has come that will come.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.over {
            return Ok(());
        }
        if self.events.is_none() {
            let whole = std::mem::take(&mut self.whole);
            self.reader.whole(&whole).map_err(wrong)?;
            self.ready.extend(self.reader.take());
        }
        if let Some(events) = self.events.as_mut().filter(|_| !self.reader.is_over()) {
            // Some leave out the last end of line. What is no whole event says nothing.
            let mut found = Vec::new();
            let _ = events.push(b"\n\n", &mut found);
            for event in found {
                let read = self.reader.event(&event);
                let pieces = self.reader.take();
                if read.is_err() {
                    break;
                }
                self.ready.extend(pieces);
            }
        }
        let Some(finish) = self.reader.finish() else {
            return Err(match self.reader.is_over() {
                true => Fault::BadAnswer("it does not say how it ended".into()),
                false => Fault::Cut,
            });
        };
        self.ready.push_back(Piece::Finish(finish.clone()));
        match self.reader.usage(self.most.context, self.most.answer) {
            Ok(usage) => {
                self.charged = Charged::Yes(usage);
                self.ready.push_back(Piece::Usage(usage));
            }
            Err(why) => self.usage_fault = Some(why),
        }
        self.over = true;
        Ok(())
    }
}

fn wrong(wrong: Wrong) -> Fault {
    match wrong {
        Wrong::Bad(reason) => Fault::BadAnswer(reason),
        Wrong::GaveUp(reason) => Fault::GaveUp(reason),
    }
}

/// Reads the body of an answer that was recorded, in the parts in which it came: its pieces, and where it could not
/// be read to its end, why.
pub fn recorded<'a>(
    dialect: Dialect,
    streamed: bool,
    most: Most,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Piece>, Result<Charged, Fault>) {
    let mut incoming = Incoming::new(dialect, streamed, most);
    let mut parts = parts.into_iter();
    let mut taken = Ok(());
    while taken.is_ok() && !incoming.over {
        taken = match parts.next() {
            Some(bytes) => incoming.take(bytes),
            None => incoming.end(),
        };
    }
    let pieces = std::iter::from_fn(|| incoming.piece()).collect();
    (pieces, taken.map(|()| incoming.charged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Finish;

    const MOST: Most = Most {
        context: 100,
        answer: 10,
    };

    #[test]
    fn a_missing_last_end_of_line_cuts_nothing() {
        let hi = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
        let stop = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]";
        let read = |text: &str| recorded(Dialect::OpenAi, true, MOST, [text.as_bytes()]);
        let (pieces, end) = read(&format!("{hi}{stop}}}"));
        let want = [Piece::Text("Hi".into()), Piece::Finish(Finish::Stop)];
        assert_eq!((pieces.as_slice(), end.is_ok()), (&want[..], true));
        // What is cut within an event is cut.
        let (pieces, end) = read(&format!("{hi}{stop}"));
        assert_eq!(pieces, want[..1]);
        assert!(matches!(end, Err(Fault::Cut)), "{end:?}");
        // What was said before something went wrong was said, however it was cut.
        let bad = [hi.as_bytes(), b"data: \xff\n\n"].concat();
        for parts in [vec![&bad[..]], bad.chunks(5).collect()] {
            let (pieces, end) = recorded(Dialect::OpenAi, true, MOST, parts);
            assert_eq!(pieces, want[..1]);
            assert!(matches!(end, Err(Fault::BadAnswer(_))), "{end:?}");
        }
        // Nothing follows the end.
        let (pieces, _) = read(&format!("{hi}{stop}}}\n\n{}", hi.trim_end()));
        assert_eq!(pieces, want);
    }
}
