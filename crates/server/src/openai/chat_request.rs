//! `POST /v1/chat/completions`, as it is asked.
//!
//! Fields that nobody knows are tolerated; a field that is known and asks for what is not done here
//! is refused by name. Those that say only who asks (`user`, `metadata`, `safety_identifier`,
//! `prompt_cache_key`) change nothing anywhere.

use super::forms::form;
use super::messages::messages;
use super::sampling::{Sent, common};
use super::tools::{self, Shape};
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::talk::read::{MAX_TOP, limit};
use crate::talk::{Conversation, Input, Names, Reasoning, Wanted};
use serde_json::{Map, Value};

/// What the fields are called.
pub(super) const NAMES: Names = Names {
    input: "messages",
    ..Names::PLAIN
};

/// A conversation to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    pub(super) wanted: Wanted,
    pub(super) sent: Sent,
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
    /// What it asks for, in no dialect's words.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        refuse_what_is_not_done(&fields)?;
        let mut conversation = Conversation {
            messages: messages(&fields)?,
            variables: variables(&fields)?,
            ..Conversation::default()
        };
        tools::read(&fields, Shape::Nested, &mut conversation)?;
        let mut wanted = Wanted::new(Input::Chat(conversation));
        let sent = common(&fields, &mut wanted)?;
        wanted.form = form(&fields)?;
        wanted.sampling.logprobs = logprobs(&fields)?;
        if let Some(limit) = limit(&fields, &["max_tokens", "max_completion_tokens"])? {
            (wanted.max_tokens, wanted.prompt_alone) = (limit.tokens, limit.prompt_alone);
        }
        wanted.reasoning = Reasoning {
            budget: fields.u32("reasoning_budget", 0, u32::MAX)?,
            ..effort(fields.str("reasoning_effort")?, "reasoning_effort")?
        };
        Ok(Self { wanted, sent })
    }
}

/// OpenAI's words for how hard a model thinks.
pub(super) fn effort(word: Option<&str>, path: &str) -> Result<Reasoning, ApiError> {
    let Some(word) = word else {
        return Ok(Reasoning::default());
    };
    match word {
        "none" => Ok(Reasoning {
            on: Some(false),
            ..Reasoning::default()
        }),
        "minimal" | "low" | "medium" | "high" | "xhigh" | "max" => Ok(Reasoning {
            effort: Some(word.to_owned()),
            ..Reasoning::default()
        }),
        _ => {
            let message =
                format!("`{path}` must be none, minimal, low, medium, high, xhigh or max");
            Err(ApiError::invalid(path, message))
        }
    }
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<u32>, ApiError> {
    let top = fields.u32("top_logprobs", 0, MAX_TOP)?;
    match (fields.bool("logprobs")?.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            let message = "`top_logprobs` needs `logprobs` to be true";
            Err(ApiError::invalid("top_logprobs", message))
        }
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
    fields.refuse(
        "store",
        no,
        "chat completions are not stored; /v1/responses are",
    )?;
    // What llama.cpp and vLLM know beside it.
    let apart = |v: &Value| matches!(v.as_str(), Some("auto" | "deepseek"));
    fields.refuse(
        "reasoning_format",
        apart,
        "what the model thinks is always told apart, as `reasoning_content`",
    )?;
    let yes = |v: &Value| v.as_bool() == Some(true);
    let last =
        "the last message is over, and an answer follows; /v1/completions goes on with a text";
    fields.refuse("add_generation_prompt", yes, last)?;
    fields.refuse("continue_final_message", no, last)?;
    let medium = |v: &Value| v.as_str() == Some("medium");
    fields.refuse(
        "verbosity",
        medium,
        "say in the prompt how long the answer should be",
    )
}

/// `chat_template_kwargs`: switches of the template.
pub(super) fn variables(fields: &Fields<'_>) -> Result<Map<String, Value>, ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(more: Value) -> Result<ChatRequest, String> {
        let mut body = json!({ "messages": [{"role": "user", "content": "Hi"}] });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        ChatRequest::parse(body.to_string().as_bytes()).map_err(|e| e.param.unwrap())
    }

    fn shown(detail: &str) -> Value {
        let url = json!({"url": "https://a.example/x.png", "detail": detail});
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": url}]}])
    }

    #[test]
    fn a_length_of_minus_one_is_no_limit() {
        for name in ["max_tokens", "max_completion_tokens", "n_predict"] {
            let limit = |n: i64| with(json!({ name: n })).map(|request| request.wanted.max_tokens);
            assert_eq!((limit(-1), limit(7)), (Ok(None), Ok(Some(7))), "{name}");
            assert_eq!(limit(-3), Err(name.into()));
        }
        let both = json!({"max_tokens": -1, "max_completion_tokens": 7});
        assert_eq!(with(both).map(|_| ()), Err("max_completion_tokens".into()));
    }

    #[test]
    fn what_other_servers_have_is_refused_by_name_where_it_is_not_done() {
        for (more, want) in [
            (json!({"top_n_sigma": 1.0}), "top_n_sigma"),
            (json!({"min_keep": 5}), "min_keep"),
            (json!({"ignore_eos": true}), "ignore_eos"),
            (json!({"lora": [{"id": 0, "scale": 1}]}), "lora"),
            (json!({"reasoning_format": "none"}), "reasoning_format"),
            (
                json!({"add_generation_prompt": false}),
                "add_generation_prompt",
            ),
            (
                json!({"continue_final_message": true}),
                "continue_final_message",
            ),
            (
                json!({ "messages": shown("low") }),
                "messages[0].content[0].image_url.detail",
            ),
        ] {
            assert_eq!(with(more), Err(want.to_owned()));
        }
        let nothing = json!({
            "top_n_sigma": -1, "min_keep": 0, "ignore_eos": false, "lora": [], "reasoning_format": "auto",
            "add_generation_prompt": true, "continue_final_message": false, "messages": shown("auto"),
        });
        assert!(with(nothing).is_ok());
    }
}
