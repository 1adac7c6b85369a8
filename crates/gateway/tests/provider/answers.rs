//! What is asked and what comes back, in every dialect, streamed and whole.

use ingle_gateway::chat::{
    Finish, Format, Image, Message, Part, Piece, Reasoning, Request, Role, Sampling, Tool,
    ToolCall, ToolChoice, Usage,
};
use ingle_gateway::provider::{Charged, Dialect, Fault, Misfit, ProviderSettings, Thinking};
use serde_json::{Value, json};

use crate::server::{Server, end, json, more, stream};
use crate::{Answered, KEY, request, settings, world};

/// Asks a provider that answers with this stream of events.
fn streamed(dialect: Dialect, events: &str, request: &Request) -> Answered {
    let events = events.to_owned();
    let server = Server::new(move |_, line| {
        stream(line);
        // Cut where it may hurt.
        for part in events.as_bytes().chunks(7) {
            more(line, part);
        }
        end(line);
    });
    let world = world(vec![settings("p", dialect, &server)], Vec::new());
    world.ask("p/m", request).unwrap()
}

/// Asks a provider that answers whole.
fn whole(dialect: Dialect, body: Value, request: &Request) -> Answered {
    let server = Server::new(move |_, line| json(line, &body));
    let mut settings = settings("p", dialect, &server);
    settings.stream = false;
    world(vec![settings], Vec::new())
        .ask("p/m", request)
        .unwrap()
}

/// What a provider is sent.
fn sent(
    dialect: Dialect,
    request: &Request,
    change: impl FnOnce(&mut ProviderSettings),
) -> Result<(Value, String), Misfit> {
    let server = Server::new(|_, line| crate::server::answer(line, "400 No", "", ""));
    let mut settings = settings("p", dialect, &server);
    change(&mut settings);
    let error = world(vec![settings], Vec::new())
        .ask("p/m", request)
        .unwrap_err();
    if let Fault::Misfit(misfit) = error.fault {
        assert_eq!(error.charged, Charged::No);
        return Err(misfit);
    }
    let asked = server.last();
    let port = format!(":{}", server.address.port());
    let head = asked.head.replace(&port, "").replace(KEY, "KEY");
    let mut lines: Vec<&str> = head.trim().lines().collect();
    lines[1..].sort_unstable();
    lines.retain(|line| !line.starts_with("content-length"));
    Ok((asked.json(), lines.join("\n")))
}

/// A request in which everything occurs.
fn full() -> Request {
    let call = |id: &str, city: &str| ToolCall {
        id: id.into(),
        name: "weather".into(),
        arguments: format!("{{\"city\": \"{city}\"}}"),
    };
    let answer = |id: &str, text: &str| Message {
        call_id: Some(id.into()),
        name: Some("weather".into()),
        ..Message::text(Role::Tool, text)
    };
    let picture = Image::Inline {
        media_type: "image/png".into(),
        base64: "iVBORw==".into(),
    };
    let there = Image::Url("https://images.example/a.png".into());
    Request {
        tools: vec![Tool {
            name: "weather".into(),
            description: Some("Tells the weather.".into()),
            parameters: Some(
                json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
            ),
            strict: true,
        }],
        one_call: true,
        sampling: Sampling {
            temperature: Some(0.5),
            top_k: Some(20),
            seed: Some(7),
            presence_penalty: Some(0.25),
            ..Sampling::default()
        },
        stop: vec!["END".into()],
        max_tokens: Some(300),
        ..Request::new(
            "req_2",
            vec![
                Message::text(Role::System, "Be brief."),
                Message {
                    name: Some("ann".into()),
                    parts: vec![
                        Part::Text("What is this?".into()),
                        Part::Image(picture),
                        Part::Image(there),
                    ],
                    ..Message::text(Role::User, "")
                },
                Message {
                    reasoning: Some("It rains?".into()),
                    calls: vec![call("a", "Rome"), call("b", "Oslo")],
                    ..Message::text(Role::Assistant, "")
                },
                answer("a", "sun"),
                answer("b", "snow"),
                Message::text(Role::System, "Be kind."),
                Message::text(Role::User, "And?"),
            ],
        )
    }
}

#[test]
fn what_is_sent() {
    let mut all = Vec::new();
    for dialect in Dialect::ALL {
        let (body, head) = sent(dialect, &full(), |_| {}).unwrap();
        let body = serde_json::to_string_pretty(&body).unwrap();
        all.push(format!("# {}\n{head}\n\n{body}", dialect.word()));
    }
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn what_is_sent_where_little_is_said() {
    for dialect in Dialect::ALL {
        let (body, _) = sent(dialect, &request(), |s| s.stream = false).unwrap();
        let limit = match dialect {
            Dialect::OpenAi => "max_completion_tokens",
            _ => "max_tokens",
        };
        // A limit is always there.
        assert_eq!(body[limit], 1000, "{body}");
        assert!(body.get("stream").is_none() && body.get("tools").is_none());
    }
}

#[test]
fn choices_and_formats() {
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = full();
        request.one_call = false;
        change(&mut request);
        request
    };
    let both = |request: &Request, key: &str| {
        [Dialect::OpenAi, Dialect::Anthropic].map(|dialect| {
            let body = sent(dialect, request, |_| {}).map(|(body, _)| body);
            body.map(|body| body.get(key).cloned().unwrap_or_default())
        })
    };
    let [openai, anthropic] = both(&with(&|r| r.tool_choice = ToolChoice::None), "tool_choice");
    assert_eq!(
        (openai.unwrap(), anthropic.unwrap()),
        (json!("none"), json!({ "type": "none" }))
    );
    let [openai, anthropic] = both(
        &with(&|r| r.tool_choice = ToolChoice::Required),
        "tool_choice",
    );
    assert_eq!(
        (openai.unwrap(), anthropic.unwrap()),
        (json!("required"), json!({ "type": "any" }))
    );
    let named = with(&|r| r.tool_choice = ToolChoice::Named("weather".into()));
    let [openai, anthropic] = both(&named, "tool_choice");
    assert_eq!(openai.unwrap()["function"]["name"], "weather");
    assert_eq!(
        anthropic.unwrap(),
        json!({ "type": "tool", "name": "weather" })
    );
    let schema = json!({ "type": "object" });
    let format = with(&|r| r.format = Format::JsonSchema(json!({ "type": "object" })));
    let [openai, _] = both(&format, "response_format");
    assert_eq!(openai.unwrap()["json_schema"]["schema"], schema);
    let [_, anthropic] = both(&format, "output_config");
    assert_eq!(anthropic.unwrap()["format"]["schema"], schema);
    let [openai, anthropic] = both(&with(&|r| r.format = Format::JsonObject), "response_format");
    assert_eq!(openai.unwrap()["type"], "json_object");
    assert!(matches!(anthropic, Err(Misfit::Dialect(_))));
    let [openai, anthropic] = both(&with(&|r| r.prefill = Some("It".into())), "messages");
    assert!(matches!(openai, Err(Misfit::Dialect(_))));
    let last = anthropic
        .unwrap()
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        last,
        json!({ "role": "assistant", "content": [{ "type": "text", "text": "It" }] })
    );
    let prefilled = with(&|r| r.prefill = Some("It".into()));
    assert!(sent(Dialect::Ingle, &prefilled, |_| {}).is_err());
    let (body, _) = sent(Dialect::Vllm, &prefilled, |_| {}).unwrap();
    assert_eq!(body["continue_final_message"], true);
    let many = with(&|r| r.stop = vec!["a".into(); 5]);
    assert!(sent(Dialect::OpenAi, &many, |_| {}).is_err());
    assert!(sent(Dialect::Vllm, &many, |_| {}).is_ok());
}

#[test]
fn numbers_that_say_what_is_usual() {
    let asked = |temperature| Request {
        sampling: Sampling {
            temperature: Some(temperature),
            top_p: Some(1.0),
            top_k: Some(0),
            presence_penalty: Some(0.0),
            frequency_penalty: Some(0.0),
            seed: None,
        },
        ..request()
    };
    let all = "temperature top_p top_k presence_penalty frequency_penalty";
    let names = |dialect| {
        let (body, _) = sent(dialect, &asked(1.0), |_| {}).unwrap();
        let said = all.split(' ').filter(|name| body.get(name).is_some());
        said.collect::<Vec<_>>().join(" ")
    };
    // A server of one's own may have a preset; some models elsewhere refuse such words.
    assert_eq!(names(Dialect::Vllm), all);
    assert_eq!(names(Dialect::Ingle), all);
    assert_eq!(names(Dialect::OpenAi), "temperature");
    assert_eq!(names(Dialect::Anthropic), "");
    let hot = asked(1.5);
    assert!(sent(Dialect::OpenAi, &hot, |_| {}).is_ok());
    assert!(sent(Dialect::Anthropic, &hot, |_| {}).is_err());
}

#[test]
fn how_it_is_to_think() {
    let asked = |dialect, thinking, reasoning: Reasoning| {
        let request = Request {
            reasoning,
            ..request()
        };
        let (body, _) = sent(dialect, &request, |s| s.models[0].thinking = thinking).unwrap();
        [
            "reasoning_effort",
            "chat_template_kwargs",
            "reasoning_budget",
            "thinking",
            "output_config",
        ]
        .into_iter()
        .filter_map(|key| Some(format!("{key}={}", body.get(key)?)))
        .collect::<Vec<_>>()
        .join(" ")
    };
    let effort = |effort: &str| Reasoning {
        effort: Some(effort.into()),
        ..Reasoning::default()
    };
    let switch = |on| Reasoning {
        on: Some(on),
        ..Reasoning::default()
    };
    let budget = |n| Reasoning {
        budget: Some(n),
        ..Reasoning::default()
    };
    use Dialect::{Anthropic, Ingle, OpenAi, Vllm};
    use Thinking::{Budget, Effort, No};
    for (dialect, thinking, reasoning, want) in [
        (OpenAi, No, effort("high"), ""),
        (OpenAi, Effort, Reasoning::default(), ""),
        (OpenAi, Effort, effort("high"), "reasoning_effort=\"high\""),
        (OpenAi, Effort, switch(false), "reasoning_effort=\"none\""),
        (OpenAi, Effort, budget(4000), "reasoning_effort=\"medium\""),
        (
            Vllm,
            Effort,
            switch(false),
            "chat_template_kwargs={\"enable_thinking\":false}",
        ),
        (Ingle, Effort, budget(77), "reasoning_budget=77"),
        (Anthropic, No, effort("high"), ""),
        (
            Anthropic,
            Effort,
            effort("high"),
            "thinking={\"type\":\"adaptive\"} output_config={\"effort\":\"high\"}",
        ),
        (Anthropic, Effort, switch(false), ""),
        // No room for the fewest tokens of thinking in an answer of 1000.
        (Anthropic, Budget, budget(4000), ""),
    ] {
        assert_eq!(
            asked(dialect, thinking, reasoning.clone()),
            want,
            "{dialect:?} {reasoning:?}"
        );
    }
    let long = Request {
        reasoning: budget(4000),
        max_tokens: Some(4000),
        ..request()
    };
    let (body, _) = sent(Anthropic, &long, |s| s.models[0].thinking = Budget).unwrap();
    assert_eq!(
        body["thinking"],
        json!({ "type": "enabled", "budget_tokens": 3000 })
    );
    // Behind a call without its thoughts it would be refused.
    let behind = Request {
        reasoning: switch(true),
        ..full()
    };
    let (body, _) = sent(Anthropic, &behind, |_| {}).unwrap();
    assert_eq!(
        body["thinking"]["type"], "adaptive",
        "a user spoke in between"
    );
    let mut behind = behind;
    behind.messages.truncate(5);
    let (body, _) = sent(Anthropic, &behind, |_| {}).unwrap();
    assert!(body.get("thinking").is_none());
}

#[test]
fn a_prompt_is_kept_where_that_is_wanted() {
    let (body, _) = sent(Dialect::Anthropic, &full(), |s| s.prompt_cache = true).unwrap();
    assert_eq!(body.to_string().matches("cache_control").count(), 2);
    assert_eq!(body["system"][1]["cache_control"]["type"], "ephemeral");
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

#[test]
fn an_openai_stream_with_everything() {
    let events = r#": comment

data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"reasoning_content":"Hm."}}]}

data: {"choices":[{"index":0,"delta":{"reasoning":" Well."}}]}

data: {"choices":[{"index":0,"delta":{"content":"Grüße"}}],"usage":null}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"weather","arguments":""}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"time","arguments":"{}"}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Rome\"}"}}]}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":20}}}

data: [DONE]

"#;
    let usage = Usage {
        input: 100,
        cached: 64,
        cache_writes: 0,
        output: 50,
        reasoning: 20,
    };
    for dialect in [Dialect::OpenAi, Dialect::Ingle, Dialect::Vllm] {
        let answered = streamed(dialect, events, &full());
        assert!(answered.error.is_none(), "{answered:?}");
        assert_eq!(
            answered.pieces,
            [
                Piece::Reasoning("Hm.".into()),
                Piece::Reasoning(" Well.".into()),
                text("Grüße"),
                Piece::CallBegin {
                    index: 0,
                    id: "a".into(),
                    name: "weather".into()
                },
                Piece::CallArguments {
                    index: 0,
                    text: "{\"city\":".into()
                },
                Piece::CallArguments {
                    index: 0,
                    text: "\"Rome\"}".into()
                },
                // Mixed there, in order here.
                Piece::CallBegin {
                    index: 1,
                    id: "b".into(),
                    name: "time".into()
                },
                Piece::CallArguments {
                    index: 1,
                    text: "{}".into()
                },
                Piece::Finish(Finish::Calls),
                Piece::Usage(usage),
            ]
        );
        assert_eq!(answered.charged, Charged::Yes(usage));
        assert_eq!(answered.upstream, "p/m");
    }
}

#[test]
fn an_openai_answer_that_comes_whole() {
    let body = json!({
        "choices": [{
            "index": 0, "finish_reason": "tool_calls",
            "message": {
                "role": "assistant", "content": "Look:", "reasoning_content": "Hm.",
                "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "t", "arguments": "" } }],
            },
        }],
        "usage": { "prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 8 },
    });
    let answered = whole(Dialect::OpenAi, body, &full());
    let usage = Usage {
        input: 9,
        cached: 8,
        output: 4,
        ..Usage::default()
    };
    assert_eq!(
        answered.pieces,
        [
            Piece::Reasoning("Hm.".into()),
            text("Look:"),
            Piece::CallBegin {
                index: 0,
                id: "a".into(),
                name: "t".into()
            },
            Piece::CallArguments {
                index: 0,
                text: "{}".into()
            },
            Piece::Finish(Finish::Calls),
            Piece::Usage(usage),
        ]
    );
}

#[test]
fn how_answers_end() {
    let ending = |reason: &str, more: &str| {
        let usage = "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}";
        let events = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"{more}}}}}]}}\n\n\
             data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{reason}\",\"stop_reason\":\"END\"}}],{usage}}}\n\n\
             data: [DONE]\n\n"
        );
        let answered = streamed(Dialect::Vllm, &events, &request());
        answered.pieces.into_iter().find_map(|piece| match piece {
            Piece::Finish(finish) => Some(finish),
            _ => None,
        })
    };
    assert_eq!(ending("stop", ""), Some(Finish::StopText("END".into())));
    assert_eq!(ending("length", ""), Some(Finish::Length));
    assert_eq!(ending("content_filter", ""), Some(Finish::Refused));
    assert_eq!(
        ending("stop", ",\"refusal\":\"I will not.\""),
        Some(Finish::Refused)
    );
    assert_eq!(
        ending("eos", ",\"tool_calls\":[{\"function\":{\"name\":\"t\"}}]"),
        Some(Finish::Calls)
    );
    assert_eq!(ending("error", ""), None);
    // Arguments that are no object, except where they were cut at the limit.
    let call = ",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"t\",\"arguments\":\"{\\\"a\\\":\"}}]";
    assert_eq!(ending("tool_calls", call), None);
    assert_eq!(ending("length", call), Some(Finish::Length));
}

#[test]
fn an_anthropic_stream_with_everything() {
    let events = r#"event: message_start
data: {"type":"message_start","message":{"id":"m","role":"assistant","content":[],"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":70,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abc"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"sealed"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Grüße"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"city\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":" \"Rome\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"time","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: something_new
data: {"type":"something_new"}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":44}}

event: message_stop
data: {"type":"message_stop"}

"#;
    let answered = streamed(Dialect::Anthropic, events, &full());
    let usage = Usage {
        input: 100,
        cached: 70,
        cache_writes: 20,
        output: 44,
        reasoning: 0,
    };
    assert!(answered.error.is_none(), "{answered:?}");
    assert_eq!(
        answered.pieces,
        [
            Piece::Reasoning("Hm.".into()),
            text("Grüße"),
            Piece::CallBegin {
                index: 0,
                id: "toolu_1".into(),
                name: "weather".into()
            },
            Piece::CallArguments {
                index: 0,
                text: "{\"city\":".into()
            },
            Piece::CallArguments {
                index: 0,
                text: " \"Rome\"}".into()
            },
            Piece::CallBegin {
                index: 1,
                id: "toolu_2".into(),
                name: "time".into()
            },
            Piece::CallArguments {
                index: 1,
                text: "{}".into()
            },
            Piece::Finish(Finish::Calls),
            Piece::Usage(usage),
        ]
    );
    assert_eq!(answered.charged, Charged::Yes(usage));
}

#[test]
fn an_anthropic_answer_that_comes_whole_and_how_answers_end() {
    let body = |reason: &str| {
        json!({
            "type": "message", "stop_reason": reason, "stop_sequence": "END",
            "content": [
                { "type": "thinking", "thinking": "Hm.", "signature": "abc" },
                { "type": "text", "text": "Hello" },
            ],
            "usage": { "input_tokens": 5, "output_tokens": 3 },
        })
    };
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::StopText("END".into())),
        ("max_tokens", Finish::Length),
        ("refusal", Finish::Refused),
    ] {
        let answered = whole(Dialect::Anthropic, body(reason), &request());
        let usage = Usage {
            input: 5,
            output: 3,
            ..Usage::default()
        };
        assert_eq!(
            answered.pieces,
            [
                Piece::Reasoning("Hm.".into()),
                text("Hello"),
                Piece::Finish(finish),
                Piece::Usage(usage)
            ]
        );
    }
}

#[test]
fn an_anthropic_stream_out_of_order_is_no_answer() {
    let start = r#"data: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}"#;
    let block = r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
    let delta = r#"data: {"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"b"}}"#;
    let wrong = r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"b"}}"#;
    let error =
        r#"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let stop = r#"data: {"type":"message_stop"}"#;
    for (events, words) in [
        (vec![start, block, delta], "not open"),
        (vec![start, block, wrong], "does not fit"),
        (vec![start, block, block], "begins twice"),
        (vec![start, block, start], "begins twice"),
        (vec![start, block, error], "Overloaded"),
        (vec![start, block, stop], "how it ended"),
        (vec![start, block], "cut off"),
    ] {
        let answered = streamed(
            Dialect::Anthropic,
            &(events.join("\n\n") + "\n\n"),
            &request(),
        );
        let error = answered.error.unwrap();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.charged, Charged::Unknown);
    }
}

#[test]
fn a_model_is_not_asked_for_what_it_cannot() {
    let cannot =
        |change: fn(&mut ProviderSettings)| sent(Dialect::OpenAi, &full(), change).unwrap_err();
    assert_eq!(cannot(|s| s.models[0].tools = false), Misfit::Tools);
    assert_eq!(cannot(|s| s.models[0].images = false), Misfit::Images);
    let long = Request {
        max_tokens: Some(10),
        ..Request::new("q", vec![Message::text(Role::User, "x".repeat(900_000))])
    };
    assert!(matches!(
        sent(Dialect::OpenAi, &long, |_| {}),
        Err(Misfit::Context { .. })
    ));
}
