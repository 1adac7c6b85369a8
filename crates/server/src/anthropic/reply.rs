//! Answers to `/v1/messages`: a message in one piece, or the events that it comes in.

use crate::body::with;
use crate::error::ApiError;
use crate::stream::{Events, event};
use crate::talk::{Answers, Choice, End, Heard, News, Said, Usage};
use serde_json::{Map, Value, json};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

/// What breaks a long silence.
pub(super) const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// One answer while it comes.
#[derive(Debug)]
pub(super) struct Reply {
    answers: Answers,
    id: String,
    /// The request's name, which errors tell.
    request: Arc<str>,
    max_tokens: Option<u32>,
    /// What the model thinks is not told.
    hides_thinking: bool,
    writer: Writer,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Middle,
    Over,
}

/// How an answer ended, in Anthropic's words.
#[derive(Debug, PartialEq, Eq)]
struct Stop {
    reason: &'static str,
    sequence: Option<String>,
}

impl Stop {
    fn new(end: End, generated: u64, max_tokens: Option<u32>) -> Self {
        let (reason, sequence) = match end {
            End::Stop => ("end_turn", None),
            End::StopText(text) => ("stop_sequence", Some(text)),
            End::Calls => ("tool_use", None),
            End::Length if max_tokens.is_some_and(|most| generated < u64::from(most)) => {
                ("model_context_window_exceeded", None)
            }
            End::Length => ("max_tokens", None),
        };
        Self { reason, sequence }
    }
}

impl Reply {
    pub fn new(
        answers: Answers,
        id: String,
        request: Arc<str>,
        max_tokens: Option<u32>,
        hides_thinking: bool,
    ) -> Self {
        Self {
            // Why an answer from elsewhere is shorter than was asked for is not known.
            max_tokens: max_tokens.filter(|_| answers.context() > 0),
            answers,
            id,
            request,
            hides_thinking,
            writer: Writer {
                hides_thinking,
                ..Writer::default()
            },
            state: State::Begin,
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// It could not be finished.
    pub async fn whole(mut self) -> Result<Value, ApiError> {
        let mut choice = Choice::default();
        while let Some(Heard { news, .. }) = self.answers.next().await {
            for news in news {
                match news {
                    News::Failed(error) => return Err(error),
                    news => choice.add(news),
                }
            }
        }
        let end = choice.end.take().unwrap_or(End::Stop);
        let usage = self.answers.usage();
        let stop = Stop::new(end, usage.generated, self.max_tokens);
        let blocks = choice.said.into_iter();
        let blocks = blocks
            .filter_map(|said| block(said, self.hides_thinking))
            .collect();
        Ok(self.message(blocks, Some(&stop), usage_json(&usage)))
    }

    fn message(&self, content: Vec<Value>, stop: Option<&Stop>, usage: Value) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant",
            "model": self.answers.model(), "content": content,
            "stop_reason": stop.map(|stop| stop.reason),
            "stop_sequence": stop.and_then(|stop| stop.sequence.as_deref()), "usage": usage,
        })
    }

    /// The first event: a message without content.
    fn start(&self) -> String {
        let usage = Usage {
            prompt: self.answers.prompt_len(0),
            ..Usage::default()
        };
        let message = self.message(Vec::new(), None, usage_json(&usage));
        event(
            "message_start",
            &json!({ "type": "message_start", "message": message }),
        )
    }

    fn hear(&mut self, news: Vec<News>) -> String {
        let mut out = String::new();
        for news in news {
            match news {
                News::End(end) => {
                    self.writer.close(&mut out);
                    let usage = self.answers.usage();
                    let stop = Stop::new(end, usage.generated, self.max_tokens);
                    finish(&stop, &usage, self.answers.told(), &mut out);
                    self.state = State::Over;
                }
                News::Failed(error) => {
                    out += &event("error", &super::error(&error, &self.request));
                    self.state = State::Over;
                }
                news => self.writer.write(news, &mut out),
            }
        }
        out
    }
}

impl Events for Reply {
    async fn next(&mut self) -> Option<String> {
        if self.state == State::Begin {
            self.state = State::Middle;
            return Some(self.start());
        }
        while self.state == State::Middle {
            let Some(Heard { news, .. }) = self.answers.next().await else {
                break;
            };
            let out = self.hear(news);
            if !out.is_empty() {
                return Some(out);
            }
        }
        None
    }
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt.saturating_sub(usage.cached), "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached, "output_tokens": usage.generated,
        "output_tokens_details": { "thinking_tokens": usage.reasoning },
    })
}

/// The last two events.
fn finish(stop: &Stop, usage: &Usage, told: Option<Value>, out: &mut String) {
    let delta = json!({ "stop_reason": stop.reason, "stop_sequence": stop.sequence });
    let usage = usage_json(usage);
    let mut last = json!({ "type": "message_delta", "delta": delta, "usage": usage });
    if let Some(told) = told {
        last = with(last, "ingle", told);
    }
    *out += &event("message_delta", &last);
    *out += &event("message_stop", &json!({ "type": "message_stop" }));
}

/// A block of a whole message; none for a call that was cut off, which the stop reason says.
fn block(said: Said, hides_thinking: bool) -> Option<Value> {
    Some(match said {
        Said::Content(text) => json!({ "type": "text", "text": text }),
        Said::Reasoning(text) => {
            let signature = signature(&text);
            let shown = if hides_thinking { String::new() } else { text };
            json!({ "type": "thinking", "thinking": shown, "signature": signature })
        }
        Said::Call(call) => {
            let text = if call.arguments.is_empty() {
                "{}"
            } else {
                &call.arguments
            };
            let input: Map<String, Value> = serde_json::from_str(text).ok()?;
            let id = tool_id(&call.id);
            json!({ "type": "tool_use", "id": id, "name": call.name, "input": input })
        }
    })
}

/// Names of calls begin as Anthropic's do.
fn tool_id(id: &str) -> String {
    format!("toolu_{}", id.strip_prefix("call_").unwrap_or(id))
}

/// What stands where Anthropic signs: a checksum, and no secret. It is not looked at when it comes back,
/// so that a conversation goes on at another server.
fn signature(thinking: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(thinking.as_bytes());
    format!("ingle-{:016x}", hasher.finish())
}

/// Writes the blocks of an answer, one after the other.
#[derive(Debug, Default)]
struct Writer {
    open: Option<Open>,
    index: u32,
    hides_thinking: bool,
}

/// The block that is being written.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    Text,
    /// With what was thought so far, to be signed.
    Thinking(String),
    Call,
}

impl Writer {
    fn write(&mut self, news: News, out: &mut String) {
        match news {
            News::Content(text) => {
                if self.open != Some(Open::Text) {
                    self.begin(Open::Text, &json!({ "type": "text", "text": "" }), out);
                }
                self.delta(&json!({ "type": "text_delta", "text": text }), out);
            }
            News::Reasoning(text) => {
                if !matches!(self.open, Some(Open::Thinking(_))) {
                    let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
                    self.begin(Open::Thinking(String::new()), &block, out);
                }
                if let Some(Open::Thinking(all)) = &mut self.open {
                    all.push_str(&text);
                }
                if !self.hides_thinking {
                    self.delta(&json!({ "type": "thinking_delta", "thinking": text }), out);
                }
            }
            News::CallBegin { id, name, .. } => {
                let id = tool_id(&id);
                let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                self.begin(Open::Call, &block, out);
            }
            News::CallArguments { text, .. } => {
                self.delta(
                    &json!({ "type": "input_json_delta", "partial_json": text }),
                    out,
                );
            }
            News::CallEnd { .. } | News::Logprob(_) | News::End(_) | News::Failed(_) => {}
        }
    }

    fn begin(&mut self, open: Open, block: &Value, out: &mut String) {
        self.close(out);
        let start = json!({
            "type": "content_block_start", "index": self.index, "content_block": block,
        });
        *out += &event("content_block_start", &start);
        self.open = Some(open);
    }

    fn delta(&self, delta: &Value, out: &mut String) {
        let delta = json!({ "type": "content_block_delta", "index": self.index, "delta": delta });
        *out += &event("content_block_delta", &delta);
    }

    /// Ends the block that is being written.
    fn close(&mut self, out: &mut String) {
        let Some(open) = self.open.take() else {
            return;
        };
        if let Open::Thinking(all) = open {
            let signature = signature(&all);
            self.delta(
                &json!({ "type": "signature_delta", "signature": signature }),
                out,
            );
        }
        let stop = json!({ "type": "content_block_stop", "index": self.index });
        *out += &event("content_block_stop", &stop);
        self.index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::Call;

    fn events(hides_thinking: bool) -> String {
        let mut writer = Writer {
            hides_thinking,
            ..Writer::default()
        };
        let mut out = String::new();
        let begin = |index, id: &str| News::CallBegin {
            index,
            id: id.into(),
            name: "weather".into(),
        };
        let more = |index, text: &str| News::CallArguments {
            index,
            text: text.into(),
        };
        for news in [
            News::Reasoning("I ".into()),
            News::Reasoning("look.".into()),
            News::Content("One".into()),
            News::Content(" moment.".into()),
            begin(0, "call_1"),
            more(0, "{\"city\":"),
            more(0, "\"Bern\"}"),
            begin(1, "call_2"),
            more(1, "{}"),
        ] {
            writer.write(news, &mut out);
        }
        writer.close(&mut out);
        let stop = Stop::new(End::Calls, 9, Some(100));
        let usage = Usage {
            prompt: 20,
            cached: 15,
            generated: 9,
            reasoning: 2,
            ..Usage::default()
        };
        finish(&stop, &usage, None, &mut out);
        out
    }

    #[test]
    fn events_come_in_anthropics_order() {
        insta::assert_snapshot!(events(false));
    }

    #[test]
    fn hidden_thinking_is_signed_and_not_told() {
        let events = events(true);
        assert!(events.contains("signature_delta") && !events.contains("thinking_delta"));
        assert!(!events.contains("look."));
    }

    #[test]
    fn stops_have_their_words() {
        let stop = |end, generated| Stop::new(end, generated, Some(10)).reason;
        assert_eq!(stop(End::Stop, 3), "end_turn");
        assert_eq!(stop(End::Calls, 3), "tool_use");
        assert_eq!(stop(End::Length, 10), "max_tokens");
        assert_eq!(stop(End::Length, 3), "model_context_window_exceeded");
        let text = Stop::new(End::StopText("END".into()), 3, None);
        assert_eq!(
            (text.reason, text.sequence.as_deref()),
            ("stop_sequence", Some("END"))
        );
    }

    #[test]
    fn blocks_of_a_whole_message() {
        let call = |arguments: &str| {
            Said::Call(Call {
                id: "call_7".into(),
                name: "f".into(),
                arguments: arguments.into(),
            })
        };
        let shown: Vec<String> = [
            Said::Reasoning("Hm.".into()),
            Said::Content("Yes".into()),
            call("{\"a\":1}"),
            call(""),
            call("{\"a\":"),
        ]
        .into_iter()
        .map(|said| block(said, false).map_or("cut".into(), |block| block.to_string()))
        .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }
}
