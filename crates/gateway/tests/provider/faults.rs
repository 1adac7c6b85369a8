//! Everything that a provider can do wrong: each ends in an error that says whether it cost money.

use std::thread;
use std::time::{Duration, Instant};

use ingle_egress::{EgressError, Event};
use ingle_gateway::chat::Piece;
use ingle_gateway::provider::{
    BreakerSettings, CallError, Charged, Dialect, Fault, Key, ProviderSettings,
};

use crate::server::{
    Asked, Line, STOP, Server, answer, delta, end, good, json, more, stream, tell,
};
use crate::{Answered, KEY, World, request, settings, world};

fn with(
    change: impl FnOnce(&mut ProviderSettings),
    handler: impl Fn(&Asked, &mut dyn Line) + Send + Sync + 'static,
) -> (Server, World) {
    let server = Server::new(handler);
    let mut settings = settings("p", Dialect::OpenAi, &server);
    change(&mut settings);
    let world = world(vec![settings], Vec::new());
    (server, world)
}

/// Neither an error nor a row shows the key.
fn no_key(world: &World, error: &CallError) {
    let rows = format!("{:?}", world.rows.0.lock().unwrap());
    let shown = format!("{error}\n{error:?}\n{rows}");
    for part in KEY.as_bytes().windows(10) {
        assert!(
            !shown.contains(std::str::from_utf8(part).unwrap()),
            "{shown}"
        );
    }
}

/// The error of a provider that never gives a piece.
fn error(
    change: impl FnOnce(&mut ProviderSettings),
    handler: impl Fn(&Asked, &mut dyn Line) + Send + Sync + 'static,
) -> (CallError, usize) {
    let (server, world) = with(change, handler);
    let error = world.ask("p/m", &request()).unwrap_err();
    no_key(&world, &error);
    assert!(!error.began);
    (error, server.count())
}

/// What a provider gives that begins well.
fn begun(
    change: impl FnOnce(&mut ProviderSettings),
    handler: impl Fn(&Asked, &mut dyn Line) + Send + Sync + 'static,
) -> Answered {
    let (server, world) = with(change, handler);
    let answered = world.ask("p/m", &request()).unwrap();
    if let Some(error) = &answered.error {
        no_key(&world, error);
        assert!(error.began);
        assert_eq!(error.charged, answered.charged);
    }
    // A piece was seen: never again.
    assert_eq!((server.count(), answered.tries), (1, 1));
    answered
}

fn soon(settings: &mut ProviderSettings) {
    settings.timeouts.first = Duration::from_millis(300);
    settings.timeouts.between = Duration::from_millis(300);
}

#[test]
fn silence_before_the_head_the_first_piece_and_the_next() {
    let (late, count) = error(soon, |_, _| thread::sleep(Duration::from_secs(2)));
    assert!(matches!(late.fault, Fault::Late { .. }), "{late}");
    // It may be at work: not asked again, and to be reckoned with.
    assert_eq!((late.charged, count), (Charged::Unknown, 1));
    let (late, _) = error(soon, |_, line| {
        stream(line);
        // It says that it is there, and nothing else.
        for _ in 0..20 {
            more(line, ": still here\n\n");
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(
        matches!(
            late.fault,
            Fault::Late {
                wait: "the first piece",
                ..
            }
        ),
        "{late}"
    );
    let cut = begun(soon, |_, line| {
        stream(line);
        more(line, delta("Hel"));
        thread::sleep(Duration::from_secs(2));
    });
    assert_eq!(
        (cut.text().as_str(), cut.charged),
        ("Hel", Charged::Unknown)
    );
    assert!(matches!(
        cut.error.unwrap().fault,
        Fault::Late {
            wait: "the next piece",
            ..
        }
    ));
}

#[test]
fn a_whole_answer_may_take_as_long_as_everything() {
    let slow = |whole| {
        let (_, world) = with(
            |s| {
                soon(s);
                (s.stream, s.timeouts.whole) = (false, whole);
            },
            |_, line| {
                thread::sleep(Duration::from_millis(900));
                let message = serde_json::json!({ "content": "Hello!" });
                let choice = serde_json::json!({ "message": message, "finish_reason": "stop" });
                json(line, &serde_json::json!({ "choices": [choice] }));
            },
        );
        world.ask("p/m", &request()).map(|answered| answered.text())
    };
    assert_eq!(slow(Duration::from_secs(20)).unwrap(), "Hello!");
    let late = slow(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(late.fault, Fault::Late { .. }), "{late}");
}

#[test]
fn a_drip_ends_with_the_time_for_everything() {
    let began = Instant::now();
    let dripped = begun(
        |s| s.timeouts.whole = Duration::from_millis(700),
        |_, line| {
            stream(line);
            for _ in 0..100 {
                more(line, delta("x"));
                thread::sleep(Duration::from_millis(100));
            }
        },
    );
    assert!(matches!(dripped.error.unwrap().fault, Fault::Late { .. }));
    assert!(began.elapsed() < Duration::from_secs(4));
    // One byte of the head at a time.
    let (late, _) = error(soon, |_, line| {
        for byte in b"HTTP/1.1 200 OK\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            tell(line, [*byte]);
            thread::sleep(Duration::from_millis(30));
        }
    });
    assert!(matches!(late.fault, Fault::Late { .. }), "{late}");
}

#[test]
fn an_answer_that_is_cut_is_no_answer() {
    let cut = begun(
        |_| {},
        |_, line| {
            stream(line);
            more(line, delta("Hel"));
        },
    );
    assert_eq!(
        (cut.text().as_str(), cut.charged),
        ("Hel", Charged::Unknown)
    );
    let fault = cut.error.unwrap().fault;
    assert!(
        matches!(fault, Fault::Door(EgressError::Cut { .. })),
        "{fault}"
    );
    // Ended as HTTP, not as an answer.
    let cut = begun(
        |_| {},
        |_, line| {
            stream(line);
            more(line, delta("Hel"));
            end(line);
        },
    );
    assert!(matches!(cut.error.unwrap().fault, Fault::Cut));
    // Closed at once: it may have been read.
    let (closed, count) = error(|_| {}, |_, _| {});
    assert!(
        matches!(closed.fault, Fault::Door(EgressError::Cut { .. })),
        "{closed}"
    );
    assert_eq!((closed.charged, count), (Charged::Unknown, 1));
    // Where nothing is asked for it, it is tried again.
    let free = |s: &mut ProviderSettings| {
        let prices = &mut s.models[0].prices;
        (
            prices.input,
            prices.cached_input,
            prices.cache_write,
            prices.output,
        ) = (0, 0, 0, 0);
    };
    let (_, count) = error(free, |_, _| {});
    assert_eq!(count, 3);
}

#[test]
fn what_is_no_answer_is_told() {
    let bodies: [(&str, &str, &str); 9] = [
        ("application/json", "{\"choices\": [", "cut short"),
        ("application/json", "Hello!", "not JSON"),
        ("application/json", "[]", "no JSON object"),
        (
            "application/json",
            "{\"choices\": []}",
            "exactly one choice",
        ),
        (
            "application/json",
            "{\"choices\": [{\"message\": {\"content\": 7}, \"finish_reason\": \"stop\"}]}",
            "no text",
        ),
        (
            "application/json",
            "{\"choices\": [{\"message\": {\"content\": \"a\"}}]}",
            "how it ended",
        ),
        ("text/html", "<html>Sign in</html>", "content type"),
        ("text/event-stream", "data: {\"choi\n\n", "cut short"),
        ("text/event-stream", "data: \u{1}\n\n", "not JSON"),
    ];
    for (kind, body, words) in bodies {
        let (bad, count) = error(
            |_| {},
            move |_, line| {
                answer(line, "200 OK", &format!("Content-Type: {kind}\r\n"), body);
            },
        );
        assert!(matches!(bad.fault, Fault::BadAnswer(_)), "{bad}");
        assert!(bad.to_string().contains(words), "{bad}");
        assert_eq!((bad.charged, count), (Charged::Unknown, 1));
    }
    let (deep, _) = error(
        |_| {},
        |_, line| {
            answer(
                line,
                "200 OK",
                "Content-Type: application/json\r\n",
                "[".repeat(100_000),
            );
        },
    );
    assert!(matches!(deep.fault, Fault::BadAnswer(_)), "{deep}");
    let (packed, _) = error(
        |_| {},
        |_, line| {
            let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
            answer(line, "200 OK", headers, [0x1f, 0x8b, 8, 0]);
        },
    );
    assert!(packed.to_string().contains("compressed"), "{packed}");
    let (noise, _) = error(|_| {}, |_, line| tell(line, "SSH-2.0-OpenSSH_9.2\r\n"));
    assert!(
        matches!(noise.fault, Fault::Door(EgressError::BadAnswer { .. })),
        "{noise}"
    );
}

#[test]
fn after_a_piece_what_is_wrong_ends_the_answer() {
    for (more_of_it, words) in [
        ("data: nonsense\n\n".to_owned(), "not JSON"),
        (
            "data: {\"error\": {\"message\": \"overloaded\"}}\n\n".to_owned(),
            "overloaded",
        ),
        (
            format!("data: {{\"error\": {{\"message\": \"key {KEY}\"}}}}\n\n"),
            "key [key]",
        ),
        (
            "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n".to_owned(),
            "more than one",
        ),
        ("data: [DONE]\n\n".to_owned(), "how it ended"),
        (
            format!("{}{}", STOP.replace("data: [DONE]\n\n", ""), delta("again")),
            "behind its end",
        ),
    ] {
        let ended = begun(
            |_| {},
            move |_, line| {
                stream(line);
                more(line, delta("Hel"));
                more(line, &more_of_it);
                end(line);
            },
        );
        assert_eq!(ended.charged, Charged::Unknown);
        let error = ended.error.unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn figures_that_cannot_be_are_not_believed() {
    for usage in [
        "null",
        "{\"prompt_tokens\":0,\"completion_tokens\":3}",
        "{\"prompt_tokens\":12,\"completion_tokens\":0}",
        "{\"prompt_tokens\":12,\"completion_tokens\":1001}",
        "{\"prompt_tokens\":100001,\"completion_tokens\":3}",
        "{\"prompt_tokens\":12,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":13}}",
        "{\"prompt_tokens\":12,\"completion_tokens\":3,\"completion_tokens_details\":{\"reasoning_tokens\":4}}",
        "{\"prompt_tokens\":-1,\"completion_tokens\":3}",
        "{\"prompt_tokens\":\"many\",\"completion_tokens\":3}",
        "{\"prompt_tokens\":1e30,\"completion_tokens\":3}",
        "{\"prompt_tokens\":12,\"completion_tokens\":2.5}",
    ] {
        let ending = STOP.replace("{\"prompt_tokens\":12,\"completion_tokens\":3}", usage);
        let answered = begun(
            |_| {},
            move |_, line| {
                stream(line);
                more(line, delta("Hello!"));
                more(line, &ending);
                end(line);
            },
        );
        // The answer stands; what it cost is not known.
        assert!(answered.error.is_none());
        assert!(
            matches!(answered.pieces.last(), Some(Piece::Finish(_))),
            "{answered:?}"
        );
        assert_eq!(answered.charged, Charged::Unknown);
        assert!(answered.usage_fault.is_some(), "{usage}");
    }
}

#[test]
fn a_body_without_end_has_one() {
    let endless = begun(
        |_| {},
        |_, line| {
            stream(line);
            let text = delta(&"x".repeat(60_000));
            for _ in 0..100 {
                more(line, &text);
            }
        },
    );
    assert!(matches!(
        endless.error.unwrap().fault,
        Fault::TooLarge { .. }
    ));
    let (endless, _) = error(
        |_| {},
        |_, line| {
            tell(
                line,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
            );
            for _ in 0..100 {
                tell(line, vec![b' '; 60_000]);
            }
        },
    );
    assert!(matches!(endless.fault, Fault::TooLarge { .. }), "{endless}");
    let (long, _) = error(
        |_| {},
        |_, line| {
            stream(line);
            for _ in 0..100 {
                more(line, format!("data: {}", "x".repeat(60_000)));
            }
        },
    );
    assert!(
        matches!(long.fault, Fault::TooLarge { .. } | Fault::BadAnswer(_)),
        "{long}"
    );
}

#[test]
fn a_head_without_end_has_one() {
    for lines in [200, 100_000] {
        let (bomb, _) = error(
            |_| {},
            move |_, line| {
                tell(line, "HTTP/1.1 200 OK\r\n");
                for i in 0..lines {
                    tell(line, format!("X-{i}: {}\r\n", "a".repeat(lines / 200)));
                }
                tell(line, "\r\n");
            },
        );
        assert!(
            matches!(
                bomb.fault,
                Fault::Door(EgressError::BadAnswer { .. } | EgressError::Cut { .. })
            ),
            "{bomb}"
        );
    }
}

#[test]
fn a_refused_key_is_told_and_not_shown() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let (refused, count) = error(
            |_| {},
            move |asked, line| {
                let key = asked.header("authorization").unwrap();
                let body = format!("{{\"error\": {{\"message\": \"wrong key: {key}\"}}}}");
                answer(line, status, "Content-Type: application/json\r\n", body);
            },
        );
        assert!(matches!(refused.fault, Fault::KeyRefused { .. }));
        assert_eq!((refused.charged, count), (Charged::No, 1));
    }
    // In any other refusal it is cut out.
    let (refused, _) = error(
        |_| {},
        |asked, line| {
            let key = asked.header("authorization").unwrap();
            let body = format!("{{\"error\": {{\"message\": \"no model for {key}\\u001b[2J\"}}}}");
            answer(line, "404 Not Found", "", body);
        },
    );
    assert_eq!(
        refused.to_string(),
        "p/m: it refuses the request (status 404): no model for Bearer [key]\\u{1b}[2J"
    );
    let server = Server::new(|_, line| good(line));
    let mut missing = settings("p", Dialect::OpenAi, &server);
    missing.key = Key::Missing("set P_KEY to its key".into());
    let world = world(vec![missing], Vec::new());
    let error = world.ask("p/m", &request()).unwrap_err();
    assert_eq!((error.charged, server.count()), (Charged::No, 0));
    assert!(error.to_string().contains("set P_KEY"));
    assert!(!world.providers.is_ready("p/m"));
}

#[test]
fn a_busy_provider_is_asked_again() {
    for status in [
        "429 Too Many",
        "500 Oops",
        "502 Bad Gateway",
        "503 Busy",
        "529 Overloaded",
        "408 Slow",
    ] {
        let (server, world) = with(
            |_| {},
            move |asked, line| match asked.before {
                0 | 1 => answer(line, status, "", "{\"error\": \"busy\"}"),
                _ => good(line),
            },
        );
        let answered = world.ask("p/m", &request()).unwrap();
        assert_eq!(
            (answered.text().as_str(), answered.tries),
            ("Hello!", 3),
            "{status}"
        );
        assert_eq!((server.count(), world.rows.asked()), (3, 3));
        // Always busy: so often and no more, and it cost nothing.
        let (busy, count) = error(|_| {}, move |_, line| answer(line, status, "", "busy"));
        assert!(matches!(busy.fault, Fault::Busy { .. }), "{busy}");
        assert_eq!((busy.charged, busy.tries, count), (Charged::No, 3, 3));
    }
    // Somebody may still be at work.
    let (gone, count) = error(
        |_| {},
        |_, line| answer(line, "504 Gateway Timeout", "", ""),
    );
    assert_eq!((gone.charged, count), (Charged::Unknown, 1));
    // What will not change is not asked again.
    for (status, headers, body) in [
        ("400 Bad Request", "", "{}"),
        ("413 Too Large", "", "{}"),
        ("501 Not Implemented", "x-should-retry: false\r\n", "{}"),
        (
            "429 Too Many",
            "",
            "{\"error\": {\"message\": \"pay\", \"code\": \"insufficient_quota\"}}",
        ),
    ] {
        let (refused, count) = error(|_| {}, move |_, line| answer(line, status, headers, body));
        assert!(matches!(refused.fault, Fault::Refused { .. }), "{refused}");
        assert_eq!((refused.charged, count), (Charged::No, 1));
    }
}

#[test]
fn retry_after_is_kept() {
    for header in [
        "Retry-After: 1\r\n",
        "retry-after-ms: 1000\r\n",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
    ] {
        let (server, world) = with(
            |_| {},
            move |asked, line| match asked.before {
                0 => answer(line, "429 Too Many", header, ""),
                _ => good(line),
            },
        );
        let began = Instant::now();
        assert_eq!(world.ask("p/m", &request()).unwrap().text(), "Hello!");
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.count(), 2);
    }
    // Longer than anybody waits: told at once, and the next request is not even sent.
    let (server, world) = with(
        |_| {},
        |_, line| {
            answer(line, "429 Too Many", "Retry-After: 3600\r\n", "");
        },
    );
    let error = world.ask("p/m", &request()).unwrap_err();
    assert!(error.to_string().contains("3600 s"), "{error}");
    let error = world.ask("p/m", &request()).unwrap_err();
    assert!(matches!(error.fault, Fault::Resting { .. }), "{error}");
    assert_eq!(server.count(), 1);
    assert!(!world.providers.is_ready("p/m"));
}

#[test]
fn a_redirect_is_not_followed_and_the_key_stays() {
    let other = Server::named("hub.test", |_, line| good(line));
    let to = other.url();
    let (server, world) = with(
        |_| {},
        move |_, line| {
            answer(
                line,
                "307 Elsewhere",
                &format!("Location: {to}/chat/completions\r\n"),
                "",
            );
        },
    );
    let error = world.ask("p/m", &request()).unwrap_err();
    no_key(&world, &error);
    assert!(
        matches!(error.fault, Fault::Redirected { status: 307, .. }),
        "{error}"
    );
    assert_eq!(
        (error.charged, other.count(), server.count()),
        (Charged::No, 0, 1)
    );
    // At the same place it is, with its body; but never as a GET.
    for (status, followed) in [
        ("307 There", true),
        ("308 There", true),
        ("302 There", false),
    ] {
        let (server, world) = with(
            |_| {},
            move |asked, line| match asked.path() {
                "/v1/there" => good(line),
                _ => answer(line, status, "Location: /v1/there\r\n", ""),
            },
        );
        assert_eq!(world.ask("p/m", &request()).is_ok(), followed, "{status}");
        if followed {
            assert_eq!(server.last().json()["model"], "m");
        }
    }
}

#[test]
fn who_is_not_vouched_for_is_not_asked() {
    // The certificate is for other names.
    let server = Server::named("evil.test", |_, line| good(line));
    let mut settings = settings("p", Dialect::OpenAi, &server);
    settings.private = true;
    let world = world(vec![settings], Vec::new());
    let error = world.ask("p/m", &request()).unwrap_err();
    assert!(
        matches!(error.fault, Fault::Door(EgressError::Tls { .. })),
        "{error}"
    );
    assert_eq!((error.charged, server.count()), (Charged::No, 0));
    no_key(&world, &error);
}

#[test]
fn a_name_that_leads_home_is_refused() {
    // `hub.test` says nothing of a private network, and lies in one.
    let server = Server::named("hub.test", |_, line| good(line));
    let world = world(vec![settings("p", Dialect::OpenAi, &server)], Vec::new());
    let error = world.ask("p/m", &request()).unwrap_err();
    assert!(
        matches!(error.fault, Fault::Door(EgressError::Address { .. })),
        "{error}"
    );
    assert_eq!(server.count(), 0);
}

#[test]
fn nobody_there() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = Server::new(|_, line| good(line));
    let mut settings = settings("p", Dialect::OpenAi, &server);
    settings.base_url = format!("https://{gone}/v1");
    let world = world(vec![settings], Vec::new());
    let error = world.ask("p/m", &request()).unwrap_err();
    assert!(
        matches!(error.fault, Fault::Door(EgressError::Connect { .. })),
        "{error}"
    );
    assert_eq!(
        (error.charged, error.tries, world.rows.asked()),
        (Charged::No, 3, 3)
    );
    let error = world.ask("p/x", &request()).unwrap_err();
    assert!(matches!(error.fault, Fault::Unknown));
    assert_eq!(error.charged, Charged::No);
}

#[test]
fn who_fails_again_and_again_is_left_alone() {
    let failures = |s: &mut ProviderSettings| {
        s.retries.times = 0;
        s.breaker = BreakerSettings {
            failures: 3,
            rest: Duration::from_millis(600),
            most_rest: Duration::from_secs(60),
        };
    };
    let (server, world) = with(failures, |asked, line| match asked.before {
        0..=3 => answer(line, "500 Oops", "", ""),
        _ => good(line),
    });
    for _ in 0..3 {
        assert!(matches!(
            world.ask("p/m", &request()).unwrap_err().fault,
            Fault::Busy { .. }
        ));
    }
    assert!(!world.providers.is_ready("p/m"));
    let error = world.ask("p/m", &request()).unwrap_err();
    assert!(matches!(error.fault, Fault::Resting { .. }), "{error}");
    assert_eq!((error.charged, server.count()), (Charged::No, 3));
    thread::sleep(Duration::from_millis(650));
    // One tries, fails, and it rests twice as long.
    assert!(matches!(
        world.ask("p/m", &request()).unwrap_err().fault,
        Fault::Busy { .. }
    ));
    thread::sleep(Duration::from_millis(650));
    assert!(matches!(
        world.ask("p/m", &request()).unwrap_err().fault,
        Fault::Resting { .. }
    ));
    thread::sleep(Duration::from_millis(650));
    assert_eq!(world.ask("p/m", &request()).unwrap().text(), "Hello!");
    assert!(world.providers.is_ready("p/m"));
}

#[test]
fn a_visit_says_whether_the_key_is_accepted() {
    let visit = |world: &World| crate::run(world.providers.visit("p"));
    let (server, world) = with(
        |_| {},
        |asked, line| match asked.before {
            0 => answer(line, "200 OK", "", "{}"),
            1 => answer(line, "401 Unauthorized", "", KEY),
            _ => answer(line, "500 Oops", "", format!("{{\"error\": \"{KEY}\"}}")),
        },
    );
    visit(&world).unwrap();
    assert!(server.last().head.starts_with("GET /v1/models"));
    assert!(matches!(
        visit(&world),
        Err(Fault::KeyRefused { status: 401 })
    ));
    let error = visit(&world).unwrap_err();
    assert!(matches!(error, Fault::Busy { status: 500, .. }));
    assert!(error.to_string().contains("[key]"), "{error}");
    let unknown = crate::run(world.providers.visit("q"));
    assert!(matches!(unknown, Err(Fault::Unknown)));
}

#[test]
fn a_caller_who_goes_closes_the_connection() {
    let (server, world) = with(
        |_| {},
        |_, line| {
            stream(line);
            more(line, delta("Hel"));
            thread::sleep(Duration::from_millis(200));
            // Into a connection that is closed, until that is noticed.
            for _ in 0..1000 {
                more(line, delta(&"x".repeat(1000)));
            }
        },
    );
    crate::run(async {
        let mut answer = world
            .providers
            .ask("p/m", &request(), "rule")
            .await
            .unwrap();
        assert_eq!(
            answer.next().await.unwrap(),
            Some(Piece::Text("Hel".into()))
        );
        assert_eq!(answer.charged(), Charged::Unknown);
    });
    let rows = world.rows.0.lock().unwrap();
    let end = rows.iter().find_map(|row| match &row.event {
        Event::End { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(end.as_deref(), Some("dropped"));
    assert_eq!(server.count(), 1);
}

#[test]
fn every_try_is_a_row_with_request_and_rule() {
    let (_, world) = with(
        |_| {},
        |asked, line| match asked.before {
            0 => answer(line, "503 Busy", "", ""),
            _ => good(line),
        },
    );
    world.ask("p/m", &request()).unwrap();
    let rows = world.rows.0.lock().unwrap();
    let asked = rows.iter().filter_map(|row| match &row.event {
        Event::Asked {
            method,
            request,
            rule,
            token,
            body,
            path,
            ..
        } => Some((
            *method,
            request.as_deref(),
            rule.as_deref(),
            *token,
            *body > 50,
            path.as_str(),
        )),
        _ => None,
    });
    let asked: Vec<_> = asked.collect();
    let one = (
        "POST",
        Some("req_1"),
        Some("policy.rule[1]"),
        true,
        true,
        "/v1/chat/completions",
    );
    assert_eq!(asked, [one, one]);
    let ends = rows
        .iter()
        .filter(|row| matches!(&row.event, Event::End { outcome, .. } if outcome != "done"));
    // The refusal's body was read to its end, and the answer's too.
    assert_eq!(ends.count(), 0, "{rows:?}");
}

#[test]
fn no_more_at_a_time_than_is_allowed() {
    let (server, world) = with(
        |s| s.concurrent = 2,
        |_, line| {
            stream(line);
            more(line, delta("Hel"));
            thread::sleep(Duration::from_millis(500));
            more(line, STOP);
            end(line);
        },
    );
    crate::run(async {
        let asks: Vec<_> = (0..5)
            .map(|_| async {
                match world.providers.ask("p/m", &request(), "rule").await {
                    Ok(answer) => {
                        crate::read(answer).await;
                        true
                    }
                    Err(error) => {
                        assert!(matches!(error.fault, Fault::Full { most: 2 }));
                        false
                    }
                }
            })
            .collect();
        let done = futures_util::future::join_all(asks).await;
        assert_eq!(done.iter().filter(|ok| **ok).count(), 2);
    });
    assert_eq!(server.count(), 2);
    // The places are free again.
    assert!(world.providers.is_ready("p/m"));
}

#[test]
fn odd_answers_are_still_answers() {
    let piece = "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello!\"}}]}";
    let stop = "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}";
    let took = |n| {
        format!("{{\"choices\":[],\"usage\":{{\"prompt_tokens\":12,\"completion_tokens\":{n}}}}}")
    };
    let lines = piece.replace("\"delta\"", "\ndata: \"delta\"");
    for (name, text) in [
        (
            "CRLF",
            format!(
                "data: {piece}\r\n\r\ndata: {stop}\r\n\r\ndata: {}\r\n\r\n",
                took(3)
            ),
        ),
        (
            "comments, names and ids",
            format!(
                ": hi\n\n: there\nid: 4\nevent: message\nretry: 5\ndata:{piece}\n\n:\n\ndata: {stop}\n\ndata: {}\n\n",
                took(3)
            ),
        ),
        (
            "data in lines",
            format!("data: {lines}\n\ndata: {stop}\n\ndata: {}\n\n", took(3)),
        ),
        (
            "no last end of line",
            format!("data: {piece}\n\ndata: {stop}\n\ndata: {}", took(3)),
        ),
        (
            "figures twice",
            format!(
                "data: {piece}\n\ndata: {}\n\ndata: {stop}\n\ndata: {}\n\ndata: [DONE]\n\n",
                took(1),
                took(3)
            ),
        ),
        (
            "a mark at the beginning",
            format!(
                "\u{feff}data: {piece}\n\ndata: {stop}\n\ndata: {}\n\n",
                took(3)
            ),
        ),
    ] {
        // Of an old server: the end of the connection is the end of the answer.
        let head = "HTTP/1.0 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n";
        let answered = begun(
            |_| {},
            move |_, line| {
                tell(line, head);
                for byte in text.as_bytes().chunks(7) {
                    tell(line, byte);
                }
            },
        );
        assert!(answered.error.is_none(), "{name}: {answered:?}");
        assert_eq!(answered.text(), "Hello!", "{name}");
        let usage = match answered.charged {
            Charged::Yes(usage) => (usage.input, usage.output),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(usage, (12, 3), "{name}");
    }
}

#[test]
fn what_is_cut_within_an_event_is_no_answer() {
    let (error, _) = error(soon, |_, line| {
        tell(
            line,
            "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"ind",
        );
    });
    assert_eq!(error.charged, Charged::Unknown, "{error}");
    // Lengths that are none.
    let (error, _) = self::error(soon, |_, line| {
        stream(line);
        tell(line, "zz\r\ndata: {}\r\n");
    });
    assert_eq!(error.charged, Charged::Unknown, "{error}");
}
