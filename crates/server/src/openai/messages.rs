//! Messages of a conversation: from OpenAI's shape to the one that templates know.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use serde_json::{Map, Value, json};

/// More than any conversation that fits a context.
const MAX_MESSAGES: usize = 4096;
/// More than any message has.
const MAX_PARTS: usize = 1024;

/// The messages of a request, with their contents as texts.
pub fn messages(fields: &Fields<'_>) -> Result<Vec<Value>, ApiError> {
    let list = fields.list("messages")?.ok_or_else(|| {
        ApiError::invalid(
            "messages",
            "`messages` is missing: give a list of at least one message",
        )
    })?;
    if list.is_empty() || list.len() > MAX_MESSAGES {
        let message = format!(
            "`messages` has {}; it must have 1 to {MAX_MESSAGES}",
            list.len()
        );
        return Err(ApiError::invalid("messages", message));
    }
    let one = |(i, value)| message(&Fields::at(value, format!("messages[{i}]"))?);
    list.iter().enumerate().map(one).collect()
}

fn message(fields: &Fields<'_>) -> Result<Value, ApiError> {
    let role = fields.str("role")?.unwrap_or_default();
    let path = fields.path("role");
    match role {
        "system" | "developer" | "user" | "assistant" | "tool" => {}
        "function" => {
            return Err(ApiError::unsupported(
                path,
                "the role `function` is gone: use `tool`",
            ));
        }
        _ => {
            let message = format!("`{path}` must be system, developer, user, assistant or tool");
            return Err(ApiError::invalid(path, message));
        }
    }
    let calls = match role {
        "assistant" => tool_calls(fields)?,
        _ => None,
    };
    fields.refuse("audio", |_| false, "audio is not supported")?;
    fields.refuse("function_call", |_| false, "use `tool_calls`")?;
    let content = match fields.get("content") {
        Some(content) => Some(text(content, &fields.path("content"))?),
        None => fields.str("refusal")?.map(str::to_owned),
    };
    let content = match content {
        Some(content) => content,
        None if calls.is_some() => String::new(),
        None => {
            let path = fields.path("content");
            let message = format!("`{path}` is missing: give a string or a list of text parts");
            return Err(ApiError::invalid(path, message));
        }
    };
    let mut message = Map::new();
    message.insert("role".into(), role.into());
    message.insert("content".into(), content.into());
    if let Some(calls) = calls {
        message.insert("tool_calls".into(), calls.into());
    }
    for name in ["name", "tool_call_id", "reasoning_content"] {
        if let Some(text) = fields.str(name)? {
            message.insert(name.into(), text.into());
        }
    }
    Ok(Value::Object(message))
}

/// A text, or the texts of a list of parts one behind the other.
fn text(content: &Value, path: &str) -> Result<String, ApiError> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) if parts.len() <= MAX_PARTS => parts,
        other => {
            let what = format!("a string or a list of at most {MAX_PARTS} text parts");
            return Err(wrong(path, &what, other));
        }
    };
    let mut all = String::new();
    for (i, part) in parts.iter().enumerate() {
        let part = Fields::at(part, format!("{path}[{i}]"))?;
        let name = match part.str("type")?.unwrap_or_default() {
            "text" => "text",
            "refusal" => "refusal",
            other => {
                let path = part.path("type");
                let what = match other {
                    "image_url" => "this model reads no images",
                    "input_audio" => "this model hears no audio",
                    "file" => "files are not read",
                    _ => "this kind of part is not known",
                };
                return Err(ApiError::unsupported(
                    &path,
                    format!("`{path}`: {what}; send text"),
                ));
            }
        };
        let text = part.str(name)?.ok_or_else(|| {
            let path = part.path(name);
            ApiError::invalid(&path, format!("`{path}` is missing"))
        })?;
        all.push_str(text);
    }
    Ok(all)
}

/// Calls of tools that the assistant made. Templates want the arguments as an object.
fn tool_calls(fields: &Fields<'_>) -> Result<Option<Vec<Value>>, ApiError> {
    const MAX: usize = 256;
    let Some(calls) = fields.list("tool_calls")? else {
        return Ok(None);
    };
    if calls.len() > MAX {
        let path = fields.path("tool_calls");
        return Err(ApiError::invalid(
            &path,
            format!("`{path}` has more than {MAX}"),
        ));
    }
    let one = |(i, call): (usize, &Value)| {
        let call = Fields::at(call, format!("{}[{i}]", fields.path("tool_calls")))?;
        let missing = |path: String| ApiError::invalid(&path, format!("`{path}` is missing"));
        let function = call
            .object("function")?
            .ok_or_else(|| missing(call.path("function")))?;
        let name = function
            .str("name")?
            .ok_or_else(|| missing(function.path("name")))?;
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(object @ Value::Object(_)) => object,
                _ => Value::from(text.as_str()),
            },
            Some(object @ Value::Object(_)) => object.clone(),
            Some(other) => return Err(wrong(&function.path("arguments"), "a string", other)),
            None => json!({}),
        };
        Ok(json!({
            "id": call.str("id")?.unwrap_or_default(), "type": "function",
            "function": { "name": name, "arguments": arguments },
        }))
    };
    let calls: Result<Vec<Value>, ApiError> = calls.iter().enumerate().map(one).collect();
    calls.map(|calls| Some(calls).filter(|calls| !calls.is_empty()))
}
