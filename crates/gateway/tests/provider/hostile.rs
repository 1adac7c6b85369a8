//! Providers that lead elsewhere by steps, and that mix the calls of their answers.

use ingle_egress::EgressError;
use ingle_gateway::chat::{Finish, Piece};
use ingle_gateway::provider::{Charged, Dialect, Fault};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::{Server, answer, end, good, more, stream};
use crate::{Answered, KEY, request, settings, world};

/// A server that redirects as `hop` says by path, and answers where it says nothing.
fn hops(hop: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Server {
    Server::new(move |asked, line| match hop(asked.path()) {
        None => good(line),
        Some(to) => answer(line, "307 Elsewhere", &format!("Location: {to}\r\n"), ""),
    })
}

#[test]
fn a_chain_of_redirects_goes_as_far_as_its_own_place() {
    // A -> A -> B: another host, reached by a step at home.
    let other = Server::named("hub.test", |_, line| good(line));
    let far = format!("{}/chat/completions", other.url());
    let plain = |server: &Server| format!("http://127.0.0.1:{}/x", server.address.port());
    let there = Server::new(|_, line| good(line));
    let ends = [
        far,
        // The same place in clear text, and places that are nobody's business.
        plain(&there),
        "https://10.0.0.1/v1/chat/completions".into(),
        "https://169.254.169.254/latest/meta-data".into(),
        "https://[fd00::1]/x".into(),
        "https://[::ffff:127.0.0.1]/x".into(),
        "https://user:pass@127.0.0.1/x".into(),
        "ftp://127.0.0.1/x".into(),
        "file:///etc/passwd".into(),
    ];
    for to in ends {
        let end = to.clone();
        let server = hops(move |path| match path {
            "/v1/chat/completions" => Some("/v1/two".into()),
            "/v1/two" => Some("three".into()),
            _ => Some(end.clone()),
        });
        let world = world(vec![settings("p", Dialect::OpenAi, &server)], Vec::new());
        let error = world.ask("p/m", &request()).unwrap_err();
        assert!(
            matches!(error.fault, Fault::Redirected { status: 307, .. }),
            "{to}: {error}"
        );
        assert_eq!((error.charged, error.began), (Charged::No, false), "{to}");
        assert_eq!((server.count(), other.count(), there.count()), (3, 0, 0));
        // A row for each time that the request left.
        assert_eq!(world.rows.asked(), 3, "{to}");
        let shown = format!("{error} {error:?} {:?}", world.rows.0.lock().unwrap());
        assert!(!shown.contains(KEY) && !shown.contains("pass@"), "{shown}");
    }
}

#[test]
fn a_chain_at_its_own_place_is_followed_and_a_loop_ends() {
    let server = hops(|path| match path {
        "/v1/chat/completions" => Some("/v1/two".into()),
        "/v1/two" => Some("/v1/three".into()),
        _ => None,
    });
    let made = world(vec![settings("p", Dialect::OpenAi, &server)], Vec::new());
    assert_eq!(made.ask("p/m", &request()).unwrap().text(), "Hello!");
    assert_eq!((server.count(), made.rows.asked()), (3, 3));
    // Each time with its body and its key.
    for asked in server.asked.lock().unwrap().iter() {
        assert_eq!(asked.json()["model"], "m");
        assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}")));
    }
    for to in ["/v1/chat/completions", "/v1/a", "?again"] {
        let server = hops(move |_| Some(to.into()));
        let made = world(vec![settings("p", Dialect::OpenAi, &server)], Vec::new());
        let error = made.ask("p/m", &request()).unwrap_err();
        assert!(
            matches!(
                error.fault,
                Fault::Door(EgressError::RedirectLoop { limit: 8, .. })
            ),
            "{error}"
        );
        assert_eq!((error.charged, server.count()), (Charged::No, 9), "{to}");
    }
}

/// Asks a provider that streams these bodies of events.
fn streamed(dialect: Dialect, events: &[Value]) -> Answered {
    let events: String = events.iter().map(|e| format!("data: {e}\n\n")).collect();
    let server = Server::new(move |_, line| {
        stream(line);
        for part in events.as_bytes().chunks(50) {
            more(line, part);
        }
        end(line);
    });
    world(vec![settings("p", dialect, &server)], Vec::new())
        .ask("p/m", &request())
        .unwrap()
}

/// The deltas of calls of OpenAI's stream, and its end.
fn openai(calls: &[Value]) -> Vec<Value> {
    let delta = |call: &Value| json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]});
    let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 30}});
    calls.iter().map(delta).chain([stop]).collect()
}

/// Id, name and arguments of each call; each is all there before the next one begins.
fn calls(answered: &Answered) -> Vec<(String, String, Value)> {
    let mut calls: Vec<(String, String, String)> = Vec::new();
    for piece in &answered.pieces {
        match piece {
            Piece::CallBegin { index, id, name } => {
                assert_eq!(*index as usize, calls.len());
                calls.push((id.clone(), name.clone(), String::new()));
            }
            Piece::CallArguments { index, text } => {
                assert_eq!(*index as usize + 1, calls.len());
                calls.last_mut().unwrap().2.push_str(text);
            }
            _ => {}
        }
    }
    let read = |text: String| serde_json::from_str(&text).unwrap();
    let all = calls.into_iter();
    all.map(|(id, name, text)| (id, name, read(text))).collect()
}

fn named(call: &(String, String, Value)) -> (&str, &str, &Value) {
    (&call.0, &call.1, &call.2)
}

#[test]
fn calls_are_told_apart_however_they_are_counted() {
    let begin = |index: Option<u32>, id: &str, name: &str, arguments: &str| {
        let mut call =
            json!({"type": "function", "function": {"name": name, "arguments": arguments}});
        if !id.is_empty() {
            call["id"] = json!(id);
        }
        if let Some(index) = index {
            call["index"] = json!(index);
        }
        call
    };
    let more = |index: Option<u32>, arguments: &str| {
        let mut call = json!({"function": {"arguments": arguments}});
        if let Some(index) = index {
            call["index"] = json!(index);
        }
        call
    };
    let (one, two) = (json!({"a": 1}), json!({"b": 2}));
    let cases: Vec<(&str, Vec<Value>)> = vec![
        (
            "interleaved",
            vec![
                begin(Some(0), "x", "f", ""),
                begin(Some(1), "y", "g", "{\"b\""),
                more(Some(0), "{\"a\""),
                more(Some(1), ":2}"),
                more(Some(0), ":1}"),
            ],
        ),
        (
            "every index the same",
            vec![
                begin(Some(0), "x", "f", "{\"a\":1}"),
                begin(Some(0), "y", "g", "{\"b\":"),
                more(Some(0), "2}"),
            ],
        ),
        (
            "no index",
            vec![
                begin(None, "x", "f", "{\"a\":"),
                more(None, "1}"),
                begin(None, "y", "g", "{\"b\":2}"),
            ],
        ),
        (
            "the index later",
            vec![
                begin(None, "x", "f", "{\"a\":"),
                more(Some(0), "1}"),
                begin(None, "y", "g", ""),
                more(Some(1), "{\"b\":2}"),
            ],
        ),
        (
            "id and name with each piece",
            vec![
                begin(Some(0), "x", "f", "{\"a\":"),
                begin(Some(0), "x", "f", "1}"),
                begin(Some(1), "y", "g", "{\"b\":"),
                begin(Some(1), "y", "g", "2}"),
            ],
        ),
        (
            "strange numbers",
            vec![
                begin(Some(7), "x", "f", "{\"a\":1}"),
                begin(Some(3), "y", "g", "{\"b\":2}"),
            ],
        ),
        (
            "arguments before the name",
            vec![
                more(Some(0), "{\"a\":"),
                begin(Some(0), "x", "f", "1}"),
                begin(Some(1), "y", "g", "{\"b\":2}"),
            ],
        ),
    ];
    for (what, deltas) in cases {
        for dialect in [Dialect::OpenAi, Dialect::Vllm] {
            let answered = streamed(dialect, &openai(&deltas));
            assert!(answered.error.is_none(), "{what}: {answered:?}");
            let all = calls(&answered);
            let all: Vec<_> = all.iter().map(named).collect();
            assert_eq!(all, [("x", "f", &one), ("y", "g", &two)], "{what}");
            assert!(
                answered.pieces.contains(&Piece::Finish(Finish::Calls)),
                "{what}"
            );
        }
    }
    // Ids that are missing, or there twice, are made: each call has its own.
    for ids in [["", ""], ["x", "x"], ["", "call_0"], ["call_1", ""]] {
        let deltas = [
            begin(Some(0), ids[0], "f", "{\"a\":1}"),
            begin(Some(1), ids[1], "g", "{\"b\":2}"),
        ];
        let all = calls(&streamed(Dialect::OpenAi, &openai(&deltas)));
        assert_eq!(
            (&*all[0].1, &all[0].2, &*all[1].1, &all[1].2),
            ("f", &one, "g", &two),
            "{ids:?}"
        );
        assert!(
            !all[0].0.is_empty() && !all[1].0.is_empty() && all[0].0 != all[1].0,
            "{all:?}"
        );
    }
}

#[test]
fn calls_that_nobody_can_make_are_no_answer() {
    let call = |function: Value| json!({"index": 0, "id": "x", "function": function});
    for (deltas, words) in [
        (vec![json!({"index": 0, "id": "x", "function": {"arguments": "{}"}})], "no name"),
        (vec![json!({"index": 5, "function": {"arguments": "{}"}})], "no name"),
        (vec![call(json!({"name": "f", "arguments": "{\"a\":"}))], "no JSON object"),
        (vec![call(json!({"name": "f", "arguments": "[1]"}))], "no JSON object"),
        (vec![call(json!({"name": "f", "arguments": 5}))], "no text"),
        (vec![call(json!({"name": {"f": 1}, "arguments": "{}"}))], "no text"),
        (vec![call(json!({"name": "f".repeat(600), "arguments": "{}"}))], "too long"),
        (
            (0..200).map(|i| json!({"index": i, "id": format!("x{i}"), "function": {"name": "f", "arguments": "{}"}})).collect(),
            "too many",
        ),
    ] {
        let events: String = openai(&deltas).iter().map(|e| format!("data: {e}\n\n")).collect();
        let server = Server::new(move |_, line| {
            stream(line);
            more(line, &events);
            end(line);
        });
        let made = world(vec![settings("p", Dialect::OpenAi, &server)], Vec::new());
        let error = match made.ask("p/m", &request()) {
            Ok(answered) => answered.error.unwrap(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.charged, Charged::Unknown);
    }
}

#[test]
fn blocks_of_anthropic_may_be_mixed() {
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}});
    let block = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let tool =
        |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    let more = |index: u32, text: &str| {
        json!({"type": "content_block_delta", "index": index,
            "delta": {"type": "input_json_delta", "partial_json": text}})
    };
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let last = json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}});
    let events = [
        start,
        block(1, tool("x", "f")),
        block(2, tool("y", "g")),
        more(2, "{\"b\":"),
        more(1, "{\"a\":1}"),
        stop(1),
        more(2, "2}"),
        last,
        json!({"type": "message_stop"}),
    ];
    let answered = streamed(Dialect::Anthropic, &events);
    assert!(answered.error.is_none(), "{answered:?}");
    let all = calls(&answered);
    let all: Vec<_> = all.iter().map(named).collect();
    assert_eq!(
        all,
        [("x", "f", &json!({"a": 1})), ("y", "g", &json!({"b": 2}))]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However the pieces of calls are mixed, each call comes out whole.
    #[test]
    fn any_mixture_of_calls_is_put_in_order(turns in prop::collection::vec(0_usize..3, 12)) {
        let arguments: Vec<String> = (0..3).map(|i| json!({"number": i, "text": "a \"b\" \\ é"}).to_string()).collect();
        let mut sent = [0; 3];
        let mut deltas = Vec::new();
        let mut order = Vec::new();
        for call in turns.into_iter().chain([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]) {
            let text = &arguments[call];
            let from = text.floor_char_boundary((sent[call] * 10).min(text.len()));
            let to = text.floor_char_boundary((sent[call] * 10 + 10).min(text.len()));
            let mut delta = json!({"index": call, "function": {"arguments": &text[from..to]}});
            if sent[call] == 0 {
                order.push(call);
                delta["id"] = json!(format!("id{call}"));
                delta["function"]["name"] = json!(format!("f{call}"));
            }
            sent[call] += 1;
            deltas.push(delta);
        }
        let answered = streamed(Dialect::OpenAi, &openai(&deltas));
        prop_assert!(answered.error.is_none(), "{answered:?}");
        let all = calls(&answered);
        prop_assert_eq!(all.len(), 3);
        for (got, call) in all.iter().zip(order) {
            prop_assert_eq!(&got.0, &format!("id{call}"));
            prop_assert_eq!(&got.1, &format!("f{call}"));
            prop_assert_eq!(&got.2["number"], call);
        }
    }
}
