//! `POST /v1/messages`, as it is asked.
//!
//! Fields that nobody knows are tolerated; one that is known and asks for what is not done here is
//! refused by name. `metadata` says only who asks, and changes nothing anywhere.

use super::content::Turns;
use super::tools::{choice, tools};
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::talk::read::{self, route, stop};
use crate::talk::{Conversation, Form, Message, Reasoning, Role};
use ingle_engine::sampler::Sampling;
use ingle_gateway::decide::Asked;
use serde_json::Value;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagesRequest {
    /// The model, as the client calls it.
    pub(super) model: String,
    pub(super) conversation: Conversation,
    pub(super) max_tokens: Option<u32>,
    pub(super) sampling: Sampling,
    /// Whether a seed was given, which a preset may.
    pub(super) seeded: bool,
    /// Fields of sampling that the request has itself.
    pub(super) said: Vec<&'static str>,
    pub(super) stop: Vec<String>,
    pub(super) form: Form,
    pub(super) reasoning: Reasoning,
    /// What the model thinks is not told.
    pub(super) hides_thinking: bool,
    /// The answer comes in events.
    pub(super) stream: bool,
    /// Where it is to be answered.
    pub(super) route: Option<Asked>,
}

impl MessagesRequest {
    /// Reads the body of `/v1/messages`.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let request = Self::parse_to_count(body)?;
        if request.max_tokens.is_none() {
            let message = "`max_tokens` is missing: say how many tokens the answer may have";
            return Err(ApiError::invalid("max_tokens", message));
        }
        Ok(request)
    }

    /// Reads the body of `/v1/messages/count_tokens`, which is the same without `max_tokens`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_to_count(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        refuse_what_is_not_done(&fields)?;
        let max_tokens = fields.u32("max_tokens", 1, u32::MAX)?;
        let output = Output::read(&fields)?;
        let (reasoning, hides_thinking) = thinking(&fields, max_tokens, output.effort)?;
        // A preset says more than this dialect knows.
        let (sampling, seeded) = read::sampling(&fields, Sampling::default())?;
        let model = fields.str("model")?.filter(|name| !name.is_empty());
        let missing = || ApiError::invalid("model", "`model` is missing");
        let conversation = conversation(&fields)?;
        if conversation.prefill.is_some() {
            nothing_before_it(&reasoning, &output.form)?;
        }
        Ok(Self {
            model: model.ok_or_else(missing)?.to_owned(),
            conversation,
            max_tokens,
            sampling,
            seeded,
            said: read::said(&fields),
            stop: stop_sequences(&fields)?,
            form: output.form,
            reasoning,
            hides_thinking,
            stream: fields.bool("stream")?.unwrap_or(false),
            route: route(&fields)?,
        })
    }
}

fn refuse_what_is_not_done(fields: &Fields<'_>) -> Result<(), ApiError> {
    let never = |_: &Value| false;
    fields.refuse("container", never, "there are no containers here")?;
    fields.refuse("inference_geo", never, "answers are made on this machine")?;
    let none = |v: &Value| v.as_array().is_some_and(Vec::is_empty);
    fields.refuse("mcp_servers", none, "this server calls no other one")?;
    let usual = |v: &Value| matches!(v.as_str(), Some("auto" | "standard_only"));
    fields.refuse(
        "service_tier",
        usual,
        "there is one tier here: leave it out",
    )?;
    let standard = |v: &Value| v.as_str() == Some("standard");
    fields.refuse("speed", standard, "there is one speed here: leave it out")?;
    let empty = |v: &Value| v.get("previous_message_id").is_none_or(Value::is_null);
    fields.refuse(
        "diagnostics",
        empty,
        "requests are not remembered to be compared",
    )?;
    let nothing_is_cut = |v: &Value| {
        let edits = v.get("edits").and_then(Value::as_array);
        edits.is_none_or(|edits| {
            edits
                .iter()
                .all(|edit| edit.get("keep") == Some(&"all".into()))
        })
    };
    fields.refuse(
        "context_management",
        nothing_is_cut,
        "nothing is cut from a conversation here",
    )?;
    if let Some(metadata) = fields.object("metadata")? {
        metadata.str("user_id")?;
    }
    Ok(())
}

/// The answer has begun already: nothing is thought before it, and what follows is no JSON of its own.
fn nothing_before_it(reasoning: &Reasoning, form: &Form) -> Result<(), ApiError> {
    let param = match (reasoning.on, form) {
        (Some(true), _) => "thinking",
        (_, Form::Text) => return Ok(()),
        _ => "output_config.format",
    };
    let message = format!(
        "`{param}` does not go with a last turn of the assistant, which its answer goes on with; leave one out"
    );
    Err(ApiError::invalid(param, message))
}

/// What was said. A last turn of the assistant is how its answer begins.
fn conversation(fields: &Fields<'_>) -> Result<Conversation, ApiError> {
    let tools = tools(fields)?;
    let (tool_choice, one_call) = choice(fields, &tools)?;
    let mut conversation = Conversation {
        messages: Turns::read(fields)?,
        tools,
        tool_choice,
        one_call,
        ..Conversation::default()
    };
    conversation.name_answers();
    let goes_on = |last: &mut Message| last.role == Role::Assistant && last.calls.is_empty();
    let last = conversation.messages.pop_if(goes_on);
    conversation.prefill = last
        .map(|last| last.content)
        .filter(|text| !text.is_empty());
    Ok(conversation)
}

fn stop_sequences(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    match fields.list("stop_sequences")? {
        None => Ok(Vec::new()),
        Some(_) => stop(fields, "stop_sequences"),
    }
}

/// What the answer must look like, and how hard the model is to try.
struct Output {
    form: Form,
    effort: Option<String>,
}

impl Output {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let mut output = Self {
            form: Form::Text,
            effort: None,
        };
        // An older name of `output_config.format`.
        if let Some(format) = fields.object("output_format")? {
            output.form = schema(&format)?;
        }
        if let Some(config) = fields.object("output_config")? {
            if let Some(format) = config.object("format")? {
                if output.form != Form::Text {
                    let message =
                        "`output_format` is an older name of `output_config.format`; give one";
                    return Err(ApiError::invalid("output_format", message));
                }
                output.form = schema(&format)?;
            }
            output.effort = match config.str("effort")? {
                Some(word @ ("low" | "medium" | "high" | "xhigh" | "max")) => Some(word.to_owned()),
                None => None,
                Some(_) => {
                    let path = config.path("effort");
                    let message = format!("`{path}` must be low, medium, high, xhigh or max");
                    return Err(ApiError::invalid(path, message));
                }
            };
            config.refuse("task_budget", |_| false, "give `max_tokens` instead")?;
        }
        Ok(output)
    }
}

fn schema(format: &Fields<'_>) -> Result<Form, ApiError> {
    format.refuse("type", |v| v == "json_schema", "only json_schema is known")?;
    let schema = format.object("schema")?.ok_or_else(|| {
        let path = format.path("schema");
        ApiError::invalid(&path, format!("`{path}` is missing"))
    })?;
    Ok(Form::JsonSchema(Value::Object(schema.map().clone())))
}

/// Whether and how long the model thinks, and whether that is hidden. It does not where nothing is said
/// of it, if the model can be told so.
fn thinking(
    fields: &Fields<'_>,
    max_tokens: Option<u32>,
    effort: Option<String>,
) -> Result<(Reasoning, bool), ApiError> {
    let mut reasoning = Reasoning {
        effort,
        // What was not asked for in so many words is no fault of the request.
        lenient: true,
        ..Reasoning::default()
    };
    let Some(thinking) = fields.object("thinking")? else {
        reasoning.on = Some(false);
        return Ok((reasoning, false));
    };
    let hidden = match thinking.str("display")? {
        None | Some("summarized") => false,
        Some("omitted") => true,
        Some(_) => {
            let path = thinking.path("display");
            let message = format!("`{path}` must be summarized or omitted");
            return Err(ApiError::invalid(path, message));
        }
    };
    match thinking.str("type")?.unwrap_or_default() {
        "disabled" => {
            reasoning.on = Some(false);
            reasoning.lenient = false;
        }
        "adaptive" => {}
        "enabled" => {
            reasoning.on = Some(true);
            reasoning.lenient = false;
            let path = thinking.path("budget_tokens");
            let budget = thinking.u32("budget_tokens", 1, u32::MAX)?;
            let budget =
                budget.ok_or_else(|| ApiError::invalid(&path, format!("`{path}` is missing")))?;
            if max_tokens.is_some_and(|most| budget >= most) {
                let message = format!("`{path}` must be less than `max_tokens`");
                return Err(ApiError::invalid(path, message));
            }
            reasoning.budget = Some(budget);
        }
        "between_tools" => {
            let path = thinking.path("type");
            let message = format!(
                "`{path}`: where a model thinks cannot be chosen; use enabled, disabled or adaptive"
            );
            return Err(ApiError::unsupported(path, message));
        }
        _ => {
            let path = thinking.path("type");
            let message = format!("`{path}` must be enabled, disabled or adaptive");
            return Err(ApiError::invalid(path, message));
        }
    }
    Ok((reasoning, hidden))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::ToolChoice;
    use proptest::prelude::*;
    use serde_json::json;

    fn with(more: Value) -> Result<MessagesRequest, String> {
        let mut body = json!({
            "model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "Hi"}],
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        MessagesRequest::parse(body.to_string().as_bytes()).map_err(|e| e.param.unwrap())
    }

    #[test]
    fn what_is_asked_is_understood() {
        let plain = with(json!({})).unwrap();
        assert_eq!((plain.max_tokens, plain.stream), (Some(2000), false));
        assert_eq!(
            (plain.reasoning.on, plain.reasoning.lenient),
            (Some(false), true)
        );
        let all = with(json!({
            "system": "Be brief.", "temperature": 0.5, "top_p": 0.9, "top_k": 7, "stream": true,
            "stop_sequences": ["END"], "metadata": {"user_id": "u"}, "service_tier": "auto",
            "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any"}, "betas": ["x"],
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        }))
        .unwrap();
        assert_eq!(all.sampling.top_k, 7);
        assert_eq!(all.said, ["temperature", "top_p", "top_k"]);
        // As a preset says it.
        let house = json!({"temperature": 1.2, "min_p": 0.1, "repeat_penalty": 1.1, "seed": 4});
        let house = with(house).unwrap();
        let s = &house.sampling;
        assert_eq!(
            (s.temperature, s.min_p, s.repetition_penalty),
            (1.2, 0.1, 1.1)
        );
        assert_eq!((house.seeded, s.seed), (true, 4));
        assert_eq!(all.stop, ["END"]);
        assert_eq!(all.reasoning.budget, Some(1024));
        assert_eq!(all.reasoning.effort.as_deref(), Some("low"));
        assert!(all.hides_thinking && all.stream);
        assert_eq!(all.form, Form::JsonSchema(json!({"type": "object"})));
        assert_eq!(all.conversation.tool_choice, ToolChoice::Required);
        let adaptive = with(json!({"thinking": {"type": "adaptive"}})).unwrap();
        assert_eq!(adaptive.reasoning.on, None);
        let begun = json!({"messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is"}]});
        assert_eq!(
            with(begun).unwrap().conversation.prefill.as_deref(),
            Some("It is")
        );
        let count = br#"{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}"#;
        assert_eq!(
            MessagesRequest::parse_to_count(count).unwrap().max_tokens,
            None
        );
    }

    #[test]
    fn an_answer_that_has_begun_has_no_place_for_more() {
        let schema = json!({"type": "json_schema", "schema": {"type": "object"}});
        let said =
            json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is"}]);
        for (name, value, want) in [
            (
                "thinking",
                json!({"type": "enabled", "budget_tokens": 1024}),
                "thinking",
            ),
            (
                "output_config",
                json!({ "format": schema }),
                "output_config.format",
            ),
        ] {
            let body = json!({ "messages": said, name: value });
            assert_eq!(with(body), Err(want.to_owned()));
            assert!(with(json!({ name: value })).is_ok());
        }
        let adaptive = json!({"messages": said, "thinking": {"type": "adaptive"}});
        assert!(with(adaptive).is_ok());
        let twice = json!({"output_format": schema, "output_config": {"format": schema}});
        assert_eq!(with(twice), Err("output_format".to_owned()));
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (more, want) in [
            (json!({"max_tokens": null}), "max_tokens"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"model": ""}), "model"),
            (json!({"temperature": -1}), "temperature"),
            (json!({"mirostat": 1}), "mirostat"),
            (json!({"top_p": -1}), "top_p"),
            (json!({"top_k": -1}), "top_k"),
            (json!({"stop_sequences": "END"}), "stop_sequences"),
            (json!({"stop_sequences": [1]}), "stop_sequences[0]"),
            (json!({"container": "c"}), "container"),
            (json!({"mcp_servers": [{}]}), "mcp_servers"),
            (json!({"service_tier": "priority"}), "service_tier"),
            (json!({"metadata": {"user_id": 7}}), "metadata.user_id"),
            (
                json!({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
                "context_management",
            ),
            (
                json!({"thinking": {"type": "enabled"}}),
                "thinking.budget_tokens",
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}),
                "thinking.budget_tokens",
            ),
            (json!({"thinking": {"type": "always"}}), "thinking.type"),
            (
                json!({"thinking": {"type": "between_tools"}}),
                "thinking.type",
            ),
            (json!({"speed": "fast"}), "speed"),
            (
                json!({"output_config": {"effort": "extreme"}}),
                "output_config.effort",
            ),
            (
                json!({"output_config": {"format": {"type": "xml"}}}),
                "output_config.format.type",
            ),
            (
                json!({"output_format": {"type": "json_schema"}}),
                "output_format.schema",
            ),
        ] {
            assert_eq!(with(more), Err(want.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in ".{0,200}") {
            let _ = MessagesRequest::parse(body.as_bytes());
            let _ = MessagesRequest::parse_to_count(body.as_bytes());
        }
    }
}
