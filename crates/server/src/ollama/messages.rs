//! Messages and tools, in Ollama's shape.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::talk::picture::{MAX_PICTURES, of_bytes, unread};
use crate::talk::{Call, Conversation, Message, Picture, Role, Tool, check_tools};
use serde_json::Value;

/// More than any answer has.
const MAX_CALLS: usize = 256;

/// What was said, and what may be called. A last message of the assistant is how its answer begins.
pub(super) fn conversation(fields: &Fields<'_>) -> Result<Conversation, ApiError> {
    let list = fields.list("messages")?.unwrap_or_default();
    let one = |(i, value)| message(&Fields::at(value, format!("messages[{i}]"))?);
    let messages = list.iter().enumerate().map(one);
    let mut conversation = Conversation {
        messages: messages.collect::<Result<_, _>>()?,
        tools: tools(fields)?,
        ..Conversation::default()
    };
    conversation.name_answers();
    let goes_on = |last: &mut Message| {
        last.role == Role::Assistant && last.calls.is_empty() && !last.content.is_empty()
    };
    let last = conversation.messages.pop_if(goes_on);
    if let Some(last) = &last {
        nothing_but_text(last, conversation.messages.len())?;
    }
    conversation.prefill = last.map(|message| message.content);
    Ok(conversation)
}

/// An answer that is gone on with begins behind the template, which alone has a place for more than text.
fn nothing_but_text(last: &Message, at: usize) -> Result<(), ApiError> {
    let beside = [
        ("thinking", last.reasoning.is_some()),
        ("images", !last.images.is_empty()),
    ];
    match beside.into_iter().find(|(_, there)| *there) {
        None => Ok(()),
        Some((name, _)) => {
            let path = format!("messages[{at}].{name}");
            let message = format!(
                "`{path}`: of a last message of the assistant, which its answer goes on with, only the text is read; leave it out"
            );
            Err(ApiError::unsupported(path, message))
        }
    }
}

fn message(fields: &Fields<'_>) -> Result<Message, ApiError> {
    let role = fields.str("role")?.unwrap_or_default().to_lowercase();
    let role = match role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => {
            let path = fields.path("role");
            let message = format!("`{path}` must be system, user, assistant or tool");
            return Err(ApiError::invalid(path, message));
        }
    };
    let calls = calls(fields)?;
    if role != Role::Assistant && !calls.is_empty() {
        let path = fields.path("tool_calls");
        let message = format!("`{path}`: only the assistant calls tools");
        return Err(ApiError::invalid(path, message));
    }
    let owned = |name: &str| Ok::<_, ApiError>(fields.str(name)?.map(str::to_owned));
    let mut message = Message::new(role, owned("content")?.unwrap_or_default());
    message.reasoning = owned("thinking")?.filter(|text| !text.is_empty());
    message.calls = calls;
    message.images = images(fields, message.content.len())?;
    message.call_id = owned("tool_call_id")?;
    message.name = match owned("tool_name")? {
        Some(name) => Some(name),
        None => owned("name")?,
    };
    Ok(message)
}

/// `images`: pictures in base64, behind the text.
pub(super) fn images(fields: &Fields<'_>, at: usize) -> Result<Vec<Picture>, ApiError> {
    let list = fields.list("images")?.unwrap_or_default();
    let path = fields.path("images");
    if list.len() > MAX_PICTURES {
        let message = format!("`{path}` has more than {MAX_PICTURES}");
        return Err(ApiError::invalid(path, message));
    }
    let one = |value: &Value| {
        let image = value.as_str().and_then(of_bytes);
        let image = image.ok_or_else(|| unread(&path))?;
        let path = path.clone();
        Ok(Picture { at, path, image })
    };
    list.iter().map(one).collect()
}

/// Calls that the assistant made.
fn calls(fields: &Fields<'_>) -> Result<Vec<Call>, ApiError> {
    let list = fields.list("tool_calls")?.unwrap_or_default();
    let path = fields.path("tool_calls");
    if list.len() > MAX_CALLS {
        let message = format!("`{path}` has more than {MAX_CALLS}");
        return Err(ApiError::invalid(path, message));
    }
    let one = |(i, value): (usize, &Value)| {
        let call = Fields::at(value, format!("{path}[{i}]"))?;
        let missing = |path: String| ApiError::invalid(&path, format!("`{path}` is missing"));
        let function = call
            .object("function")?
            .ok_or_else(|| missing(call.path("function")))?;
        let name = function
            .str("name")?
            .ok_or_else(|| missing(function.path("name")))?;
        let arguments = match function.get("arguments") {
            None => "{}".to_owned(),
            Some(object @ Value::Object(_)) => object.to_string(),
            // As clients of OpenAI's write it.
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(wrong(&function.path("arguments"), "an object", other)),
        };
        Ok(Call {
            id: call.str("id")?.unwrap_or_default().to_owned(),
            name: name.to_owned(),
            arguments,
        })
    };
    list.iter().enumerate().map(one).collect()
}

/// What may be called.
fn tools(fields: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let list = fields.list("tools")?.unwrap_or_default();
    let one = |(i, value): (usize, &Value)| {
        let tool = Fields::at(value, format!("tools[{i}]"))?;
        tool.refuse("type", |v| v == "function", "only functions can be called")?;
        let missing = |path: String| ApiError::invalid(&path, format!("`{path}` is missing"));
        let function = tool
            .object("function")?
            .ok_or_else(|| missing(tool.path("function")))?;
        let name = function.str("name")?.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| missing(function.path("name")))?;
        let parameters = function.object("parameters")?;
        let parameters = parameters.map(|schema| Value::Object(schema.map().clone()));
        Ok(Tool::new(name, function.str("description")?, parameters))
    };
    let tools: Vec<Tool> = list.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    check_tools(&tools)?;
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Conversation, String> {
        conversation(&Fields::of_body(&body).unwrap()).map_err(|error| error.param.unwrap())
    }

    #[test]
    fn a_conversation_with_a_tool() {
        let body = json!({
            "messages": [
                {"role": "System", "content": "Be brief."},
                {"role": "user", "content": "How warm is it?", "images": []},
                {"role": "assistant", "content": "", "thinking": "I look.", "tool_calls": [
                    {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Bern"}}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "12"},
                {"role": "tool", "tool_name": "clock", "content": "noon"},
            ],
            "tools": [{"type": "function", "function": {
                "name": "weather", "description": "Now.", "parameters": {"type": "object"}}}],
        });
        let read = read(body).unwrap();
        let roles: Vec<Role> = read.messages.iter().map(|m| m.role).collect();
        assert_eq!(
            roles,
            [
                Role::System,
                Role::User,
                Role::Assistant,
                Role::Tool,
                Role::Tool
            ]
        );
        let called = &read.messages[2];
        assert_eq!(called.calls[0].arguments, "{\"city\":\"Bern\"}");
        assert_eq!(called.reasoning.as_deref(), Some("I look."));
        assert_eq!(read.messages[3].name.as_deref(), Some("weather"));
        assert_eq!(read.messages[4].name.as_deref(), Some("clock"));
        assert_eq!(read.tools[0].name, "weather");
        assert_eq!(read.prefill, None);
    }

    #[test]
    fn a_last_word_of_the_assistant_is_gone_on_with() {
        let said = |role: &str, text: &str| json!({"role": role, "content": text});
        let read = |last| read(json!({ "messages": [said("user", "Hi"), last] })).unwrap();
        let answer = read(said("assistant", "It is"));
        assert_eq!(answer.prefill.as_deref(), Some("It is"));
        assert_eq!(answer.messages.len(), 1);
        assert_eq!(read(said("user", "Ho")).prefill, None);
        let thought = json!({"role": "assistant", "content": "It is", "thinking": "Hm."});
        let body = json!({ "messages": [said("user", "Hi"), thought] });
        let refused = conversation(&Fields::of_body(&body).unwrap()).unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("messages[1].thinking"));
    }

    #[test]
    fn faults_are_named_by_their_place() {
        let message = |message: Value| json!({ "messages": [message] });
        let tool = json!({"type": "function", "function": {"name": "f"}});
        let cases = [
            (message(json!({"role": "judge"})), "messages[0].role"),
            (message(json!("Hi")), "messages[0]"),
            (
                message(json!({"role": "user", "content": ["Hi"]})),
                "messages[0].content",
            ),
            (
                message(json!({"role": "user", "content": "Hi", "images": ["AA=="]})),
                "messages[0].images",
            ),
            (
                message(json!({"role": "user", "tool_calls": [{"function": {"name": "f"}}]})),
                "messages[0].tool_calls",
            ),
            (
                message(json!({"role": "assistant", "tool_calls": [{"function": {}}]})),
                "messages[0].tool_calls[0].function.name",
            ),
            (json!({ "tools": [{"type": "web"}] }), "tools[0].type"),
            (json!({ "tools": [tool, tool] }), "tools"),
            (json!({ "tools": [{}] }), "tools[0].function"),
        ];
        for (body, want) in cases {
            assert_eq!(read(body.clone()), Err(want.to_owned()), "{body}");
        }
    }
}
