//! Conversations: what was said, and what may be called.

use crate::bounds::MAX_TOOLS;
use crate::error::ApiError;
use ingle_formats::TokenId;
use ingle_gateway::chat::Image;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// What was said so far, and what may be called.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// What was said, in order.
    pub messages: Vec<Message>,
    /// What may be called.
    pub tools: Vec<Tool>,
    /// Whether something is to be called.
    pub tool_choice: ToolChoice,
    /// Only one call in an answer.
    pub one_call: bool,
    /// How the answer begins: the model goes on from there.
    pub prefill: Option<String>,
    /// Tokens of an earlier conversation, which this one follows.
    pub before: Vec<TokenId>,
    /// Switches of the template, by name.
    pub variables: Map<String, Value>,
}

impl Conversation {
    /// Says which tool answers where only the call is named: templates want one or the other.
    pub fn name_answers(&mut self) {
        let mut names: Vec<(String, String)> = Vec::new();
        for message in &mut self.messages {
            let calls = message.calls.iter().filter(|call| !call.id.is_empty());
            names.extend(calls.map(|call| (call.id.clone(), call.name.clone())));
            if message.role == Role::Tool && message.name.is_none() {
                let called = |(id, _): &&(String, String)| Some(id) == message.call_id.as_ref();
                message.name = names
                    .iter()
                    .rev()
                    .find(called)
                    .map(|(_, name)| name.clone());
            }
        }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// The same under the name that some newer templates know.
    Developer,
    /// A person.
    User,
    /// The model.
    Assistant,
    /// What a tool answered.
    Tool,
}

impl Role {
    /// As templates spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// The text; parts of it stand one behind the other.
    pub content: String,
    /// What the model thought before it.
    pub reasoning: Option<String>,
    /// What the model called.
    pub calls: Vec<Call>,
    /// Which call a tool answers.
    pub call_id: Option<String>,
    /// A name: of the tool that answers, or of one speaker among several.
    pub name: Option<String>,
    /// Pictures, which no model here reads: a provider's may.
    pub images: Vec<Picture>,
}

/// A picture in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Bytes of the content that stand before it.
    pub at: usize,
    /// Where in the request it stands, for errors.
    pub path: String,
    /// The picture.
    pub image: Image,
}

impl Message {
    /// A text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            reasoning: None,
            calls: Vec::new(),
            call_id: None,
            name: None,
            images: Vec::new(),
        }
    }

    /// As templates know it.
    pub(super) fn shown(&self, developer_is_known: bool) -> Value {
        let role = match self.role {
            Role::Developer if !developer_is_known => Role::System,
            role => role,
        };
        let mut shown = Map::new();
        shown.insert("role".into(), role.word().into());
        shown.insert("content".into(), self.content.as_str().into());
        if !self.calls.is_empty() {
            let calls: Vec<Value> = self.calls.iter().map(Call::shown).collect();
            shown.insert("tool_calls".into(), calls.into());
        }
        for (name, text) in [
            ("name", &self.name),
            ("tool_call_id", &self.call_id),
            ("reasoning_content", &self.reasoning),
        ] {
            if let Some(text) = text {
                shown.insert(name.into(), text.as_str().into());
            }
        }
        Value::Object(shown)
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What its answer refers to.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

impl Call {
    /// Templates want the arguments as an object.
    fn shown(&self) -> Value {
        let arguments = match serde_json::from_str(&self.arguments) {
            Ok(object @ Value::Object(_)) => object,
            _ if self.arguments.is_empty() => json!({}),
            _ => Value::from(self.arguments.as_str()),
        };
        json!({
            "id": self.id, "type": "function",
            "function": { "name": self.name, "arguments": arguments },
        })
    }
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// What the model calls it.
    pub name: String,
    /// A JSON schema of its arguments; none: an object of any kind.
    pub parameters: Option<Value>,
    /// Whether parameters that cannot be kept to whole are refused; else calls are kept to what of them can
    /// be.
    pub strict: bool,
    /// As templates know it: `{"type": "function", "function": {...}}`.
    pub shown: Value,
}

impl Tool {
    /// A function of this name.
    pub fn new(name: &str, description: Option<&str>, parameters: Option<Value>) -> Self {
        let mut function = Map::new();
        function.insert("name".into(), name.into());
        if let Some(description) = description {
            function.insert("description".into(), description.into());
        }
        if let Some(parameters) = &parameters {
            function.insert("parameters".into(), parameters.clone());
        }
        Self {
            name: name.to_owned(),
            parameters,
            strict: false,
            shown: json!({ "type": "function", "function": function }),
        }
    }
}

/// Whether these can be offered together.
///
/// # Errors
/// 400: there are too many, those in namespaces counted, or two of one name, which an answer could not tell apart.
pub fn check_tools(tools: &[Tool]) -> Result<(), ApiError> {
    if tools.len() > MAX_TOOLS {
        let message = format!("`tools` has more than {MAX_TOOLS}, those in namespaces counted");
        return Err(ApiError::invalid("tools", message));
    }
    let mut names = HashSet::new();
    if let Some(again) = tools.iter().find(|tool| !names.insert(tool.name.as_str())) {
        // No more of a name than a message should hold.
        let name: String = again.name.chars().take(64).collect();
        let message = format!("`tools`: two tools have the name {name}");
        return Err(ApiError::invalid("tools", message));
    }
    Ok(())
}

/// Whether something is to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// Nothing is called.
    None,
    /// Something is called.
    Required,
    /// This tool is called.
    Named(String),
}
