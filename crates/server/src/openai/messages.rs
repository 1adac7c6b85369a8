//! Messages of a conversation, as chat completions have them.

use super::forms::missing;
use crate::bounds::MAX_MESSAGES;
use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::talk::picture::{MAX_PICTURES, of_url, unread};
use crate::talk::{Call, Message, Picture, Role};
use serde_json::Value;

/// More than any message has.
const MAX_PARTS: usize = 1024;
/// The most calls of a message.
const MAX_CALLS: usize = 256;

/// The messages of a request.
pub fn messages(fields: &Fields<'_>) -> Result<Vec<Message>, ApiError> {
    let list = fields.list("messages")?.ok_or_else(|| {
        let message = "`messages` is missing: give a list of at least one message";
        ApiError::invalid("messages", message)
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

/// The role of a message.
pub fn role(fields: &Fields<'_>) -> Result<Role, ApiError> {
    let path = fields.path("role");
    match fields.str("role")?.unwrap_or_default() {
        "system" => Ok(Role::System),
        "developer" => Ok(Role::Developer),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        "function" => {
            let why = "the role `function` is gone: use `tool`";
            Err(ApiError::unsupported(path, why))
        }
        _ => {
            let message = format!("`{path}` must be system, developer, user, assistant or tool");
            Err(ApiError::invalid(path, message))
        }
    }
}

fn message(fields: &Fields<'_>) -> Result<Message, ApiError> {
    let role = role(fields)?;
    let calls = match role {
        Role::Assistant => calls(fields)?,
        _ => Vec::new(),
    };
    fields.refuse("audio", |_| false, "audio is not supported")?;
    fields.refuse("function_call", |_| false, "use `tool_calls`")?;
    let mut images = Vec::new();
    let content = match fields.get("content") {
        Some(content) if role == Role::User => {
            let read = parts(content, &fields.path("content"), true)?;
            images = read.1;
            Some(read.0)
        }
        Some(content) => Some(text(content, &fields.path("content"))?),
        None => fields.str("refusal")?.map(str::to_owned),
    };
    let content = match content {
        Some(content) => content,
        None if !calls.is_empty() => String::new(),
        None => {
            let path = fields.path("content");
            let message = format!("`{path}` is missing: give a string or a list of text parts");
            return Err(ApiError::invalid(path, message));
        }
    };
    let named = |name: &str| Ok::<_, ApiError>(fields.str(name)?.map(str::to_owned));
    // Servers spell it in two ways.
    let reasoning = match named("reasoning_content")? {
        Some(text) => Some(text),
        None => named("reasoning")?,
    };
    Ok(Message {
        role,
        content,
        reasoning,
        calls,
        call_id: named("tool_call_id")?,
        name: named("name")?,
        images,
    })
}

/// A text, or the texts of a list of parts one behind the other.
pub fn text(content: &Value, path: &str) -> Result<String, ApiError> {
    parts(content, path, false).map(|(text, _)| text)
}

/// A text, or the texts and pictures of a list of parts.
pub fn parts(
    content: &Value,
    path: &str,
    pictures: bool,
) -> Result<(String, Vec<Picture>), ApiError> {
    let parts = match content {
        Value::String(text) => return Ok((text.clone(), Vec::new())),
        Value::Array(parts) if parts.len() <= MAX_PARTS => parts,
        other => {
            let what = format!("a string or a list of at most {MAX_PARTS} text parts");
            return Err(wrong(path, &what, other));
        }
    };
    let (mut all, mut images) = (String::new(), Vec::new());
    for (i, part) in parts.iter().enumerate() {
        let part = Fields::at(part, format!("{path}[{i}]"))?;
        let name = match part.str("type")?.unwrap_or_default() {
            "text" | "input_text" | "output_text" => "text",
            "refusal" => "refusal",
            "image_url" | "input_image" if pictures && images.len() < MAX_PICTURES => {
                images.push(picture(&part, all.len())?);
                continue;
            }
            other => {
                let path = part.path("type");
                let what = match other {
                    "image_url" | "input_image" => "this model reads no images",
                    "input_audio" => "this model hears no audio",
                    "file" | "input_file" => "files are not read",
                    _ => "this kind of part is not known",
                };
                let message = format!("`{path}`: {what}; send text");
                return Err(ApiError::unsupported(path, message));
            }
        };
        let text = part.str(name)?.ok_or_else(|| missing(part.path(name)))?;
        all.push_str(text);
    }
    Ok((all, images))
}

/// A picture: `{"image_url": {"url": ...}}`, as chat completions have it, or `{"image_url": ...}`.
fn picture(part: &Fields<'_>, at: usize) -> Result<Picture, ApiError> {
    let path = part.path("type");
    let url = part.get("image_url");
    let url = url.and_then(|url| url.as_str().or_else(|| url.get("url")?.as_str()));
    let image = url.and_then(of_url).ok_or_else(|| unread(&path))?;
    let auto = |v: &Value| v == "auto";
    let why = "how closely a picture is looked at is for the model to choose; leave it out";
    part.refuse("detail", auto, why)?;
    if let Some(inner @ Value::Object(_)) = part.get("image_url") {
        Fields::at(inner, part.path("image_url"))?.refuse("detail", auto, why)?;
    }
    Ok(Picture { at, path, image })
}

/// Calls of tools that the assistant made.
fn calls(fields: &Fields<'_>) -> Result<Vec<Call>, ApiError> {
    let calls = fields.list("tool_calls")?.unwrap_or_default();
    if calls.len() > MAX_CALLS {
        let path = fields.path("tool_calls");
        let message = format!("`{path}` has more than {MAX_CALLS}");
        return Err(ApiError::invalid(path, message));
    }
    let one = |(i, call): (usize, &Value)| {
        let call = Fields::at(call, format!("{}[{i}]", fields.path("tool_calls")))?;
        call.refuse("type", |v| v == "function", "only functions are called")?;
        let function = call.object("function")?;
        let function = function.ok_or_else(|| missing(call.path("function")))?;
        let name = function.str("name")?;
        Ok(Call {
            id: call.str("id")?.unwrap_or_default().to_owned(),
            name: name
                .ok_or_else(|| missing(function.path("name")))?
                .to_owned(),
            arguments: arguments(&function)?,
        })
    };
    calls.iter().enumerate().map(one).collect()
}

/// The arguments of a call: a JSON object as text, as OpenAI has it, or the object itself.
pub fn arguments(function: &Fields<'_>) -> Result<String, ApiError> {
    match function.get("arguments") {
        None => Ok("{}".into()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(object @ Value::Object(_)) => Ok(object.to_string()),
        Some(other) => Err(wrong(&function.path("arguments"), "a string", other)),
    }
}
