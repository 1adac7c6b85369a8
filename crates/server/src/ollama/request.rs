//! `POST /api/chat` and `POST /api/generate`, as they are asked.
//!
//! Fields that nobody knows are tolerated; one that is known and asks for what is not done here is
//! refused by name.

use super::keep_alive::KeepAlive;
use super::messages::{conversation, images};
use super::options::Options;
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::talk::read::{route, tokens};
use crate::talk::{Conversation, Form, Infill, Message, Reasoning, Role};
use ingle_formats::TokenId;
use ingle_gateway::decide::Asked;
use serde_json::Value;

/// The most alternatives of a token.
const MAX_TOP: u32 = 20;

/// A request of either kind.
#[derive(Debug, Clone, PartialEq)]
pub struct OllamaRequest {
    /// The model, as the client calls it.
    pub(super) model: String,
    pub(super) input: OllamaInput,
    pub(super) form: Form,
    pub(super) reasoning: Reasoning,
    pub(super) options: Options,
    pub(super) keep_alive: Option<KeepAlive>,
    /// The answer comes in pieces.
    pub(super) stream: bool,
    /// Where it is to be answered.
    pub(super) route: Option<Asked>,
}

/// What is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OllamaInput {
    /// Nothing: the model is to be loaded, or with `keep_alive` 0 unloaded.
    Nothing,
    /// A conversation.
    Chat(Conversation),
    /// The same, behind the tokens of an earlier one.
    After(Vec<TokenId>, Conversation),
    /// A text to go on with.
    Raw(String),
    /// A text with a hole.
    Infill(Infill),
}

impl OllamaRequest {
    /// Reads the body of `/api/chat`.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn chat(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let none = |v: &Value| v.as_array().is_some_and(Vec::is_empty);
        let where_else = "in a conversation images stand in the message that shows them";
        fields.refuse("images", none, where_else)?;
        let conversation = conversation(&fields)?;
        let nothing = conversation.messages.is_empty() && conversation.prefill.is_none();
        let input = match nothing {
            true => OllamaInput::Nothing,
            false => OllamaInput::Chat(conversation),
        };
        Self::read(&fields, input)
    }

    /// Reads the body of `/api/generate`.
    ///
    /// # Errors
    /// As [`Self::chat`].
    pub fn generate(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        Self::read(&fields, generate_input(&fields)?)
    }

    fn read(fields: &Fields<'_>, input: OllamaInput) -> Result<Self, ApiError> {
        refuse_what_is_not_done(fields)?;
        let mut options = Options::read(fields)?;
        let top = fields.u32("top_logprobs", 0, MAX_TOP)?.unwrap_or(0);
        let wanted = fields.bool("logprobs")?.unwrap_or(false);
        if top > 0 && !wanted {
            let message = "`top_logprobs` needs `logprobs` to be true";
            return Err(ApiError::invalid("top_logprobs", message));
        }
        options.sampling.logprobs = wanted.then_some(top);
        Ok(Self {
            model: model(fields)?,
            input,
            form: form(fields)?,
            reasoning: think(fields)?,
            options,
            keep_alive: KeepAlive::read(fields)?,
            stream: fields.bool("stream")?.unwrap_or(true),
            route: route(fields)?,
        })
    }
}

/// The model's name, which stands in every request.
pub(super) fn model(fields: &Fields<'_>) -> Result<String, ApiError> {
    let named = match fields.str("model")? {
        Some(name) if !name.is_empty() => Some(name),
        _ => fields.str("name")?,
    };
    match named {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(ApiError::invalid("model", "`model` is required")),
    }
}

fn refuse_what_is_not_done(fields: &Fields<'_>) -> Result<(), ApiError> {
    let empty = |v: &Value| v.as_str() == Some("");
    fields.refuse(
        "template",
        empty,
        "a template is a program, and only the model's own is run; send `raw` with a text that you made",
    )?;
    let no = |v: &Value| v.as_bool() == Some(false);
    fields.refuse(
        "truncate",
        no,
        "nothing is cut away without being said: a prompt that is too long is refused with the numbers",
    )?;
    fields.refuse(
        "shift",
        no,
        "an answer that fills the context ends with `length`; nothing is cut away to go on",
    )?;
    fields.refuse(
        "_debug_render_only",
        no,
        "POST /apply-template shows the prompt",
    )?;
    let never = |_: &Value| false;
    for name in ["width", "height", "steps"] {
        fields.refuse(name, never, "images are not generated")?;
    }
    Ok(())
}

fn generate_input(fields: &Fields<'_>) -> Result<OllamaInput, ApiError> {
    let text = |name: &str| Ok::<_, ApiError>(fields.str(name)?.unwrap_or_default().to_owned());
    let (prompt, suffix, system) = (text("prompt")?, text("suffix")?, text("system")?);
    let raw = fields.bool("raw")?.unwrap_or(false);
    let context = fields.list("context")?.unwrap_or_default();
    let context = tokens(context, "context")?;
    let images = images(fields, prompt.len())?;
    let clash = |name: &str, with: &str| {
        let message = format!("`{name}` has no place in a request with `{with}`; leave one out");
        Err(ApiError::invalid(name, message))
    };
    for with in [("raw", raw), ("suffix", !suffix.is_empty())] {
        if let (with, true) = with {
            if !system.is_empty() {
                return clash("system", with);
            }
            if !context.is_empty() {
                return clash("context", with);
            }
            if !images.is_empty() {
                return clash("images", with);
            }
            // Only a template says how a model begins to think.
            if fields.get("think").is_some_and(|think| *think != false) {
                return clash("think", with);
            }
        }
    }
    if raw && !suffix.is_empty() {
        return clash("suffix", "raw");
    }
    Ok(
        if prompt.is_empty() && suffix.is_empty() && images.is_empty() {
            OllamaInput::Nothing
        } else if raw {
            OllamaInput::Raw(prompt)
        } else if !suffix.is_empty() {
            OllamaInput::Infill(Infill {
                prefix: prompt,
                suffix,
                ..Infill::default()
            })
        } else {
            let mut messages = Vec::new();
            if !system.is_empty() {
                messages.push(Message::new(Role::System, system));
            }
            let mut message = Message::new(Role::User, prompt);
            message.images = images;
            messages.push(message);
            let conversation = Conversation {
                messages,
                ..Conversation::default()
            };
            match context.is_empty() {
                true => OllamaInput::Chat(conversation),
                false => OllamaInput::After(context, conversation),
            }
        },
    )
}

/// `json`, or a schema.
fn form(fields: &Fields<'_>) -> Result<Form, ApiError> {
    match fields.get("format") {
        None => Ok(Form::Text),
        Some(Value::String(word)) if word.is_empty() => Ok(Form::Text),
        Some(Value::String(word)) if word == "json" => Ok(Form::JsonObject),
        Some(schema @ Value::Object(_)) => Ok(Form::JsonSchema(schema.clone())),
        Some(other) => Err(wrong("format", "\"json\" or a JSON schema", other)),
    }
}

/// Whether, or how hard, the model thinks.
fn think(fields: &Fields<'_>) -> Result<Reasoning, ApiError> {
    let what = "true, false, \"low\", \"medium\", \"high\" or \"max\"";
    let (on, effort) = match fields.get("think") {
        None => (None, None),
        Some(Value::Bool(on)) => (Some(*on), None),
        Some(Value::String(word)) if matches!(word.as_str(), "low" | "medium" | "high" | "max") => {
            (Some(true), Some(word.clone()))
        }
        Some(other) => return Err(wrong("think", what, other)),
    };
    Ok(Reasoning {
        on,
        effort,
        ..Reasoning::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn generate(body: &Value) -> Result<OllamaRequest, String> {
        OllamaRequest::generate(body.to_string().as_bytes()).map_err(|e| e.param.unwrap())
    }

    #[test]
    fn what_generate_is_asked() {
        let with = |more: Value| {
            let mut body = json!({ "model": "m", "prompt": "Hi" });
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            generate(&body)
        };
        let plain = with(json!({})).unwrap();
        assert!(plain.stream && plain.keep_alive.is_none());
        assert!(matches!(&plain.input, OllamaInput::Chat(chat) if chat.messages.len() == 1));
        let system = with(json!({ "system": "Be brief.", "stream": false })).unwrap();
        assert!(matches!(&system.input, OllamaInput::Chat(chat) if chat.messages.len() == 2));
        assert!(!system.stream);
        let raw = with(json!({ "raw": true })).unwrap();
        assert_eq!(raw.input, OllamaInput::Raw("Hi".into()));
        assert!(with(json!({ "raw": true, "think": false })).is_ok());
        let hole = with(json!({ "suffix": "end" })).unwrap();
        assert!(matches!(&hole.input, OllamaInput::Infill(hole) if hole.suffix == "end"));
        let after = with(json!({ "context": [1, 2] })).unwrap();
        assert!(matches!(&after.input, OllamaInput::After(tokens, _) if tokens.len() == 2));
        let nothing = with(json!({ "prompt": "", "keep_alive": 0 })).unwrap();
        assert_eq!(nothing.input, OllamaInput::Nothing);
        assert!(nothing.keep_alive.is_some());
        let think = with(json!({ "think": "high" })).unwrap().reasoning;
        assert_eq!(
            (think.on, think.effort.as_deref()),
            (Some(true), Some("high"))
        );
        assert_eq!(with(json!({ "format": "" })).unwrap().form, Form::Text);
        assert_eq!(
            with(json!({ "format": "json" })).unwrap().form,
            Form::JsonObject
        );
        let schema = json!({ "type": "object" });
        let schemed = with(json!({ "format": schema })).unwrap();
        assert_eq!(schemed.form, Form::JsonSchema(schema));
        let probable = with(json!({ "logprobs": true, "top_logprobs": 3 })).unwrap();
        assert_eq!(probable.options.sampling.logprobs, Some(3));

        let refused = [
            ("model", json!("")),
            ("template", json!("{{ .Prompt }}")),
            ("images", json!(["AA=="])),
            ("truncate", json!(true)),
            ("shift", json!(true)),
            ("think", json!("hard")),
            ("format", json!("xml")),
            ("context", json!(["a"])),
            ("stream", json!("yes")),
            ("keep_alive", json!("soon")),
            ("width", json!(64)),
            ("top_logprobs", json!(2)),
        ];
        for (name, value) in refused {
            assert_eq!(with(json!({ name: value })), Err(name.to_owned()));
        }
        for (more, name) in [
            (json!({ "raw": true, "system": "a" }), "system"),
            (json!({ "raw": true, "context": [1] }), "context"),
            (json!({ "raw": true, "suffix": "a" }), "suffix"),
            (json!({ "suffix": "a", "system": "b" }), "system"),
            (json!({ "raw": true, "think": true }), "think"),
            (json!({ "suffix": "a", "think": "low" }), "think"),
        ] {
            assert_eq!(with(more), Err(name.to_owned()));
        }
    }

    #[test]
    fn a_chat_without_messages_loads_the_model() {
        let read = |body: Value| OllamaRequest::chat(body.to_string().as_bytes()).unwrap();
        assert_eq!(read(json!({ "model": "m" })).input, OllamaInput::Nothing);
        assert_eq!(read(json!({ "name": "m", "messages": [] })).model, "m");
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in ".{0,200}") {
            let _ = OllamaRequest::chat(body.as_bytes());
            let _ = OllamaRequest::generate(body.as_bytes());
        }
    }
}
