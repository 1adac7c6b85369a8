//! The items of a response's input: what was said, called, answered and thought, one after the other.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::openai::forms::missing;
use crate::openai::messages::{arguments, parts, role, text};
use crate::openai::tools::spaced;
use crate::talk::{Call, Message, Role};
use serde_json::{Value, json};

/// The most items of a request.
const MAX_ITEMS: usize = 4096;

/// `input`: a text, or items. None where there is none, which a response that follows another may do.
pub fn list(fields: &Fields<'_>) -> Result<Vec<Value>, ApiError> {
    match fields.get("input") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![
            json!({ "type": "message", "role": "user", "content": text }),
        ]),
        Some(Value::Array(items)) if items.len() <= MAX_ITEMS => Ok(items.clone()),
        Some(other) => {
            let what = format!("a string or a list of at most {MAX_ITEMS} items");
            Err(wrong("input", &what, other))
        }
    }
}

/// The messages that items become. What the model thought, said and called without a break is one
/// message of its own.
pub fn messages(items: &[Value], path: &str) -> Result<Vec<Message>, ApiError> {
    let mut said = Gathered::default();
    for (i, item) in items.iter().enumerate() {
        said.item(&Fields::at(item, format!("{path}[{i}]"))?)?;
    }
    said.flush();
    Ok(said.messages)
}

#[derive(Default)]
struct Gathered {
    messages: Vec<Message>,
    /// The model's own message, while it may go on.
    own: Option<Message>,
}

impl Gathered {
    fn item(&mut self, item: &Fields<'_>) -> Result<(), ApiError> {
        let usual = match item.get("role") {
            Some(_) => "message",
            None => "",
        };
        match item.str("type")?.unwrap_or(usual) {
            "message" => self.message(item),
            "reasoning" => {
                let thought = reasoning(item)?;
                let own = self.own(|own| own.content.is_empty() && own.calls.is_empty());
                if !thought.is_empty() {
                    own.reasoning.get_or_insert_default().push_str(&thought);
                }
                Ok(())
            }
            "function_call" => {
                let call = call(item)?;
                self.own(|_| true).calls.push(call);
                Ok(())
            }
            "function_call_output" => {
                let id = item.str("call_id")?;
                let id = id.ok_or_else(|| missing(item.path("call_id")))?.to_owned();
                let output = item.get("output");
                let output = output.ok_or_else(|| missing(item.path("output")))?;
                let output = text(output, &item.path("output"))?;
                self.flush();
                let called = self.messages.iter().rev().flat_map(|m| &m.calls);
                let called = called.into_iter().find(|call| call.id == id);
                let name = called.map(|call| call.name.clone());
                self.messages.push(Message {
                    call_id: Some(id),
                    name,
                    ..Message::new(Role::Tool, output)
                });
                Ok(())
            }
            _ => {
                let path = item.path("type");
                let message = format!(
                    "`{path}`: messages, reasoning, function_call and function_call_output are read here"
                );
                Err(ApiError::unsupported(path, message))
            }
        }
    }

    fn message(&mut self, item: &Fields<'_>) -> Result<(), ApiError> {
        let role = role(item)?;
        let path = item.path("content");
        let content = item.get("content");
        let content = content.ok_or_else(|| missing(path.clone()))?;
        let (content, images) = parts(content, &path, role == Role::User)?;
        match role {
            Role::Assistant => {
                let own = self.own(|own| own.content.is_empty() && own.calls.is_empty());
                own.content = content;
            }
            Role::Tool => {
                let path = item.path("role");
                let message = format!("`{path}`: what a tool answered is a function_call_output");
                return Err(ApiError::invalid(path, message));
            }
            role => {
                self.flush();
                self.messages.push(Message {
                    images,
                    ..Message::new(role, content)
                });
            }
        }
        Ok(())
    }

    /// The model's message that an item belongs to: the last one if it `fits`, or a new one.
    fn own(&mut self, fits: impl Fn(&Message) -> bool) -> &mut Message {
        if !self.own.as_ref().is_some_and(fits) {
            self.flush();
        }
        self.own
            .get_or_insert_with(|| Message::new(Role::Assistant, ""))
    }

    /// Ends the model's own message.
    fn flush(&mut self) {
        // One that has only thought was cut off before it said anything.
        let own = self.own.take();
        let says = |m: &Message| !m.content.is_empty() || !m.calls.is_empty();
        self.messages.extend(own.filter(says));
    }
}

fn call(item: &Fields<'_>) -> Result<Call, ApiError> {
    let need = |name: &str| {
        let text = item.str(name)?.map(str::to_owned);
        text.ok_or_else(|| missing(item.path(name)))
    };
    let name = need("name")?;
    Ok(Call {
        id: need("call_id")?,
        name: match item.str("namespace")? {
            Some(space) => spaced(space, &name),
            None => name,
        },
        arguments: arguments(item)?,
    })
}

/// What the model thought: the words themselves, or what is told of them.
fn reasoning(item: &Fields<'_>) -> Result<String, ApiError> {
    let mut all = String::new();
    for (name, kind) in [("content", "reasoning_text"), ("summary", "summary_text")] {
        for (i, part) in item.list(name)?.unwrap_or_default().iter().enumerate() {
            let part = Fields::at(part, format!("{}[{i}]", item.path(name)))?;
            part.refuse("type", |v| v == kind, "reasoning has only texts")?;
            let text = part.str("text")?;
            all.push_str(text.ok_or_else(|| missing(part.path("text")))?);
        }
        if !all.is_empty() {
            break;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: Value) -> Result<Vec<Message>, String> {
        let items = items.as_array().unwrap();
        messages(items, "input").map_err(|e| e.param.unwrap_or_default())
    }

    #[test]
    fn what_the_model_did_without_a_break_is_one_message() {
        let said = read(json!([
            { "role": "user", "content": "What time is it?" },
            { "type": "reasoning", "id": "rs_1", "summary": [], "content": [{ "type": "reasoning_text", "text": "Hm." }] },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "I look.", "annotations": [] }] },
            { "type": "function_call", "call_id": "a", "name": "clock", "arguments": "{}" },
            { "type": "function_call", "call_id": "b", "name": "date", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "b", "output": [{ "type": "input_text", "text": "Monday" }] },
            { "type": "function_call_output", "call_id": "a", "output": "9:00" },
            { "type": "message", "role": "assistant", "content": "Nine." },
            { "type": "message", "role": "assistant", "content": "Monday." },
        ]));
        let said = said.unwrap();
        let roles: Vec<Role> = said.iter().map(|m| m.role).collect();
        use Role::{Assistant, Tool, User};
        assert_eq!(roles, [User, Assistant, Tool, Tool, Assistant, Assistant]);
        let own = &said[1];
        assert_eq!((own.content.as_str(), own.calls.len()), ("I look.", 2));
        assert_eq!(own.reasoning.as_deref(), Some("Hm."));
        assert_eq!(said[2].name.as_deref(), Some("date"));
        assert_eq!(said[3].content, "9:00");
    }

    #[test]
    fn what_is_not_read_is_named() {
        let cases = [
            (json!([{ "type": "web_search_call" }]), "input[0].type"),
            (json!([{ "content": "x" }]), "input[0].type"),
            (json!([{ "role": "user" }]), "input[0].content"),
            (json!([{ "role": "tool", "content": "x" }]), "input[0].role"),
            (
                json!([{ "role": "user", "content": [{ "type": "input_image" }] }]),
                "input[0].content[0].type",
            ),
            (
                json!([{ "type": "function_call", "call_id": "a" }]),
                "input[0].name",
            ),
            (
                json!([{ "type": "function_call_output", "output": "a" }]),
                "input[0].call_id",
            ),
        ];
        for (items, path) in cases {
            assert_eq!(read(items), Err(path.to_owned()));
        }
    }
}
