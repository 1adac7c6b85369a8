//! `POST /v1/responses`, as it is asked.

use super::items;
use crate::bounds::MAX_MESSAGES;
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::openai::chat_request::{effort, variables};
use crate::openai::forms::{form, missing, schema};
use crate::openai::tools::{self, Shape};
use crate::talk::read::{self, MAX_TOP};
use crate::talk::{Conversation, Form, Input, Message, Names, Reasoning, Role, Wanted};
use ingle_engine::sampler::Sampling;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the fields are called.
pub(super) const NAMES: Names = Names {
    input: "input",
    form: "text.format",
    effort: "reasoning.effort",
    max_tokens: "max_output_tokens",
    ..Names::PLAIN
};

/// The most pairs of `metadata`, and the longest name and text, as OpenAI has them.
const METADATA: (usize, usize, usize) = (16, 64, 512);

/// What else a response may be asked to tell. What tells of tools that are not here tells nothing.
const INCLUDES: [&str; 8] = [
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
];

/// A response that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponsesRequest {
    /// All but the messages.
    wanted: Wanted,
    conversation: Conversation,
    instructions: Option<String>,
    /// What is new, item by item.
    pub(super) input: Vec<Value>,
    /// The response that it follows.
    pub(super) previous: Option<String>,
    /// Whether it can be asked for again.
    pub(super) store: bool,
    pub(super) stream: bool,
    /// Whether the response shows how probable its tokens were.
    pub(super) logprobs: bool,
    /// What the response repeats of the request.
    pub(super) echo: Map<String, Value>,
    /// Functions of namespaces, by what the model calls them.
    pub(super) spaces: Spaces,
}

/// Namespace and name of a function, by what the model calls it.
pub type Spaces = BTreeMap<String, (String, String)>;

/// Those of `tools`, which have been read.
fn spaces(fields: &Fields<'_>) -> Spaces {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut spaces = Spaces::new();
    let tools = fields.get("tools").and_then(Value::as_array);
    for space in tools.into_iter().flatten() {
        let inner = space.get("tools").and_then(Value::as_array);
        for tool in inner.into_iter().flatten() {
            if let (Some(space), Some(name)) = (text(space, "name"), text(tool, "name")) {
                spaces.insert(tools::spaced(&space, &name), (space, name));
            }
        }
    }
    spaces
}

impl ResponsesRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        refuse_what_is_not_done(&fields)?;
        let mut conversation = Conversation {
            variables: variables(&fields)?,
            ..Conversation::default()
        };
        tools::read(&fields, Shape::Flat, &mut conversation)?;
        let mut wanted = Wanted::new(Input::Texts(Vec::new()));
        // The whole text counts, as OpenAI has it.
        let usual = Sampling {
            penalty_last_n: None,
            ..Sampling::default()
        };
        wanted.usual = usual.clone();
        (wanted.sampling, wanted.seeded) = read::sampling(&fields, usual)?;
        wanted.said = read::said(&fields);
        read::samplers(&fields, &mut wanted.sampling)?;
        wanted.route = read::route(&fields)?;
        wanted.streams = fields.bool("stream")?.unwrap_or(false);
        wanted.previous = fields.str("previous_response_id")?.map(str::to_owned);
        wanted.model = fields.str("model")?.map(str::to_owned);
        wanted.stop = read::stop(&fields, "stop")?;
        wanted.max_tokens = fields.u32("max_output_tokens", 1, u32::MAX)?;
        wanted.form = only_form(&fields)?;
        wanted.reasoning = reasoning(&fields)?;
        let top = fields.u32("top_logprobs", 0, MAX_TOP)?;
        let logprobs = includes(&fields)? || top.is_some_and(|top| top > 0);
        wanted.sampling.logprobs = logprobs.then(|| top.unwrap_or(0));
        let echo = echo(&fields, &wanted)?;
        let request = Self {
            instructions: instructions(&fields)?,
            input: items::list(&fields)?,
            previous: wanted.previous.clone(),
            store: fields.bool("store")?.unwrap_or(true),
            stream: wanted.streams,
            conversation,
            wanted,
            logprobs,
            echo,
            spaces: spaces(&fields),
        };
        // What is wrong with an item is said before anything else is looked for.
        items::messages(&request.input, "input")?;
        Ok(request)
    }

    /// What the engine is asked, after the items that came `before`.
    pub(super) fn wanted(&self, before: &[Value]) -> Result<Wanted, ApiError> {
        let all: Vec<Value> = before.iter().chain(&self.input).cloned().collect();
        let messages = items::messages(&all, "input")?;
        if messages.is_empty() {
            let message = "`input` says nothing: give a text or at least one message";
            return Err(ApiError::invalid("input", message));
        }
        if messages.len() > MAX_MESSAGES {
            let message = format!("the conversation has more than {MAX_MESSAGES} messages");
            return Err(ApiError::invalid("input", message));
        }
        let first = self.instructions.as_ref();
        let first = first.map(|text| Message::new(Role::System, text.as_str()));
        let mut conversation = self.conversation.clone();
        conversation.messages = first.into_iter().chain(messages).collect();
        let mut wanted = self.wanted.clone();
        wanted.input = Input::Chat(conversation);
        Ok(wanted)
    }
}

fn refuse_what_is_not_done(fields: &Fields<'_>) -> Result<(), ApiError> {
    let never = |_: &Value| false;
    let no = |v: &Value| v.as_bool() == Some(false);
    fields.refuse(
        "background",
        no,
        "responses are made while they are asked for",
    )?;
    fields.refuse(
        "conversation",
        never,
        "use `previous_response_id`, or send all items",
    )?;
    fields.refuse("prompt", never, "there are no stored prompts: send `input`")?;
    fields.refuse(
        "context_management",
        never,
        "nothing is cut or summed up here",
    )?;
    let disabled = |v: &Value| v.as_str() == Some("disabled");
    fields.refuse(
        "truncation",
        disabled,
        "nothing is cut silently here: what does not fit is refused",
    )?;
    let usual = |v: &Value| matches!(v.as_str(), Some("auto" | "default"));
    fields.refuse(
        "service_tier",
        usual,
        "there is one tier here: leave it out",
    )?;
    let text = |v: &Value| v.as_array().is_some_and(|m| m.iter().all(|m| m == "text"));
    fields.refuse("modalities", text, "answers are text only")?;
    if let Some(options) = fields.object("stream_options")? {
        options.refuse("include_obfuscation", no, "pieces are not padded")?;
    }
    // What chat completions call otherwise, or have alone.
    for (name, why) in [
        ("messages", "call it `input`"),
        ("max_tokens", "call it `max_output_tokens`"),
        ("max_completion_tokens", "call it `max_output_tokens`"),
        ("reasoning_effort", "call it `reasoning.effort`"),
        ("verbosity", "call it `text.verbosity`"),
    ] {
        fields.refuse(name, never, why)?;
    }
    let one = |v: &Value| v.as_u64() == Some(1);
    fields.refuse("n", one, "a response is one answer")?;
    let ask = "ask for them with `include` and `top_logprobs`";
    fields.refuse("logprobs", no, ask)?;
    // Calls of tools that run here: there are none, so any bound holds.
    fields.u32("max_tool_calls", 0, u32::MAX)?;
    Ok(())
}

/// A text, or a list of messages as texts.
fn instructions(fields: &Fields<'_>) -> Result<Option<String>, ApiError> {
    fields
        .str("instructions")
        .map(|text| text.map(str::to_owned))
}

/// Whether log-probabilities are to be told.
fn includes(fields: &Fields<'_>) -> Result<bool, ApiError> {
    let list = fields.list("include")?.unwrap_or_default();
    for (i, value) in list.iter().enumerate() {
        if !value.as_str().is_some_and(|word| INCLUDES.contains(&word)) {
            let path = format!("include[{i}]");
            let message = format!("`{path}` must be one of {}", INCLUDES.join(", "));
            return Err(ApiError::unsupported(path, message));
        }
    }
    Ok(list
        .iter()
        .any(|word| word == "message.output_text.logprobs"))
}

/// The form, under OpenAI's name or those that other servers have.
fn only_form(fields: &Fields<'_>) -> Result<Form, ApiError> {
    match (text_form(fields)?, form(fields)?) {
        (Form::Text, form) | (form, Form::Text) => Ok(form),
        _ => {
            let message = "`text.format` and another field say what an answer looks like; give one";
            Err(ApiError::invalid("text.format", message))
        }
    }
}

/// `text.format`.
fn text_form(fields: &Fields<'_>) -> Result<Form, ApiError> {
    let Some(text) = fields.object("text")? else {
        return Ok(Form::Text);
    };
    let medium = |v: &Value| v.as_str() == Some("medium");
    text.refuse(
        "verbosity",
        medium,
        "say in the instructions how long the answer should be",
    )?;
    let Some(format) = text.object("format")? else {
        return Ok(Form::Text);
    };
    match format.str("type")?.unwrap_or_default() {
        "text" => Ok(Form::Text),
        "json_object" => Ok(Form::JsonObject),
        "json_schema" => {
            format.bool("strict")?;
            format.str("name")?;
            let schema = schema(&format, "schema")?;
            schema
                .map(Form::JsonSchema)
                .ok_or_else(|| missing(format.path("schema")))
        }
        _ => {
            let path = format.path("type");
            let message = format!("`{path}` must be text, json_object or json_schema");
            Err(ApiError::invalid(path, message))
        }
    }
}

fn reasoning(fields: &Fields<'_>) -> Result<Reasoning, ApiError> {
    let budget = fields.u32("reasoning_budget", 0, u32::MAX)?;
    let Some(reasoning) = fields.object("reasoning")? else {
        return Ok(Reasoning {
            budget,
            ..Reasoning::default()
        });
    };
    for name in ["summary", "generate_summary"] {
        // What the model thinks is told as it is: more than a summary, of whatever kind.
        if let Some(kind) = reasoning.str(name)?
            && !matches!(kind, "auto" | "concise" | "detailed" | "none")
        {
            let path = reasoning.path(name);
            let message = format!("`{path}` must be auto, concise or detailed");
            return Err(ApiError::invalid(path, message));
        }
    }
    Ok(Reasoning {
        budget,
        ..effort(reasoning.str("effort")?, "reasoning.effort")?
    })
}

/// What the response repeats of the request.
fn echo(fields: &Fields<'_>, wanted: &Wanted) -> Result<Map<String, Value>, ApiError> {
    let given = |name: &str, usual: Value| fields.get(name).cloned().unwrap_or(usual);
    let null = || Value::Null;
    let reasoning = json!({ "effort": wanted.reasoning.effort, "summary": null });
    let text = json!({ "format": { "type": "text" }, "verbosity": "medium" });
    // What a number is shown as is what was sent.
    let pairs = [
        ("background", false.into()),
        ("instructions", given("instructions", null())),
        ("max_output_tokens", given("max_output_tokens", null())),
        ("max_tool_calls", given("max_tool_calls", null())),
        ("metadata", metadata(fields)?),
        (
            "parallel_tool_calls",
            given("parallel_tool_calls", true.into()),
        ),
        (
            "previous_response_id",
            given("previous_response_id", null()),
        ),
        ("prompt_cache_key", given("prompt_cache_key", null())),
        ("reasoning", given("reasoning", reasoning)),
        ("safety_identifier", given("safety_identifier", null())),
        ("service_tier", "default".into()),
        ("store", given("store", true.into())),
        ("temperature", given("temperature", 1.0.into())),
        ("text", given("text", text)),
        ("tool_choice", given("tool_choice", "auto".into())),
        ("tools", given("tools", json!([]))),
        ("top_logprobs", given("top_logprobs", 0.into())),
        ("top_p", given("top_p", 1.0.into())),
        ("truncation", "disabled".into()),
        ("user", given("user", null())),
    ];
    Ok(pairs.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
}

/// Texts by name, which mean nothing here and come back with the response.
fn metadata(fields: &Fields<'_>) -> Result<Value, ApiError> {
    let (pairs, name, text) = METADATA;
    let Some(metadata) = fields.object("metadata")? else {
        return Ok(json!({}));
    };
    let fits = |(key, value): (&String, &Value)| {
        key.chars().count() <= name && value.as_str().is_some_and(|v| v.chars().count() <= text)
    };
    if metadata.map().len() > pairs || !metadata.map().iter().all(fits) {
        let what = format!("at most {pairs} texts of {text} characters, by names of {name}");
        let value = fields.get("metadata").unwrap_or(&Value::Null);
        return Err(wrong("metadata", &what, value));
    }
    Ok(Value::Object(metadata.map().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: Value) -> Result<ResponsesRequest, String> {
        let mut body = json!({ "input": "Hi" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        ResponsesRequest::parse(body.to_string().as_bytes()).map_err(|e| e.param.unwrap())
    }

    #[test]
    fn what_other_servers_have_counts_here_too() {
        let more = json!({
            "reasoning_budget": 7, "chat_template_kwargs": {"a": 1}, "guided_choice": ["x", "y"],
            "samplers": ["temperature"], "top_k": 5, "temperature": 1.0,
        });
        let request = read(more).unwrap();
        let wanted = request.wanted(&[]).unwrap();
        assert_eq!(wanted.reasoning.budget, Some(7));
        assert_eq!(wanted.form, Form::Choice(vec!["x".into(), "y".into()]));
        assert_eq!(wanted.sampling.top_k, 0);
        assert_eq!(wanted.said, ["temperature", "top_k"]);
        let Input::Chat(said) = wanted.input else {
            panic!("a conversation");
        };
        assert_eq!(said.variables["a"], 1);
        let json = json!({"format": {"type": "json_object"}});
        for (more, want) in [
            (json!({"max_tokens": 5}), "max_tokens"),
            (json!({"max_completion_tokens": 5}), "max_completion_tokens"),
            (json!({"reasoning_effort": "low"}), "reasoning_effort"),
            (json!({"messages": []}), "messages"),
            (json!({"n": 2}), "n"),
            (json!({"logprobs": true}), "logprobs"),
            (
                json!({"chat_template_kwargs": {"messages": []}}),
                "chat_template_kwargs.messages",
            ),
            (
                json!({"text": json, "response_format": {"type": "json_object"}}),
                "text.format",
            ),
        ] {
            assert_eq!(read(more), Err(want.to_owned()));
        }
        assert!(read(json!({"n": 1, "logprobs": false})).is_ok());
    }

    #[test]
    fn functions_of_a_namespace_are_known_by_both_names() {
        let tool = json!({"type": "function", "name": "stop", "description": "Ends one.",
            "parameters": {"type": "object", "properties": {}}});
        let body = json!({"input": [
            {"role": "user", "content": "Stop it."},
            {"type": "function_call", "call_id": "c", "namespace": "agents", "name": "stop", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "It is over."}],
            "tools": [tool, {"type": "namespace", "name": "agents", "description": "Other agents.", "tools": [tool]}],
            "tool_choice": {"type": "function", "namespace": "agents", "name": "stop"}});
        let request = ResponsesRequest::parse(body.to_string().as_bytes()).unwrap();
        let tools = &request.conversation.tools;
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["stop", "agents__stop"]);
        let shown = &tools[1].shown["function"]["description"];
        assert_eq!(*shown, "Other agents.\nEnds one.");
        let both = ("agents".to_owned(), "stop".to_owned());
        assert_eq!(request.spaces.get("agents__stop"), Some(&both));
        let Input::Chat(said) = request.wanted(&[]).unwrap().input else {
            panic!("a conversation");
        };
        assert_eq!(said.messages[1].calls[0].name, "agents__stop");
        for (tools, want) in [
            (json!([{"type": "namespace"}]), "tools[0].name"),
            (
                json!([{"type": "namespace", "name": "a", "tools": [{"type": "custom", "name": "b"}]}]),
                "tools[0].tools[0].type",
            ),
        ] {
            let body = json!({"input": "Hi", "tools": tools}).to_string();
            let refused = ResponsesRequest::parse(body.as_bytes()).unwrap_err();
            assert_eq!(refused.param.as_deref(), Some(want));
        }
    }
}
