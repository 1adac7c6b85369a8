//! Messages, in Anthropic's shape: turns of blocks. `cache_control` asks for what happens anyway.

use crate::bounds::MAX_MESSAGES;
use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::talk::picture::{MAX_PICTURES, inline, of_url, unread};
use crate::talk::{Call, Message, Picture, Role};
use serde_json::Value;

/// More than any message has.
const MAX_BLOCKS: usize = 4096;

/// What was said; turns of the same speaker that follow each other are one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    messages: Vec<Message>,
    /// The message that may still go on.
    open: Option<Message>,
}

impl Turns {
    /// `system`, and after it `messages`.
    pub fn read(fields: &Fields<'_>) -> Result<Vec<Message>, ApiError> {
        let mut turns = Self::default();
        if let Some(system) = fields.get("system") {
            let text = texts(system, "system")?;
            if !text.is_empty() {
                turns.say(Role::System, &text);
            }
        }
        let missing = || ApiError::invalid("messages", "`messages` is missing: give at least one");
        let list = fields.list("messages")?.ok_or_else(missing)?;
        if list.is_empty() || list.len() > MAX_MESSAGES {
            let message = format!(
                "`messages` has {}; it must have 1 to {MAX_MESSAGES}",
                list.len()
            );
            return Err(ApiError::invalid("messages", message));
        }
        for (i, value) in list.iter().enumerate() {
            turns.turn(&Fields::at(value, format!("messages[{i}]"))?)?;
        }
        turns.messages.extend(turns.open.take());
        Ok(turns.messages)
    }

    fn turn(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        let role = match fields.str("role")?.unwrap_or_default() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                let path = fields.path("role");
                let message = format!("`{path}` must be user, assistant or system");
                return Err(ApiError::invalid(path, message));
            }
        };
        let path = fields.path("content");
        match fields.get("content") {
            Some(Value::String(text)) => self.say(role, text),
            Some(Value::Array(blocks)) if blocks.len() <= MAX_BLOCKS => {
                for (i, block) in blocks.iter().enumerate() {
                    self.block(role, &Fields::at(block, format!("{path}[{i}]"))?)?;
                }
            }
            Some(other) => {
                let what = format!("a string or a list of at most {MAX_BLOCKS} blocks");
                return Err(wrong(&path, &what, other));
            }
            None => return Err(ApiError::invalid(&path, format!("`{path}` is missing"))),
        }
        Ok(())
    }

    fn block(&mut self, role: Role, block: &Fields<'_>) -> Result<(), ApiError> {
        let kind = block.str("type")?.unwrap_or_default();
        match (kind, role) {
            ("text", _) => self.say(role, text_block(block)?),
            ("image", Role::User) => self.picture(block)?,
            ("document", Role::User) => self.say(role, &document(block)?),
            ("search_result", Role::User) => self.say(role, &search_result(block)?),
            ("tool_result", Role::User) => self.tool_result(block)?,
            ("mid_conv_system", _) => {
                let text = texts(required(block, "content")?, &block.path("content"))?;
                self.say(Role::System, &text);
            }
            ("thinking", Role::Assistant) => {
                let text = string(block, "thinking")?;
                block.str("signature")?;
                let message = self.last(Role::Assistant);
                message.reasoning.get_or_insert_default().push_str(text);
            }
            ("tool_use", Role::Assistant) => {
                let input = block.object("input")?;
                let arguments = input.map(|input| Value::Object(input.map().clone()));
                let call = Call {
                    id: string(block, "id")?.to_owned(),
                    name: string(block, "name")?.to_owned(),
                    arguments: arguments.map_or_else(|| "{}".into(), |input| input.to_string()),
                };
                self.last(Role::Assistant).calls.push(call);
            }
            (kind, _) => return Err(unknown(kind, role, block)),
        }
        Ok(())
    }

    fn picture(&mut self, block: &Fields<'_>) -> Result<(), ApiError> {
        let path = block.path("type");
        let source = block.get("source");
        let text = |name: &str| source.and_then(|source| source.get(name)?.as_str());
        let image = match text("type") {
            Some("base64") => text("media_type").and_then(|kind| inline(kind, text("data")?)),
            Some("url") => text("url").and_then(of_url),
            _ => None,
        };
        let message = self.last(Role::User);
        let room = message.images.len() < MAX_PICTURES;
        let image = image.filter(|_| room).ok_or_else(|| unread(&path))?;
        let at = message.content.len();
        message.images.push(Picture { at, path, image });
        Ok(())
    }

    /// What a tool answered: a message of its own. A fault is said in words, as templates have no
    /// place for it.
    fn tool_result(&mut self, block: &Fields<'_>) -> Result<(), ApiError> {
        let id = string(block, "tool_use_id")?.to_owned();
        let text = match block.get("content") {
            None => String::new(),
            Some(content) => texts(content, &block.path("content"))?,
        };
        let failed = block.bool("is_error")?.unwrap_or(false);
        let text = if failed {
            format!("Error: {text}")
        } else {
            text
        };
        self.messages.extend(self.open.take());
        self.messages.push(Message {
            call_id: Some(id),
            ..Message::new(Role::Tool, text)
        });
        Ok(())
    }

    /// The message that goes on: the last one if it is of the same speaker.
    fn last(&mut self, role: Role) -> &mut Message {
        if self.open.as_ref().is_some_and(|open| open.role != role) {
            self.messages.extend(self.open.take());
        }
        self.open.get_or_insert_with(|| Message::new(role, ""))
    }

    fn say(&mut self, role: Role, text: &str) {
        join(&mut self.last(role).content, text);
    }
}

/// Puts a text behind another. Blocks are apart: where neither brings white space they get a line break.
fn join(all: &mut String, text: &str) {
    let glued = !all.is_empty()
        && !all.ends_with(char::is_whitespace)
        && !text.is_empty()
        && !text.starts_with(char::is_whitespace);
    if glued {
        all.push('\n');
    }
    all.push_str(text);
}

fn unknown(kind: &str, role: Role, block: &Fields<'_>) -> ApiError {
    let path = block.path("type");
    let why = match kind {
        "image" => "this model reads no images",
        "redacted_thinking" => {
            "it was encrypted by another server and cannot be read here; leave it out"
        }
        "container_upload" => "files are not kept here",
        "" => "it is missing",
        kind if kind.starts_with("server_tool") || kind.ends_with("_tool_result") => {
            "tools that a server runs are not run here"
        }
        "text" | "document" | "search_result" | "tool_result" | "thinking" | "tool_use" => {
            return ApiError::invalid(
                &path,
                format!("`{path}`: a {} message has no such block", role.word()),
            );
        }
        _ => "this kind of block is not known",
    };
    ApiError::unsupported(&path, format!("`{path}`: {why}"))
}

fn required<'a>(fields: &Fields<'a>, name: &str) -> Result<&'a Value, ApiError> {
    fields.get(name).ok_or_else(|| missing(fields.path(name)))
}

fn missing(path: String) -> ApiError {
    ApiError::invalid(&path, format!("`{path}` is missing"))
}

fn string<'a>(fields: &Fields<'a>, name: &str) -> Result<&'a str, ApiError> {
    fields.str(name)?.ok_or_else(|| missing(fields.path(name)))
}

fn text_block<'a>(block: &Fields<'a>) -> Result<&'a str, ApiError> {
    // Where a text of an earlier answer came from; nothing of it is for the model.
    string(block, "text")
}

/// A text, or blocks of which all are texts.
fn texts(value: &Value, path: &str) -> Result<String, ApiError> {
    let blocks = match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(blocks) if blocks.len() <= MAX_BLOCKS => blocks,
        other => {
            let what = format!("a string or a list of at most {MAX_BLOCKS} blocks");
            return Err(wrong(path, &what, other));
        }
    };
    let mut all = String::new();
    for (i, block) in blocks.iter().enumerate() {
        let block = Fields::at(block, format!("{path}[{i}]"))?;
        match block.str("type")?.unwrap_or_default() {
            "text" => join(&mut all, text_block(&block)?),
            "document" => join(&mut all, &document(&block)?),
            "search_result" => join(&mut all, &search_result(&block)?),
            kind => return Err(unknown(kind, Role::Tool, &block)),
        }
    }
    Ok(all)
}

/// A document, its name before it: texts only.
fn document(block: &Fields<'_>) -> Result<String, ApiError> {
    refuse_citations(block)?;
    let source = block.object("source")?;
    let source = source.ok_or_else(|| missing(block.path("source")))?;
    let text = match source.str("type")?.unwrap_or_default() {
        "text" => string(&source, "data")?.to_owned(),
        "content" => texts(required(&source, "content")?, &source.path("content"))?,
        _ => {
            let path = source.path("type");
            let message = format!("`{path}`: only texts are read; send the text of the document");
            return Err(ApiError::unsupported(path, message));
        }
    };
    let mut all = String::new();
    for name in ["title", "context"] {
        join(&mut all, block.str(name)?.unwrap_or_default());
    }
    join(&mut all, &text);
    Ok(all)
}

/// What a search found: where, and what.
fn search_result(block: &Fields<'_>) -> Result<String, ApiError> {
    refuse_citations(block)?;
    let mut all = String::new();
    for name in ["title", "source"] {
        join(&mut all, block.str(name)?.unwrap_or_default());
    }
    let content = required(block, "content")?;
    join(&mut all, &texts(content, &block.path("content"))?);
    Ok(all)
}

fn refuse_citations(block: &Fields<'_>) -> Result<(), ApiError> {
    let off = |v: &Value| v.get("enabled").and_then(Value::as_bool) == Some(false);
    block.refuse("citations", off, "answers do not cite; leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Vec<Message>, String> {
        let read = Turns::read(&Fields::of_body(&body).unwrap());
        read.map_err(|e| e.param.unwrap())
    }

    #[test]
    fn turns_become_messages() {
        let body = json!({
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                       {"type": "text", "text": "Be kind."}],
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "user", "content": [{"type": "text", "text": "How warm is it?"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "I look.", "signature": "s"},
                    {"type": "text", "text": "One moment."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
                    {"type": "tool_use", "id": "t2", "name": "clock", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "12"}]},
                    {"type": "tool_result", "tool_use_id": "t2", "content": "broken", "is_error": true},
                    {"type": "text", "text": "Well?"}]},
            ],
        });
        let messages = read(body).unwrap();
        let shown: Vec<(Role, &str)> = messages
            .iter()
            .map(|m| (m.role, m.content.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (Role::System, "Be brief.\nBe kind."),
                (Role::User, "Hi\nHow warm is it?"),
                (Role::Assistant, "One moment."),
                (Role::Tool, "12"),
                (Role::Tool, "Error: broken"),
                (Role::User, "Well?"),
            ]
        );
        assert_eq!(messages[2].reasoning.as_deref(), Some("I look."));
        assert_eq!(messages[2].calls[0].arguments, "{\"city\":\"Bern\"}");
        assert_eq!(messages[2].calls[1].arguments, "{}");
        assert_eq!(messages[3].call_id.as_deref(), Some("t1"));
    }

    #[test]
    fn blocks_stay_apart_and_documents_are_texts() {
        let body = json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "Tell me "}, {"type": "text", "text": "of this:"},
            {"type": "document", "title": "Foxes", "source":
                {"type": "text", "media_type": "text/plain", "data": "They are red."}},
            {"type": "search_result", "source": "a.b", "title": "T", "content": [{"type": "text", "text": "x"}]},
        ]}]});
        assert_eq!(
            read(body).unwrap()[0].content,
            "Tell me of this:\nFoxes\nThey are red.\nT\na.b\nx"
        );
    }

    #[test]
    fn what_is_not_read_is_named_by_its_place() {
        let user = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
        let assistant =
            |block: Value| json!({"messages": [{"role": "assistant", "content": [block]}]});
        let at = "messages[0].content[0]";
        let cases = [
            (json!({}), "messages".to_owned()),
            (json!({"messages": []}), "messages".into()),
            (
                json!({"messages": [{"role": "judge", "content": "x"}]}),
                "messages[0].role".into(),
            ),
            (
                json!({"messages": [{"role": "user"}]}),
                "messages[0].content".into(),
            ),
            (
                json!({"messages": [{"role": "user", "content": 7}]}),
                "messages[0].content".into(),
            ),
            (
                json!({"system": 7, "messages": [{"role": "user", "content": "x"}]}),
                "system".into(),
            ),
            (
                user(json!({"type": "image", "source": {}})),
                format!("{at}.type"),
            ),
            (
                user(json!({"type": "thinking", "thinking": "x"})),
                format!("{at}.type"),
            ),
            (
                user(json!({"type": "tool_result"})),
                format!("{at}.tool_use_id"),
            ),
            (
                user(
                    json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}),
                ),
                format!("{at}.content[0].type"),
            ),
            (
                user(json!({"type": "document", "source": {"type": "base64"}})),
                format!("{at}.source.type"),
            ),
            (
                user(json!({"type": "document", "citations": {"enabled": true}, "source": {}})),
                format!("{at}.citations"),
            ),
            (
                assistant(json!({"type": "redacted_thinking", "data": "x"})),
                format!("{at}.type"),
            ),
            (
                assistant(json!({"type": "tool_use", "id": "a", "input": {}})),
                format!("{at}.name"),
            ),
            (
                assistant(json!({"type": "server_tool_use"})),
                format!("{at}.type"),
            ),
            (user(json!("Hi")), at.to_owned()),
        ];
        for (body, want) in cases {
            assert_eq!(read(body.clone()), Err(want), "{body}");
        }
    }
}
