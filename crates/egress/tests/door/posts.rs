//! Requests that carry what somebody wrote.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ingle_egress::{
    Cause, Door, EgressError, Endpoint, Event, Follow, Limits, Origin, Purpose, Redirects, Request,
    Token, Wait,
};

use crate::server::{Server, ok, tell};
use crate::{Rows, options};

fn door(server: &Server) -> (Door, Arc<Rows>) {
    let origin = server.origin("127.0.0.1");
    let mut options = options(origin.clone(), Redirects::none());
    let provider = Endpoint::named(Purpose::Provider, origin, Redirects::none());
    options.endpoints = vec![provider];
    let rows = Arc::new(Rows::default());
    (Door::new(options, rows.clone()), rows)
}

fn post(door: &Door, server: &Server, path: &str) -> Request {
    let cause = Cause::new("req_1", "policy.rule[2]").unwrap();
    let url = server.url("127.0.0.1", path);
    let permit = door.permit_for(Purpose::Provider, &url, cause).unwrap();
    Request::post(permit, "{\"secret\": \"text\"}")
}

#[test]
fn a_post_carries_its_body_and_its_row_says_whose_it_is() {
    let server = Server::tls(|_, line| ok(line, "here"));
    let (door, rows) = door(&server);
    let request = post(&door, &server, "/v1/chat")
        .header("content-type", "application/json")
        .unwrap();
    assert!(!format!("{request:?}").contains("text\\\""));
    assert_eq!(
        door.send_blocking(request).unwrap().bytes(9).unwrap(),
        b"here"
    );
    assert_eq!(server.header("content-length").as_deref(), Some("18"));
    assert_eq!(
        server.header("content-type").as_deref(),
        Some("application/json")
    );
    let asked = rows.events().into_iter().next().unwrap();
    let Event::Asked {
        method,
        request,
        rule,
        body,
        ..
    } = asked
    else {
        panic!("{asked:?}")
    };
    assert_eq!((method, body), ("POST", 18));
    assert_eq!(request.as_deref(), Some("req_1"));
    assert_eq!(rule.as_deref(), Some("policy.rule[2]"));
}

#[test]
fn without_a_cause_nothing_goes_to_a_provider() {
    let server = Server::tls(|_, line| ok(line, ""));
    let (door, rows) = door(&server);
    let url = server.url("127.0.0.1", "/");
    let refused = door.permit(Purpose::Provider, &url);
    assert!(matches!(refused, Err(EgressError::NoCause)));
    // The hosts of providers are not there for other purposes.
    let refused = door.permit(Purpose::Pull, &url);
    assert!(matches!(refused, Err(EgressError::NotAllowed { .. })));
    let cause = Cause::new("req_9", "rule").unwrap();
    let elsewhere = "https://elsewhere.example/".parse().unwrap();
    assert!(
        door.permit_for(Purpose::Provider, &elsewhere, cause)
            .is_err()
    );
    assert_eq!(rows.kinds(), ["refused", "refused", "refused"]);
    let last = rows.events().pop().unwrap();
    assert!(matches!(last, Event::Refused { request: Some(id), .. } if id == "req_9"));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_key_goes_in_its_own_header_to_its_own_origin() {
    let server = Server::tls(|_, line| ok(line, ""));
    let (door, _) = door(&server);
    let token = |origin: Origin| Token::in_header(origin, "x-api-key", "sk-secret").unwrap();
    let send = |token: &Token| {
        door.send_blocking(post(&door, &server, "/").token(Some(token)))
            .unwrap();
    };
    send(&token(server.origin("127.0.0.1")));
    assert_eq!(server.header("x-api-key").as_deref(), Some("sk-secret"));
    assert_eq!(server.header("authorization"), None);
    send(&token(Origin::parse("https://elsewhere.example").unwrap()));
    assert_eq!(server.header("x-api-key"), None);
    assert!(Token::in_header(server.origin("127.0.0.1"), "x-other", "a").is_err());
    for name in ["x-api-key", "api-key"] {
        assert!(post(&door, &server, "/").header(name, "sk").is_err());
    }
}

#[test]
fn a_post_is_sent_on_only_as_a_post_and_by_permit() {
    let other = Server::tls(|_, line| ok(line, "other"));
    let away = other.url("127.0.0.1", "/");
    let server = Server::tls(move |head, line| {
        let status = head.split(['/', ' ']).nth(2).unwrap_or_default().to_owned();
        let to = match head.contains("/away") {
            true => away.to_string(),
            false => "/end".to_owned(),
        };
        match status.as_str() {
            "end" => ok(line, "end"),
            status => tell(
                line,
                format!("HTTP/1.1 {status} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
            ),
        }
    });
    let (door, _) = door(&server);
    let send = |path: &str| door.send_blocking(post(&door, &server, path).follow(Follow::Allowed));
    for status in [307, 308] {
        let mut answer = send(&format!("/{status}")).unwrap();
        assert_eq!(answer.bytes(9).unwrap(), b"end");
        assert!(
            server
                .heads
                .lock()
                .unwrap()
                .last()
                .unwrap()
                .starts_with("POST /end")
        );
        let refused = send(&format!("/{status}/away"));
        assert!(matches!(refused, Err(EgressError::Redirect { .. })));
    }
    for status in [301, 302, 303] {
        assert_eq!(send(&format!("/{status}")).unwrap().head().status(), status);
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn the_whole_has_a_bound_where_one_is_given() {
    let server = Server::tls(|_, line| {
        tell(line, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        for _ in 0..30 {
            tell(line, "x");
            let _ = line.flush();
            thread::sleep(Duration::from_millis(100));
        }
    });
    let (door, _) = door(&server);
    let limits = Limits {
        whole: Some(Duration::from_millis(600)),
        ..Limits::default()
    };
    let began = Instant::now();
    let error = door
        .send_blocking(post(&door, &server, "/").limits(limits))
        .and_then(|mut answer| answer.bytes(1000))
        .unwrap_err();
    assert!(
        matches!(
            error,
            EgressError::Timeout {
                wait: Wait::Whole,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.may_have_arrived() && began.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_error_before_the_first_byte_says_that_nothing_arrived() {
    // Closed before TLS was agreed on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::tls(|_, _| {});
    let address = listener.local_addr().unwrap();
    thread::spawn(move || drop(listener.accept()));
    let origin = Origin::parse(&format!("https://{address}")).unwrap();
    let mut options = options(origin.clone(), Redirects::none());
    options.endpoints = vec![Endpoint::named(
        Purpose::Provider,
        origin,
        Redirects::none(),
    )];
    let closed = Door::new(options, Arc::new(Rows::default()));
    let url = format!("https://{address}/").parse().unwrap();
    let cause = Cause::new("q", "r").unwrap();
    let permit = closed.permit_for(Purpose::Provider, &url, cause).unwrap();
    let error = closed
        .send_blocking(Request::post(permit, "a"))
        .err()
        .unwrap();
    assert!(!error.may_have_arrived(), "{error}");
    // Closed after the request was read.
    let (door, _) = door(&server);
    let error = door.send_blocking(post(&door, &server, "/")).err().unwrap();
    assert!(error.may_have_arrived(), "{error}");
}
