//! An answer on its way to pieces, in whichever dialect.

use serde_json::Value;

use super::events::Event;
use super::{anthropic, openai};
use crate::chat::{Finish, Piece, Usage};
use crate::provider::settings::Dialect;

/// Why an answer cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is not what it should be.
    Bad(String),
    /// The provider says that it gives up, and why.
    GaveUp(String),
}

impl Wrong {
    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::Bad(reason.into())
    }
}

/// What came of an event.
pub(super) type Read = Result<(), Wrong>;

/// What is known of an answer, and the pieces that wait to be handed out.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) pieces: Vec<Piece>,
    pub(super) finish: Option<Finish>,
    pub(super) usage: Option<Usage>,
    /// Something that it said of what it took is no number of tokens.
    pub(super) strange: bool,
    /// No event may follow.
    pub(super) over: bool,
    /// Bytes of text, reasoning and arguments.
    pub(super) bytes: u64,
}

impl Known {
    /// What it says it took. The answer stands where that cannot be.
    pub(super) fn took(&mut self, usage: Result<Usage, Wrong>) {
        match usage {
            Ok(usage) => self.usage = Some(usage),
            Err(_) => self.strange = true,
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.add(text, Piece::Text);
    }

    pub(super) fn reasoning(&mut self, text: &str) {
        self.add(text, Piece::Reasoning);
    }

    pub(super) fn add(&mut self, text: &str, piece: impl FnOnce(String) -> Piece) {
        if !text.is_empty() {
            self.bytes = self.bytes.saturating_add(text.len() as u64);
            self.pieces.push(piece(text.to_owned()));
        }
    }
}

/// Reads answers of one dialect.
#[derive(Debug)]
pub(crate) struct Reader {
    known: Known,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    OpenAi(openai::Reader),
    Anthropic(anthropic::Reader),
}

impl Reader {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let kind = match dialect {
            Dialect::Anthropic => Kind::Anthropic(anthropic::Reader::default()),
            Dialect::OpenAi | Dialect::Ingle | Dialect::Vllm => {
                Kind::OpenAi(openai::Reader::default())
            }
        };
        Self {
            known: Known::default(),
            kind,
        }
    }

    /// Reads one event of a streamed answer.
    ///
    /// # Errors
    /// [`Wrong`].
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Wrong> {
        if self.known.over {
            return Err(Wrong::bad("something follows behind its end"));
        }
        let (ended, before) = (self.known.finish.is_some(), self.known.pieces.len());
        let read = match &mut self.kind {
            Kind::OpenAi(reader) => reader.event(event, &mut self.known),
            Kind::Anthropic(reader) => reader.event(event, &mut self.known),
        };
        if ended && self.known.pieces.len() > before {
            self.known.pieces.truncate(before);
            return Err(Wrong::bad("more of the answer follows behind its end"));
        }
        read
    }

    /// Reads an answer that came whole.
    ///
    /// # Errors
    /// [`Wrong`].
    pub(crate) fn whole(&mut self, body: &[u8]) -> Result<(), Wrong> {
        let body = json(body)?;
        match &mut self.kind {
            Kind::OpenAi(reader) => reader.whole(&body, &mut self.known)?,
            Kind::Anthropic(reader) => reader.whole(&body, &mut self.known)?,
        }
        self.known.over = true;
        Ok(())
    }

    /// The pieces that are new, the last two ([`Piece::Finish`], [`Piece::Usage`]) not among them.
    pub(crate) fn take(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.known.pieces)
    }

    /// Whether its last event came.
    pub(crate) fn is_over(&self) -> bool {
        self.known.over
    }

    /// How it ended; none: it did not end properly.
    pub(crate) fn finish(&self) -> Option<&Finish> {
        self.known.finish.as_ref()
    }

    /// What it took, where that was said and can be: an answer cannot have taken more tokens than the
    /// model has room for, more than it was allowed, or none for a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn usage(&self, context: u32, limit: u32) -> Result<Usage, &'static str> {
        if self.known.strange {
            return Err("it says something of its tokens that is no number of them");
        }
        let usage = self
            .known
            .usage
            .ok_or("it does not say how many tokens it took")?;
        let parts = usage.cached.checked_add(usage.cache_writes);
        if usage.input > u64::from(context) {
            return Err("it says that the prompt had more tokens than the model takes");
        }
        if usage.output > u64::from(limit) {
            return Err("it says that the answer had more tokens than it was allowed");
        }
        if usage.input == 0 || (usage.output == 0 && self.known.bytes > 0) {
            return Err("it says that there were no tokens, and there was a text");
        }
        if parts.is_none_or(|parts| parts > usage.input) || usage.reasoning > usage.output {
            return Err("it says that a part of the tokens was more than all of them");
        }
        Ok(usage)
    }
}

/// JSON within the library's bound on depth.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Wrong> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Without its text, which may be anything.
        let kind = match error.classify() {
            serde_json::error::Category::Eof => "its JSON is cut short",
            _ => "it is not JSON",
        };
        Wrong::bad(format!(
            "{kind} (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// What an error object says: `error.message`, `error`, `message` or `detail`.
pub(crate) fn error_message(body: &Value) -> Option<&str> {
    let error = body.get("error");
    let inner = error.and_then(|error| error.get("message"));
    let candidates = [inner, error, body.get("message"), body.get("detail")];
    let mut texts = candidates.into_iter().flatten().filter_map(Value::as_str);
    texts.find(|text| !text.trim().is_empty())
}

/// A count in a usage: absent and null are 0 or nothing, anything but a natural number is wrong.
pub(super) fn count(object: &Value, path: &[&str]) -> Result<Option<u64>, Wrong> {
    let mut value = object;
    for name in path {
        match value.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(inner) => value = inner,
        }
    }
    match value.as_u64() {
        Some(count) => Ok(Some(count)),
        // Some servers count in floating point.
        None => match value.as_f64() {
            Some(x) if x >= 0.0 && x.fract() == 0.0 && x < 1e15 => Ok(Some(x as u64)),
            _ => Err(Wrong::bad(
                "its usage holds something that is no number of tokens",
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Something that may stand in an answer, right or wrong.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z{}\"]{0,8}".prop_map(Value::from),
            prop_oneof![
                Just("text"),
                Just("tool_use"),
                Just("text_delta"),
                Just("input_json_delta"),
                Just("message_start"),
                Just("content_block_start"),
                Just("content_block_delta"),
                Just("content_block_stop"),
                Just("message_delta"),
                Just("stop"),
                Just("tool_calls"),
                Just("length"),
                Just("{}"),
            ]
            .prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("type"),
            Just("choices"),
            Just("delta"),
            Just("message"),
            Just("index"),
            Just("content"),
            Just("content_block"),
            Just("tool_calls"),
            Just("function"),
            Just("name"),
            Just("id"),
            Just("arguments"),
            Just("partial_json"),
            Just("text"),
            Just("finish_reason"),
            Just("stop_reason"),
            Just("usage"),
            Just("prompt_tokens"),
            Just("completion_tokens"),
            Just("input_tokens"),
            Just("output_tokens"),
            Just("error"),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            let members = proptest::collection::vec((name.clone(), inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| {
                    let members = members.into_iter();
                    Value::Object(members.map(|(k, v)| (k.to_owned(), v)).collect())
                }),
            ]
        })
    }

    fn dialect() -> impl Strategy<Value = Dialect> {
        prop_oneof![Just(Dialect::OpenAi), Just(Dialect::Anthropic)]
    }

    proptest! {
        /// Whatever comes, it is read or refused; a call begins before its arguments, and nothing follows
        /// an end.
        #[test]
        fn any_answer_is_read_or_refused(
            dialect in dialect(), begins: bool, values in proptest::collection::vec(value(), 0..12),
        ) {
            let mut reader = Reader::new(dialect);
            let start = json!({ "type": "message_start", "message": {} });
            let first = begins.then_some(start);
            let (mut calls, mut finished) = (0, false);
            for value in first.into_iter().chain(values) {
                let event = Event { name: String::new(), data: value.to_string() };
                let read = reader.event(&event);
                for piece in reader.take() {
                    prop_assert!(!finished);
                    match piece {
                        Piece::CallBegin { index, .. } => {
                            prop_assert_eq!(index, calls);
                            calls += 1;
                        }
                        Piece::CallArguments { index, .. } => prop_assert_eq!(index + 1, calls),
                        Piece::Finish(_) | Piece::Usage(_) => prop_assert!(false, "not here"),
                        Piece::Text(_) | Piece::Reasoning(_) => {}
                    }
                }
                finished = reader.finish().is_some();
                if let Ok(usage) = reader.usage(1000, 100) {
                    prop_assert!(usage.output <= 100 && usage.cached <= usage.input);
                }
                if read.is_err() {
                    break;
                }
            }
            let mut whole = Reader::new(dialect);
            let _ = whole.whole(&[]);
        }

        #[test]
        fn any_whole_answer_is_read_or_refused(dialect in dialect(), value in value()) {
            let body = json!({ "choices": [{ "message": value, "finish_reason": "stop" }],
                "content": [value], "stop_reason": "end_turn", "usage": value });
            let mut reader = Reader::new(dialect);
            if reader.whole(body.to_string().as_bytes()).is_ok() {
                prop_assert!(reader.finish().is_some() && reader.is_over());
            }
        }
    }
}
