//! A request as a provider could be asked it, and what of it only this machine does.

use super::conversation::{Conversation, Message, Picture, Role, Tool, ToolChoice};
use super::wanted::{Form, Input, Text, Wanted};
use ingle_engine::sampler::Sampling;
use ingle_gateway::chat;
use serde_json::Value;

/// All of a request that would leave if a provider were asked.
pub(super) fn request(id: &str, wanted: &Wanted) -> chat::Request {
    let mut request = chat::Request::new(id, Vec::new());
    request.model.clone_from(&wanted.model);
    request.previous.clone_from(&wanted.previous);
    request.response.clone_from(&wanted.response);
    request.sampling = sampling(wanted);
    request.stop.clone_from(&wanted.stop);
    request.max_tokens = wanted.max_tokens;
    request.reasoning = chat::Reasoning {
        on: wanted.reasoning.on,
        effort: wanted.reasoning.effort.clone(),
        budget: wanted.reasoning.budget,
    };
    request.format = match &wanted.form {
        Form::JsonObject => chat::Format::JsonObject,
        Form::JsonSchema(schema) => chat::Format::JsonSchema(schema.clone()),
        Form::Text | Form::Regex(_) | Form::Grammar(_) | Form::Choice(_) => chat::Format::Text,
    };
    match &wanted.input {
        Input::Chat(conversation) => talk(conversation, &mut request),
        // They do not leave, and are read for what they hold.
        Input::Texts(texts) => {
            let texts = texts.iter().flat_map(words);
            let user = |text: &str| chat::Message::text(chat::Role::User, text);
            request.messages = texts.map(user).collect();
        }
    }
    request
}

fn words(text: &Text) -> Vec<&str> {
    match text {
        Text::Plain(text) => vec![text],
        Text::Tokens(_) => Vec::new(),
        Text::Infill(infill) => {
            let files = infill.files.iter();
            let files = files.flat_map(|(name, text)| [name.as_str(), text]);
            let around = [infill.prefix.as_str(), &infill.begun, &infill.suffix];
            files.chain(around).collect()
        }
    }
}

fn talk(conversation: &Conversation, request: &mut chat::Request) {
    request.messages = conversation.messages.iter().map(message).collect();
    request.prefill.clone_from(&conversation.prefill);
    request.tools = conversation.tools.iter().map(tool).collect();
    request.tool_choice = match &conversation.tool_choice {
        ToolChoice::Auto => chat::ToolChoice::Auto,
        ToolChoice::None => chat::ToolChoice::None,
        ToolChoice::Required => chat::ToolChoice::Required,
        ToolChoice::Named(name) => chat::ToolChoice::Named(name.clone()),
    };
    request.one_call = conversation.one_call;
}

fn message(message: &Message) -> chat::Message {
    let calls = message.calls.iter().map(|call| chat::ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    });
    chat::Message {
        role: match message.role {
            Role::System | Role::Developer => chat::Role::System,
            Role::User => chat::Role::User,
            Role::Assistant => chat::Role::Assistant,
            Role::Tool => chat::Role::Tool,
        },
        parts: parts(&message.content, &message.images),
        reasoning: message.reasoning.clone(),
        calls: calls.collect(),
        call_id: message.call_id.clone(),
        name: message.name.clone(),
    }
}

/// Pictures stand where they stood.
fn parts(content: &str, images: &[Picture]) -> Vec<chat::Part> {
    let (mut parts, mut rest, mut done) = (Vec::new(), content, 0);
    for picture in images {
        let at = picture.at.saturating_sub(done);
        if let Some((before, after)) = rest.split_at_checked(at) {
            if !before.is_empty() {
                parts.push(chat::Part::Text(before.to_owned()));
            }
            (rest, done) = (after, picture.at);
        }
        parts.push(chat::Part::Image(picture.image.clone()));
    }
    if !rest.is_empty() {
        parts.push(chat::Part::Text(rest.to_owned()));
    }
    parts
}

fn tool(tool: &Tool) -> chat::Tool {
    let description = tool.shown.pointer("/function/description");
    chat::Tool {
        name: tool.name.clone(),
        description: description.and_then(Value::as_str).map(str::to_owned),
        parameters: tool.parameters.clone(),
        strict: tool.strict,
    }
}

/// What the request itself says; what it leaves to the dialect is left to whoever answers.
fn sampling(wanted: &Wanted) -> chat::Sampling {
    let (said, usual) = (&wanted.sampling, &wanted.usual);
    // What is usual here need not be there.
    let says = |name: &'static str, other: bool| other || wanted.said.contains(&name);
    // By its shortest decimal, as the client wrote it.
    let number = |name: &'static str, said: f32, usual: f32| {
        let said = says(name, said != usual).then(|| said.to_string());
        said.and_then(|text| text.parse::<f64>().ok())
    };
    chat::Sampling {
        temperature: number("temperature", said.temperature, usual.temperature),
        top_p: number("top_p", said.top_p, usual.top_p),
        top_k: says("top_k", said.top_k != usual.top_k).then_some(said.top_k),
        presence_penalty: number(
            "presence_penalty",
            said.presence_penalty,
            usual.presence_penalty,
        ),
        frequency_penalty: number(
            "frequency_penalty",
            said.frequency_penalty,
            usual.frequency_penalty,
        ),
        seed: (wanted.seeded && says("seed", said.seed != usual.seed)).then_some(said.seed),
    }
}

/// What a request asks for that no provider would be asked in its place: leaving it out would be another
/// request.
pub(super) fn only_here(wanted: &Wanted) -> Option<&'static str> {
    let conversation = match &wanted.input {
        Input::Texts(_) => return Some("a text to be continued as it stands"),
        Input::Chat(conversation) => conversation,
    };
    let (said, usual) = (&wanted.sampling, &wanted.usual);
    let neutral = Sampling::default();
    let says = [
        (
            !conversation.before.is_empty(),
            "the tokens of an earlier conversation",
        ),
        (
            !conversation.variables.is_empty(),
            "switches of the model's template",
        ),
        (
            matches!(wanted.form, Form::Regex(_)),
            "an answer by a regular expression",
        ),
        (
            matches!(wanted.form, Form::Grammar(_)),
            "an answer by a grammar",
        ),
        (
            matches!(wanted.form, Form::Choice(_)),
            "an answer out of a list",
        ),
        (wanted.n > 1, "several answers"),
        (wanted.prompt_alone, "a prompt to be computed ahead"),
        (said.logprobs.is_some(), "log-probabilities"),
        (said.logit_bias != usual.logit_bias, "a bias on tokens"),
        (
            said.min_p != usual.min_p
                || said.typical != usual.typical
                || said.repetition_penalty != usual.repetition_penalty
                || said.dry != usual.dry
                || said.infill,
            "a way of sampling",
        ),
        (
            said.penalty_last_n != usual.penalty_last_n
                && (said.presence_penalty != neutral.presence_penalty
                    || said.frequency_penalty != neutral.frequency_penalty),
            "penalties on the last tokens alone",
        ),
    ];
    says.into_iter()
        .find(|(asks, _)| *asks)
        .map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::chat_request::ChatRequest;
    use serde_json::json;

    fn asked(body: &Value) -> Wanted {
        let request = ChatRequest::parse(body.to_string().as_bytes()).unwrap();
        request.wanted().clone()
    }

    #[test]
    fn a_request_leaves_as_it_was_asked() {
        let body = json!({
            "model": "auto", "temperature": 0.7, "top_p": 1.0, "max_tokens": 9, "seed": 3, "stop": ["END"],
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is "},
                    {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
                    {"type": "text", "text": "this?"}]},
                {"role": "assistant", "content": null, "reasoning_content": "Hm.", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"a\": 1}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "a fox"}],
            "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.",
                "parameters": {"type": "object"}, "strict": true}}],
            "parallel_tool_calls": false, "reasoning_effort": "low",
            "response_format": {"type": "json_object"},
        });
        let wanted = asked(&body);
        assert_eq!(only_here(&wanted), None);
        insta::assert_debug_snapshot!(request("req-1", &wanted));
    }

    #[test]
    fn what_is_usual_leaves_where_the_request_says_it() {
        let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(sampling(&asked(&body)), chat::Sampling::default());
        let usual = json!({"temperature": 1.0, "top_k": 0, "presence_penalty": 0, "seed": 0});
        for (name, value) in usual.as_object().unwrap() {
            body[name] = value.clone();
        }
        let said = sampling(&asked(&body));
        assert_eq!((said.temperature, said.top_k), (Some(1.0), Some(0)));
        assert_eq!((said.presence_penalty, said.seed), (Some(0.0), Some(0)));
        assert_eq!((said.top_p, said.frequency_penalty), (None, None));
        assert_eq!(only_here(&asked(&body)), None);
    }

    #[test]
    fn what_only_this_machine_does_stays() {
        let plain = json!({"messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(only_here(&asked(&plain)), None);
        for (field, value) in [
            ("n", json!(2)),
            ("logprobs", json!(true)),
            ("logit_bias", json!({"5": 1})),
            ("min_p", json!(0.1)),
            ("repetition_penalty", json!(1.1)),
            ("dry_multiplier", json!(0.8)),
            ("chat_template_kwargs", json!({"enable_thinking": false})),
        ] {
            let mut body = plain.clone();
            body[field] = value;
            assert!(only_here(&asked(&body)).is_some(), "{field}");
        }
    }
}
