//! What may be called, and whether it must be.

use super::forms::missing;
use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::talk::{Conversation, Tool, ToolChoice, check_tools};
use serde_json::Value;

/// The two shapes of OpenAI's tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"type": "function", "function": {"name": ...}}`, as chat completions have it.
    Nested,
    /// `{"type": "function", "name": ...}`, as responses have it.
    Flat,
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls` into a conversation.
pub fn read(
    fields: &Fields<'_>,
    shape: Shape,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    let list = fields.list("tools")?.unwrap_or_default();
    for (i, value) in list.iter().enumerate() {
        let fields = Fields::at(value, format!("tools[{i}]"))?;
        match fields.str("type")? {
            Some("namespace") if shape == Shape::Flat => {
                conversation.tools.extend(namespace(&fields)?);
            }
            _ => conversation.tools.push(tool(&fields, shape)?),
        }
    }
    check_tools(&conversation.tools)?;
    conversation.one_call = fields.bool("parallel_tool_calls")? == Some(false);
    choice(fields, shape, conversation)
}

/// What the model calls a function of a namespace.
pub fn spaced(space: &str, name: &str) -> String {
    format!("{space}__{name}")
}

/// The functions of a namespace; what it is about is said with each.
fn namespace(space: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let name = space.str("name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| missing(space.path("name")))?;
    let about = space.str("description")?.unwrap_or_default();
    let list = space.list("tools")?.unwrap_or_default();
    let one = |(i, value)| {
        let path = format!("{}[{i}]", space.path("tools"));
        let inner = tool(&Fields::at(value, path)?, Shape::Flat)?;
        let description = inner.shown.pointer("/function/description");
        let description = description.and_then(Value::as_str).unwrap_or_default();
        let both = [about, description].map(str::trim);
        let both: Vec<&str> = both.into_iter().filter(|text| !text.is_empty()).collect();
        let both = (!both.is_empty()).then(|| both.join("\n"));
        let named = spaced(name, &inner.name);
        Ok(Tool {
            strict: inner.strict,
            ..Tool::new(&named, both.as_deref(), inner.parameters)
        })
    };
    list.iter().enumerate().map(one).collect()
}

fn tool(tool: &Fields<'_>, shape: Shape) -> Result<Tool, ApiError> {
    let function = |v: &Value| v == "function";
    tool.refuse(
        "type",
        function,
        "only functions can be called here: tools that OpenAI runs itself, and free-form ones, cannot",
    )?;
    let inner = match shape {
        Shape::Flat => tool.clone(),
        Shape::Nested => tool
            .object("function")?
            .ok_or_else(|| missing(tool.path("function")))?,
    };
    let name = inner.str("name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| missing(inner.path("name")))?;
    if name.len() > 256 {
        let path = inner.path("name");
        let message = format!("`{path}` is longer than 256 bytes");
        return Err(ApiError::invalid(path, message));
    }
    let description = inner.str("description")?;
    let strict = inner.bool("strict")?.unwrap_or(false);
    let parameters = match inner.get("parameters") {
        None => None,
        Some(schema @ Value::Object(_)) => Some(schema.clone()),
        Some(other) => return Err(wrong(&inner.path("parameters"), "a JSON schema", other)),
    };
    let mut read = Tool::new(name, description, parameters);
    read.strict = strict;
    if shape == Shape::Nested {
        // To the letter: templates show it, and may know more of it.
        read.shown = Value::Object(tool.map().clone());
        if let Some(shown) = read.shown.as_object_mut() {
            shown.entry("type").or_insert_with(|| "function".into());
        }
    }
    Ok(read)
}

fn choice(
    fields: &Fields<'_>,
    shape: Shape,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    const WORDS: &str = "\"auto\", \"none\", \"required\" or an object that names a tool";
    let word = |word: &str| match word {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" => Some(ToolChoice::Required),
        _ => None,
    };
    let Some(value) = fields.get("tool_choice") else {
        return Ok(());
    };
    let wrong = || wrong("tool_choice", WORDS, value);
    let choice = match value {
        Value::String(text) => word(text).ok_or_else(wrong)?,
        Value::Object(_) => {
            let object = Fields::at(value, "tool_choice".into())?;
            match object.str("type")?.unwrap_or("function") {
                "function" => ToolChoice::Named(named(&object, shape)?),
                "allowed_tools" => {
                    // Chat completions wrap it once more.
                    let inner = object.object("allowed_tools")?.unwrap_or(object);
                    keep_allowed(&inner, shape, conversation)?;
                    let mode = inner.str("mode")?.unwrap_or("auto");
                    word(mode).ok_or_else(wrong)?
                }
                _ => {
                    let message = "`tool_choice.type`: only functions can be called here";
                    return Err(ApiError::unsupported("tool_choice.type", message));
                }
            }
        }
        _ => return Err(wrong()),
    };
    let known = |name: &String| conversation.tools.iter().any(|tool| &tool.name == name);
    match &choice {
        ToolChoice::Named(name) if !known(name) => {
            let message = "`tool_choice` names a tool that is not among `tools`";
            return Err(ApiError::invalid("tool_choice", message));
        }
        ToolChoice::Required if conversation.tools.is_empty() => {
            let message = "`tool_choice` is \"required\", and there are no `tools`";
            return Err(ApiError::invalid("tool_choice", message));
        }
        _ => {}
    }
    conversation.tool_choice = choice;
    Ok(())
}

fn named(object: &Fields<'_>, shape: Shape) -> Result<String, ApiError> {
    let inner = match shape {
        Shape::Flat => object.clone(),
        Shape::Nested => object
            .object("function")?
            .ok_or_else(|| missing(object.path("function")))?,
    };
    let name = inner.str("name")?;
    let name = name.ok_or_else(|| missing(inner.path("name")))?;
    Ok(match inner.str("namespace")? {
        Some(space) if shape == Shape::Flat => spaced(space, name),
        _ => name.to_owned(),
    })
}

/// Leaves the tools that a choice allows.
fn keep_allowed(
    choice: &Fields<'_>,
    shape: Shape,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    let path = choice.path("tools");
    let list = choice.list("tools")?.ok_or_else(|| missing(path.clone()))?;
    let mut names = Vec::new();
    for (i, value) in list.iter().enumerate() {
        let name = named(&Fields::at(value, format!("{path}[{i}]"))?, shape)?;
        if !conversation.tools.iter().any(|tool| tool.name == name) {
            let message = format!("`{path}[{i}]` names a tool that is not among `tools`");
            return Err(ApiError::invalid(format!("{path}[{i}]"), message));
        }
        names.push(name);
    }
    conversation.tools.retain(|tool| names.contains(&tool.name));
    Ok(())
}
