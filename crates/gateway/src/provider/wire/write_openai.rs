//! A request as OpenAI's chat completions have it (API reference, "Create chat completion"), with what
//! vLLM and Ingle add.

use serde_json::{Map, Value, json};

use crate::chat::{Format, Image, Message, Part, Request, Role, Tool, ToolCall, ToolChoice};
use crate::provider::Misfit;
use crate::provider::settings::{Dialect, LimitField, Provider, RemoteModel, Thinking};

/// Stop texts that OpenAI takes.
const MOST_STOPS: usize = 4;

pub(super) fn body(
    provider: &Provider,
    model: &RemoteModel,
    request: &Request,
    limit: u32,
) -> Result<Value, Misfit> {
    let own = provider.dialect().is_own();
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("model", model.name.as_str().into());
    let messages = request.messages.iter().map(|m| message(m, own));
    let mut messages = messages.collect::<Result<Vec<_>, _>>()?;
    if let Some(prefill) = &request.prefill {
        if provider.dialect() != Dialect::Vllm {
            return Err(Misfit::Dialect("the beginning of the answer is given"));
        }
        messages.push(json!({ "role": "assistant", "content": prefill }));
        put("continue_final_message", true.into());
        put("add_generation_prompt", false.into());
    }
    put("messages", messages.into());
    let field = match provider.limit_field() {
        LimitField::MaxCompletionTokens => "max_completion_tokens",
        LimitField::MaxTokens => "max_tokens",
    };
    put(field, limit.into());
    if provider.settings.stream {
        put("stream", true.into());
        put("stream_options", json!({ "include_usage": true }));
    }
    if !request.tools.is_empty() {
        put("tools", request.tools.iter().map(tool).collect());
        put("tool_choice", choice(&request.tool_choice));
        if request.one_call {
            put("parallel_tool_calls", false.into());
        }
    }
    if let Some(format) = format(&request.format) {
        put("response_format", format);
    }
    if request.stop.len() > MOST_STOPS && !own {
        return Err(Misfit::Dialect("there are more than four stop texts"));
    }
    if !request.stop.is_empty() {
        put("stop", request.stop.clone().into());
    }
    sampling(request, own, &mut put);
    thinking(provider.dialect(), model, request, &mut put);
    Ok(Value::Object(body))
}

fn sampling(request: &Request, own: bool, put: &mut impl FnMut(&str, Value)) {
    let sampling = &request.sampling;
    // Some models refuse every word of these, also the one that changes nothing: elsewhere it need not be said.
    for (name, number, nothing) in [
        ("temperature", sampling.temperature, None),
        ("top_p", sampling.top_p, Some(1.0)),
        ("presence_penalty", sampling.presence_penalty, Some(0.0)),
        ("frequency_penalty", sampling.frequency_penalty, Some(0.0)),
    ] {
        if let Some(number) = number.filter(|number| own || Some(*number) != nothing) {
            put(name, number.into());
        }
    }
    if let Some(seed) = sampling.seed {
        // A signed number there.
        put("seed", (seed & (u64::MAX >> 1)).into());
    }
    if let (Some(top_k), true) = (sampling.top_k, own) {
        put("top_k", top_k.into());
    }
}

fn thinking(
    dialect: Dialect,
    model: &RemoteModel,
    request: &Request,
    put: &mut impl FnMut(&str, Value),
) {
    let reasoning = &request.reasoning;
    if model.thinking == Thinking::No {
        return;
    }
    if dialect.is_own()
        && let Some(on) = reasoning.on
    {
        put("chat_template_kwargs", json!({ "enable_thinking": on }));
    }
    if let (Dialect::Ingle, Some(budget)) = (dialect, reasoning.budget) {
        put("reasoning_budget", budget.into());
    }
    let by_budget = |budget: u32| match budget {
        0..=2048 => "low",
        2049..=8192 => "medium",
        _ => "high",
    };
    let effort = match (&reasoning.effort, reasoning.on, reasoning.budget) {
        (Some(effort), ..) => Some(effort.as_str()),
        (None, Some(false), _) if dialect == Dialect::OpenAi => Some("none"),
        (None, _, Some(budget)) if dialect != Dialect::Ingle => Some(by_budget(budget)),
        _ => None,
    };
    if let Some(effort) = effort {
        put("reasoning_effort", effort.into());
    }
}

fn message(message: &Message, own: bool) -> Result<Value, Misfit> {
    let mut shown = Map::new();
    shown.insert("role".into(), message.role.word().into());
    shown.insert("content".into(), content(message)?);
    // Elsewhere a name is no more than a comment, and some characters are refused in it.
    if let (Some(name), true) = (&message.name, message.role != Role::Tool)
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    {
        shown.insert("name".into(), name.as_str().into());
    }
    if !message.calls.is_empty() {
        shown.insert(
            "tool_calls".into(),
            message.calls.iter().map(call).collect(),
        );
    }
    if let (Some(reasoning), true) = (&message.reasoning, own) {
        shown.insert("reasoning_content".into(), reasoning.as_str().into());
    }
    if let Some(id) = &message.call_id {
        shown.insert("tool_call_id".into(), id.as_str().into());
    }
    Ok(Value::Object(shown))
}

fn content(message: &Message) -> Result<Value, Misfit> {
    let has_image = message
        .parts
        .iter()
        .any(|part| matches!(part, Part::Image(_)));
    if !has_image {
        let text = message.content();
        return Ok(match text.is_empty() && !message.calls.is_empty() {
            true => Value::Null,
            false => text.into(),
        });
    }
    if message.role != Role::User {
        return Err(Misfit::Dialect(
            "there is an image outside the user's messages",
        ));
    }
    let part = |part: &Part| match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image(image) => json!({ "type": "image_url", "image_url": { "url": url(image) } }),
    };
    Ok(message.parts.iter().map(part).collect())
}

fn url(image: &Image) -> String {
    match image {
        Image::Url(url) => url.clone(),
        Image::Inline { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
    }
}

fn call(call: &ToolCall) -> Value {
    let arguments = match call.arguments.is_empty() {
        true => "{}",
        false => call.arguments.as_str(),
    };
    json!({
        "id": call.id, "type": "function",
        "function": { "name": call.name, "arguments": arguments },
    })
}

fn tool(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    if let Some(description) = &tool.description {
        function.insert("description".into(), description.as_str().into());
    }
    if let Some(parameters) = &tool.parameters {
        function.insert("parameters".into(), parameters.clone());
    }
    if tool.strict {
        function.insert("strict".into(), true.into());
    }
    json!({ "type": "function", "function": function })
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn format(format: &Format) -> Option<Value> {
    match format {
        Format::Text => None,
        Format::JsonObject => Some(json!({ "type": "json_object" })),
        Format::JsonSchema(schema) => Some(json!({
            "type": "json_schema",
            "json_schema": { "name": "answer", "strict": true, "schema": schema },
        })),
    }
}
