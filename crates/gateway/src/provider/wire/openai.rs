//! Answers as OpenAI's chat completions have them (API reference, "The chat completion object" and "The
//! chat completion chunk object"), with the fields for reasoning of vLLM, DeepSeek and OpenRouter.

use serde_json::Value;

use super::calls::Calls;
use super::events::Event;
use super::reader::{Known, Read, Wrong, count, error_message, json};
use crate::chat::{Finish, Usage};

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: Calls,
    refused: bool,
    finished: bool,
}

impl Reader {
    pub(super) fn event(&mut self, event: &Event, known: &mut Known) -> Read {
        if event.data.trim() == "[DONE]" {
            known.over = true;
            return Ok(());
        }
        let chunk = json(event.data.as_bytes())?;
        gave_up(&chunk)?;
        let choices = match chunk.get("choices") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(choices)) => choices.as_slice(),
            Some(_) => return Err(Wrong::bad("`choices` is no list")),
        };
        for choice in choices {
            only_first(choice)?;
            if let Some(delta) = choice.get("delta").filter(|delta| !delta.is_null()) {
                self.delta(delta, known)?;
            }
            self.finish(choice, known)?;
        }
        usage(&chunk, known)
    }

    pub(super) fn whole(&mut self, body: &Value, known: &mut Known) -> Read {
        gave_up(body)?;
        let choices = body.get("choices").and_then(Value::as_array);
        let Some([choice]) = choices.map(Vec::as_slice) else {
            return Err(Wrong::bad("it does not hold exactly one choice"));
        };
        only_first(choice)?;
        let message = choice.get("message");
        let message = message.filter(|message| message.is_object());
        self.delta(
            message.ok_or(Wrong::bad("its choice has no message"))?,
            known,
        )?;
        self.finish(choice, known)?;
        if !self.finished {
            return Err(Wrong::bad("it does not say how it ended"));
        }
        usage(body, known)
    }

    fn delta(&mut self, delta: &Value, known: &mut Known) -> Read {
        if !delta.is_object() {
            return Err(Wrong::bad("a delta is no object"));
        }
        let before = (known.pieces.len(), known.bytes);
        let reasoning = ["reasoning_content", "reasoning"].into_iter();
        let mut reasoning = reasoning.filter_map(|name| delta.get(name)?.as_str());
        if let Some(text) = reasoning.find(|text| !text.is_empty()) {
            known.reasoning(text);
        }
        match delta.get("content") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => known.text(text),
            Some(Value::Array(parts)) => {
                parts.iter().try_for_each(|part| self.part(part, known))?
            }
            Some(_) => return Err(Wrong::bad("`content` is no text")),
        }
        if let Some(refusal) = delta.get("refusal").and_then(Value::as_str) {
            self.refused = self.refused || !refusal.is_empty();
            known.text(refusal);
        }
        match delta.get("tool_calls") {
            None | Some(Value::Null) => {}
            Some(Value::Array(calls)) => {
                calls.iter().try_for_each(|call| self.call(call, known))?;
            }
            Some(_) => return Err(Wrong::bad("`tool_calls` is no list")),
        }
        match self.finished && (known.pieces.len(), known.bytes) != before {
            true => Err(Wrong::bad("more of the answer follows behind its end")),
            false => Ok(()),
        }
    }

    /// A part of a content that is a list, as some servers give it.
    fn part(&mut self, part: &Value, known: &mut Known) -> Read {
        let text =
            |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        match part.get("type").and_then(Value::as_str) {
            Some("text" | "output_text") => {
                known.text(&text(part, "text").unwrap_or_default());
                Ok(())
            }
            Some("thinking") => {
                let inner = part.get("thinking").and_then(Value::as_array);
                for inner in inner.into_iter().flatten() {
                    known.reasoning(&text(inner, "text").unwrap_or_default());
                }
                known.reasoning(&text(part, "thinking").unwrap_or_default());
                Ok(())
            }
            _ => Err(Wrong::bad("a part of its content is of an unknown kind")),
        }
    }

    fn call(&mut self, call: &Value, known: &mut Known) -> Read {
        let function = call.get("function");
        let text = |value: Option<&Value>, name: &str| -> Result<String, Wrong> {
            match value.and_then(|value| value.get(name)) {
                None | Some(Value::Null) => Ok(String::new()),
                Some(Value::String(text)) => Ok(text.clone()),
                // Some servers give the arguments as an object.
                Some(object @ Value::Object(_)) if name == "arguments" => Ok(object.to_string()),
                Some(_) => Err(Wrong::bad(format!("`{name}` of a call is no text"))),
            }
        };
        let index = call.get("index").and_then(Value::as_u64);
        let (id, name) = (text(Some(call), "id")?, text(function, "name")?);
        let arguments = text(function, "arguments")?;
        self.calls.more(index, &id, &name, &arguments, known)
    }

    fn finish(&mut self, choice: &Value, known: &mut Known) -> Read {
        let reason = match choice.get("finish_reason") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::String(reason)) => reason.as_str(),
            Some(_) => return Err(Wrong::bad("`finish_reason` is no text")),
        };
        if self.finished {
            return Ok(());
        }
        let stop = choice.get("stop_reason").and_then(Value::as_str);
        let finish = match reason {
            "length" => Finish::Length,
            "content_filter" => Finish::Refused,
            "error" | "abort" | "repetition" => {
                return Err(Wrong::GaveUp(format!("it ended with `{reason}`")));
            }
            _ if self.refused => Finish::Refused,
            _ if !self.calls.is_empty() => Finish::Calls,
            _ => stop.map_or(Finish::Stop, |stop| Finish::StopText(stop.to_owned())),
        };
        self.calls.end(&finish, known)?;
        self.finished = true;
        known.finish = Some(finish);
        Ok(())
    }
}

fn only_first(choice: &Value) -> Read {
    match choice.get("index").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(_) => Err(Wrong::bad("it holds more than one choice")),
    }
}

fn gave_up(body: &Value) -> Read {
    if !body.is_object() {
        return Err(Wrong::bad("it is no JSON object"));
    }
    match body.get("error") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => {
            let message = error_message(body).unwrap_or("without a reason");
            Err(Wrong::GaveUp(message.to_owned()))
        }
    }
}

fn usage(body: &Value, known: &mut Known) -> Read {
    if let Some(usage) = body.get("usage").filter(|usage| !usage.is_null()) {
        known.took(counted(usage));
    }
    Ok(())
}

fn counted(usage: &Value) -> Result<Usage, Wrong> {
    let one = |path: &[&str]| count(usage, path);
    let details = "prompt_tokens_details";
    Ok(Usage {
        input: one(&["prompt_tokens"])?.unwrap_or(0),
        // DeepSeek's own name for it, where the usual one is not there.
        cached: match one(&[details, "cached_tokens"])? {
            Some(cached) => cached,
            None => one(&["prompt_cache_hit_tokens"])?.unwrap_or(0),
        },
        cache_writes: one(&[details, "cache_write_tokens"])?.unwrap_or(0),
        output: one(&["completion_tokens"])?.unwrap_or(0),
        reasoning: one(&["completion_tokens_details", "reasoning_tokens"])?.unwrap_or(0),
    })
}
