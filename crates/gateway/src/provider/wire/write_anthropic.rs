//! A request as Anthropic's messages have it (API reference, "Create a message").

use serde_json::{Map, Value, json};

use crate::chat::{Format, Image, Message, Part, Request, Role, Tool, ToolCall, ToolChoice};
use crate::provider::Misfit;
use crate::provider::settings::{Provider, RemoteModel, Thinking};

/// The fewest tokens of thinking that can be asked for.
const LEAST_BUDGET: u32 = 1024;

pub(super) fn body(
    provider: &Provider,
    model: &RemoteModel,
    request: &Request,
    limit: u32,
) -> Result<Value, Misfit> {
    let cache = provider.settings.prompt_cache;
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("model", model.name.as_str().into());
    put("max_tokens", limit.into());
    put("messages", turns(request, cache)?.into());
    let system = system(request, cache);
    if !system.is_empty() {
        put("system", system.into());
    }
    if provider.settings.stream {
        put("stream", true.into());
    }
    if !request.tools.is_empty() {
        put("tools", request.tools.iter().map(tool).collect());
        put(
            "tool_choice",
            choice(&request.tool_choice, request.one_call),
        );
    }
    if !request.stop.is_empty() {
        put("stop_sequences", request.stop.clone().into());
    }
    let mut output = Map::new();
    match &request.format {
        Format::Text => {}
        Format::JsonObject => return Err(Misfit::Dialect("any JSON object is asked for")),
        Format::JsonSchema(schema) => {
            let format = json!({ "type": "json_schema", "schema": schema });
            output.insert("format".into(), format);
        }
    }
    let thinks = thinking(model, request, limit, &mut output);
    if let Some(thinking) = &thinks {
        put("thinking", thinking.clone());
    } else {
        sampling(request, &mut put)?;
    }
    if !output.is_empty() {
        put("output_config", output.into());
    }
    Ok(Value::Object(body))
}

fn sampling(request: &Request, put: &mut impl FnMut(&str, Value)) -> Result<(), Misfit> {
    let sampling = &request.sampling;
    // What is usual there need not be said.
    let said = |number: Option<f64>| number.filter(|number| *number != 1.0);
    match (said(sampling.temperature), said(sampling.top_p)) {
        (Some(temperature), _) if temperature > 1.0 => {
            return Err(Misfit::Dialect("a temperature above 1 is asked for"));
        }
        // Newer models want one of the two only.
        (Some(temperature), _) => put("temperature", temperature.into()),
        (None, Some(top_p)) => put("top_p", top_p.into()),
        (None, None) => {}
    }
    if let Some(top_k) = sampling.top_k.filter(|k| *k > 0) {
        put("top_k", top_k.into());
    }
    Ok(())
}

/// How the model is asked to think. Not at all where that is refused: behind a call of which the thoughts
/// are not known any more (they come back sealed, and no client sends them in another dialect), before a
/// tool that must be called, and where the beginning of the answer is given.
fn thinking(
    model: &RemoteModel,
    request: &Request,
    limit: u32,
    output: &mut Map<String, Value>,
) -> Option<Value> {
    let reasoning = &request.reasoning;
    let asked = match reasoning.on {
        Some(on) => on,
        None => reasoning.effort.is_some() || reasoning.budget.is_some(),
    };
    let last = request.messages.iter().rev();
    let called = last.map_while(|message| match message.role {
        Role::Tool => Some(false),
        Role::Assistant => Some(!message.calls.is_empty()),
        Role::System | Role::User => None,
    });
    let forced = matches!(
        request.tool_choice,
        ToolChoice::Required | ToolChoice::Named(_)
    ) && !request.tools.is_empty();
    if !asked || forced || request.prefill.is_some() || called.into_iter().any(|is| is) {
        return None;
    }
    match model.thinking {
        Thinking::No => None,
        Thinking::Effort => {
            if let Some(effort) = &reasoning.effort {
                output.insert("effort".into(), effort.as_str().into());
            }
            Some(json!({ "type": "adaptive" }))
        }
        Thinking::Budget => {
            let usual = match reasoning.effort.as_deref() {
                Some("minimal" | "low") => LEAST_BUDGET,
                Some("medium") | None => 4 * LEAST_BUDGET,
                Some(_) => 16 * LEAST_BUDGET,
            };
            // The answer needs room behind the thoughts.
            let most = limit.saturating_sub(limit / 4);
            let budget = reasoning
                .budget
                .unwrap_or(usual)
                .max(LEAST_BUDGET)
                .min(most);
            (budget >= LEAST_BUDGET).then(|| json!({ "type": "enabled", "budget_tokens": budget }))
        }
    }
}

fn cache_mark() -> Value {
    json!({ "type": "ephemeral" })
}

/// All system texts, wherever they stand: there is one place for them.
fn system(request: &Request, cache: bool) -> Vec<Value> {
    let texts = request.messages.iter().filter(|m| m.role == Role::System);
    let texts = texts
        .map(Message::content)
        .filter(|text| !text.trim().is_empty());
    let mut blocks: Vec<Value> = texts
        .map(|text| json!({ "type": "text", "text": text }))
        .collect();
    if let (Some(Value::Object(last)), true) = (blocks.last_mut(), cache) {
        last.insert("cache_control".into(), cache_mark());
    }
    blocks
}

/// Everything but system texts. Neighbours of one side are one turn: the answers of several tools must
/// be.
fn turns(request: &Request, cache: bool) -> Result<Vec<Value>, Misfit> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    let mut add = |side, blocks: Vec<Value>| match turns.last_mut() {
        _ if blocks.is_empty() => {}
        Some((last, there)) if *last == side => there.extend(blocks),
        _ => turns.push((side, blocks)),
    };
    for message in &request.messages {
        match message.role {
            Role::System => {}
            Role::User => add("user", parts(message)?),
            Role::Tool => add("user", vec![tool_result(message)?]),
            Role::Assistant => {
                let mut blocks = parts(message)?;
                blocks.extend(message.calls.iter().map(call));
                add("assistant", blocks);
            }
        }
    }
    if let Some(prefill) = &request.prefill {
        // White space at its end is refused there.
        let text = prefill.trim_end();
        if text.len() < prefill.len() {
            return Err(Misfit::Dialect(
                "the given beginning of the answer ends in a space",
            ));
        }
        add("assistant", vec![json!({ "type": "text", "text": text })]);
    }
    if turns.is_empty() {
        return Err(Misfit::Dialect("there is nothing but system texts"));
    }
    if let (Some((_, blocks)), true) = (turns.last_mut(), cache)
        && let Some(Value::Object(last)) = blocks.last_mut()
    {
        last.insert("cache_control".into(), cache_mark());
    }
    let shown = turns.into_iter();
    Ok(shown
        .map(|(role, content)| json!({ "role": role, "content": content }))
        .collect())
}

fn parts(message: &Message) -> Result<Vec<Value>, Misfit> {
    let mut blocks = Vec::new();
    for part in &message.parts {
        match part {
            // An empty text is refused there.
            Part::Text(text) if text.trim().is_empty() => {}
            Part::Text(text) => blocks.push(json!({ "type": "text", "text": text })),
            Part::Image(_) if message.role == Role::Assistant => {
                return Err(Misfit::Dialect(
                    "there is an image in an answer of the model",
                ));
            }
            Part::Image(image) => blocks.push(json!({ "type": "image", "source": source(image) })),
        }
    }
    Ok(blocks)
}

fn source(image: &Image) -> Value {
    match image {
        Image::Url(url) => json!({ "type": "url", "url": url }),
        Image::Inline { media_type, base64 } => {
            json!({ "type": "base64", "media_type": media_type, "data": base64 })
        }
    }
}

fn tool_result(message: &Message) -> Result<Value, Misfit> {
    let id = message.call_id.as_deref();
    let id = id.ok_or(Misfit::Dialect(
        "a tool's answer does not say to which call",
    ))?;
    Ok(json!({ "type": "tool_result", "tool_use_id": id, "content": parts(message)? }))
}

fn call(call: &ToolCall) -> Value {
    let input = match serde_json::from_str(&call.arguments) {
        Ok(object @ Value::Object(_)) => object,
        // Only an object can be sent: what the model wrote stays readable in it.
        _ if call.arguments.trim().is_empty() => json!({}),
        _ => json!({ "arguments": call.arguments }),
    };
    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
}

fn tool(tool: &Tool) -> Value {
    let mut shown = Map::new();
    shown.insert("name".into(), tool.name.as_str().into());
    if let Some(description) = &tool.description {
        shown.insert("description".into(), description.as_str().into());
    }
    let schema = tool.parameters.clone();
    let schema = schema.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    shown.insert("input_schema".into(), schema);
    if tool.strict {
        shown.insert("strict".into(), true.into());
    }
    Value::Object(shown)
}

fn choice(choice: &ToolChoice, one_call: bool) -> Value {
    let mut shown = match choice {
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => return json!({ "type": "none" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    };
    if let (Value::Object(shown), true) = (&mut shown, one_call) {
        shown.insert("disable_parallel_tool_use".into(), true.into());
    }
    shown
}
