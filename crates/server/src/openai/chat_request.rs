//! `POST /v1/chat/completions`, as it is asked.
//!
//! Fields that nobody knows are tolerated; a field that is known and asks for what is not done here
//! is refused by name. Those that say only who asks (`user`, `metadata`, `safety_identifier`,
//! `prompt_cache_key`) change nothing anywhere.

use super::messages::messages;
use super::sampling::{MAX_TOP, Wants, wants};
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use serde_json::{Map, Value};

/// A conversation to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// Which model; none: the only one.
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<Value>,
    /// None where there are none, or none may be called.
    pub(crate) tools: Option<Vec<Value>>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) wants: Wants,
    pub(crate) reasoning_effort: Option<String>,
    /// Switches of the template.
    pub(crate) variables: Map<String, Value>,
}

/// Names that a request may not give to its template.
const RESERVED: [&str; 8] = [
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "bos_token",
    "eos_token",
    "raise_exception",
    "strftime_now",
];

impl ChatRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        refuse_what_is_not_done(&fields)?;
        let mut wants = wants(&fields)?;
        let top = fields.u32("top_logprobs", 0, MAX_TOP)?;
        wants.sampling.logprobs = match (fields.bool("logprobs")?.unwrap_or(false), top) {
            (true, top) => Some(top.unwrap_or(0)),
            (false, None | Some(0)) => None,
            (false, Some(_)) => {
                let message = "`top_logprobs` needs `logprobs` to be true";
                return Err(ApiError::invalid("top_logprobs", message));
            }
        };
        Ok(Self {
            model: fields.str("model")?.map(str::to_owned),
            messages: messages(&fields)?,
            tools: tools(&fields)?,
            max_tokens: max_tokens(&fields)?,
            wants,
            reasoning_effort: fields.str("reasoning_effort")?.map(str::to_owned),
            variables: variables(&fields)?,
        })
    }
}

fn max_tokens(fields: &Fields<'_>) -> Result<Option<u32>, ApiError> {
    let old = fields.u32("max_tokens", 1, u32::MAX)?;
    let new = fields.u32("max_completion_tokens", 1, u32::MAX)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(ApiError::invalid(
            "max_completion_tokens",
            "`max_tokens` and `max_completion_tokens` are two names of the same; give one",
        )),
        _ => Ok(new.or(old)),
    }
}

fn refuse_what_is_not_done(fields: &Fields<'_>) -> Result<(), ApiError> {
    let never = |_: &Value| false;
    let no = |v: &Value| v.as_bool() == Some(false);
    fields.refuse("audio", never, "there is no audio")?;
    let text = |v: &Value| v.as_array().is_some_and(|m| m.iter().all(|m| m == "text"));
    fields.refuse("modalities", text, "answers are text only")?;
    fields.refuse("functions", never, "use `tools`")?;
    fields.refuse("function_call", never, "use `tool_choice`")?;
    fields.refuse("prediction", never, "predicted outputs are not used")?;
    fields.refuse(
        "web_search_options",
        never,
        "this server reaches no network",
    )?;
    fields.refuse("store", no, "answers are not stored")?;
    let medium = |v: &Value| v.as_str() == Some("medium");
    fields.refuse(
        "verbosity",
        medium,
        "say in the prompt how long the answer should be",
    )?;
    let yes = |v: &Value| v.as_bool() == Some(true) || fields.get("tools").is_none();
    fields.refuse(
        "parallel_tool_calls",
        yes,
        "how many tools are called cannot be limited yet; leave it out",
    )
}

/// The tools that may be called.
fn tools(fields: &Fields<'_>) -> Result<Option<Vec<Value>>, ApiError> {
    const MAX: usize = 512;
    let tools = fields.list("tools")?.unwrap_or_default();
    if tools.len() > MAX {
        return Err(ApiError::invalid(
            "tools",
            format!("`tools` has more than {MAX}"),
        ));
    }
    for (i, tool) in tools.iter().enumerate() {
        let tool = Fields::at(tool, format!("tools[{i}]"))?;
        tool.refuse("type", |v| v == "function", "only functions can be called")?;
        let named = match tool.object("function")? {
            Some(function) => function.str("name")?.is_some_and(|name| !name.is_empty()),
            None => false,
        };
        if !named {
            let path = tool.path("function.name");
            return Err(ApiError::invalid(&path, format!("`{path}` is missing")));
        }
    }
    let choice = fields.get("tool_choice");
    match choice {
        None => {}
        Some(Value::String(word)) if word == "auto" => {}
        Some(Value::String(word)) if word == "none" => return Ok(None),
        Some(Value::String(word)) if word == "required" => {
            let message = "`tool_choice`: a call cannot be forced yet; use \"auto\" or \"none\"";
            return Err(ApiError::unsupported("tool_choice", message));
        }
        Some(Value::Object(_)) => {
            let message = "`tool_choice`: a call of one tool cannot be forced yet; use \"auto\" and give that tool alone";
            return Err(ApiError::unsupported("tool_choice", message));
        }
        Some(other) => return Err(wrong("tool_choice", "\"auto\" or \"none\"", other)),
    }
    Ok((!tools.is_empty()).then(|| tools.to_vec()))
}

fn variables(fields: &Fields<'_>) -> Result<Map<String, Value>, ApiError> {
    let Some(variables) = fields.object("chat_template_kwargs")? else {
        return Ok(Map::new());
    };
    if let Some(name) = RESERVED
        .iter()
        .find(|name| variables.map().contains_key(**name))
    {
        let path = variables.path(name);
        let message = format!("`{path}` is not for requests to set");
        return Err(ApiError::invalid(path, message));
    }
    Ok(variables.map().clone())
}
