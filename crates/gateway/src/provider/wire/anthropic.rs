//! Answers as Anthropic's messages have them (API reference, "The message object" and "Streaming messages").

use serde_json::Value;

use super::calls::Calls;
use super::events::Event;
use super::reader::{Known, Read, Wrong, count, error_message, json};
use crate::chat::{Finish, Usage};

/// Blocks that are open at a time.
const MOST_OPEN: usize = 256;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: Calls,
    began: bool,
    /// The blocks that are open: their numbers, and what they hold. One after the other, as it should be; some
    /// proxies mix them, or end none.
    open: Vec<(u64, Block)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    Call,
    /// Of a kind that holds nothing for the reader (sealed thoughts).
    Other,
}

impl Reader {
    pub(super) fn event(&mut self, event: &Event, known: &mut Known) -> Read {
        let body = json(event.data.as_bytes())?;
        let kind = body.get("type").and_then(Value::as_str);
        let kind = kind.unwrap_or(event.name.as_str());
        match kind {
            // Kinds may be added at any time.
            "ping" => Ok(()),
            "error" => Err(Wrong::GaveUp(
                error_message(&body)
                    .unwrap_or("without a reason")
                    .to_owned(),
            )),
            "message_start" if !self.began => {
                self.began = true;
                usage(body.get("message").and_then(|m| m.get("usage")), known)
            }
            "message_start" => Err(Wrong::bad("it begins twice")),
            "content_block_start"
            | "content_block_delta"
            | "content_block_stop"
            | "message_delta"
            | "message_stop"
                if !self.began =>
            {
                Err(Wrong::bad("it has no beginning"))
            }
            "content_block_start" => self.block_start(&body, known),
            "content_block_delta" => self.block_delta(&body, known),
            "content_block_stop" => {
                let index = body.get("index").and_then(Value::as_u64);
                self.open.retain(|(open, _)| Some(*open) != index);
                Ok(())
            }
            "message_delta" => {
                usage(body.get("usage"), known)?;
                self.finish(body.get("delta"), known)
            }
            "message_stop" => {
                known.over = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn whole(&mut self, body: &Value, known: &mut Known) -> Read {
        if body.get("type").and_then(Value::as_str) == Some("error") {
            let message = error_message(body).unwrap_or("without a reason");
            return Err(Wrong::GaveUp(message.to_owned()));
        }
        let content = body.get("content").and_then(Value::as_array);
        let content = content.ok_or(Wrong::bad("it holds no list `content`"))?;
        for (i, block) in content.iter().enumerate() {
            self.block(i as u64, block, known)?;
        }
        self.finish(Some(body), known)?;
        if known.finish.is_none() {
            return Err(Wrong::bad("it does not say how it ended"));
        }
        usage(body.get("usage"), known)
    }

    fn block_start(&mut self, body: &Value, known: &mut Known) -> Read {
        if known.finish.is_some() {
            return Err(Wrong::bad("more of the answer follows behind its end"));
        }
        let index = body.get("index").and_then(Value::as_u64);
        let index = index.ok_or(Wrong::bad("a block has no number"))?;
        if self.open.iter().any(|(open, _)| *open == index) {
            return Err(Wrong::bad("a block begins twice"));
        }
        if self.open.len() >= MOST_OPEN {
            return Err(Wrong::bad("too many of its blocks are open"));
        }
        let block = body.get("content_block");
        let kind = self.block(index, block.ok_or(Wrong::bad("a block is empty"))?, known)?;
        self.open.push((index, kind));
        Ok(())
    }

    /// A block, or what it begins with.
    fn block(&mut self, index: u64, block: &Value, known: &mut Known) -> Result<Block, Wrong> {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "text" => {
                known.text(text("text"));
                Ok(Block::Text)
            }
            "thinking" => {
                known.reasoning(text("thinking"));
                Ok(Block::Thinking)
            }
            "tool_use" => {
                let arguments = match block.get("input") {
                    Some(Value::Object(input)) if !input.is_empty() => {
                        Value::Object(input.clone()).to_string()
                    }
                    _ => String::new(),
                };
                let (id, name) = (text("id"), text("name"));
                self.calls.more(Some(index), id, name, &arguments, known)?;
                Ok(Block::Call)
            }
            "redacted_thinking" => Ok(Block::Other),
            _ => Err(Wrong::bad("a block of it is of an unknown kind")),
        }
    }

    fn block_delta(&mut self, body: &Value, known: &mut Known) -> Read {
        let index = body.get("index").and_then(Value::as_u64);
        let block = self.open.iter().find(|(open, _)| Some(*open) == index);
        let Some(&(open, kind)) = block else {
            return Err(Wrong::bad("a part of a block comes while it is not open"));
        };
        let delta = body.get("delta");
        let text = |name: &str| {
            let text = delta.and_then(|delta| delta.get(name));
            text.and_then(Value::as_str).unwrap_or_default()
        };
        match (text("type"), kind) {
            ("text_delta", Block::Text) => known.text(text("text")),
            ("thinking_delta", Block::Thinking) => known.reasoning(text("thinking")),
            ("input_json_delta", Block::Call) => {
                let more = text("partial_json");
                self.calls.more(Some(open), "", "", more, known)?;
            }
            ("signature_delta" | "citations_delta", _) | (_, Block::Other) => {}
            _ => return Err(Wrong::bad("a part does not fit its block")),
        }
        Ok(())
    }

    fn finish(&mut self, body: Option<&Value>, known: &mut Known) -> Read {
        let text = |name: &str| body.and_then(|body| body.get(name)).and_then(Value::as_str);
        let Some(reason) = text("stop_reason") else {
            return Ok(());
        };
        if known.finish.is_some() {
            return Ok(());
        }
        let finish = match reason {
            "max_tokens" | "model_context_window_exceeded" => Finish::Length,
            "refusal" => Finish::Refused,
            _ if !self.calls.is_empty() => Finish::Calls,
            "stop_sequence" => match text("stop_sequence") {
                Some(stop) => Finish::StopText(stop.to_owned()),
                None => Finish::Stop,
            },
            _ => Finish::Stop,
        };
        self.calls.end(&finish, known)?;
        known.finish = Some(finish);
        Ok(())
    }
}

/// Counts are so far, and those that are not there have not changed. What was read from a cache or written
/// to one is not in `input_tokens` there.
fn usage(usage: Option<&Value>, known: &mut Known) -> Read {
    let Some(usage) = usage.filter(|usage| !usage.is_null()) else {
        return Ok(());
    };
    let before = known.usage.unwrap_or_default();
    known.took(counted(usage, before));
    Ok(())
}

fn counted(usage: &Value, before: Usage) -> Result<Usage, Wrong> {
    let part = |name: &str| count(usage, &[name]);
    let cached = part("cache_read_input_tokens")?.unwrap_or(before.cached);
    let cache_writes = part("cache_creation_input_tokens")?.unwrap_or(before.cache_writes);
    let parts_before = before.cached.saturating_add(before.cache_writes);
    let fresh = part("input_tokens")?.unwrap_or(before.input.saturating_sub(parts_before));
    Ok(Usage {
        input: fresh.saturating_add(cached).saturating_add(cache_writes),
        cached,
        cache_writes,
        output: part("output_tokens")?.unwrap_or(before.output),
        reasoning: count(usage, &["output_tokens_details", "thinking_tokens"])?
            .unwrap_or(before.reasoning),
    })
}
