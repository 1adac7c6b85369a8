//! Servers that are silent, endless, slow or not servers at all.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ingle_egress::{Cancel, Door, EgressError, Limits, Purpose, Redirects, Request, Slowest, Wait};

use crate::server::{Line, Server, ok, tell};
use crate::{Rows, fetch, get, options};

fn open(server: &Server) -> Door {
    with(server, |_| {})
}

/// A door with other bounds than usual.
fn with(server: &Server, change: impl FnOnce(&mut Limits)) -> Door {
    let mut options = options(server.origin("127.0.0.1"), Redirects::none());
    change(&mut options.limits);
    Door::new(options, Arc::new(Rows::default()))
}

fn error(handler: impl Fn(&str, &mut dyn Line) + Send + Sync + 'static) -> EgressError {
    error_with(|_| {}, handler)
}

fn error_with(
    change: impl FnOnce(&mut Limits),
    handler: impl Fn(&str, &mut dyn Line) + Send + Sync + 'static,
) -> EgressError {
    let server = Server::plain(handler);
    let door = with(&server, change);
    fetch(&door, &server.url("127.0.0.1", "/")).unwrap_err()
}

#[test]
fn silence_has_a_bound() {
    let patience = Duration::from_millis(300);
    let silent = error_with(
        |limits| limits.answer = patience,
        |_, _| thread::sleep(Duration::from_secs(2)),
    );
    assert!(
        matches!(
            silent,
            EgressError::Timeout {
                wait: Wait::Answer,
                ..
            }
        ),
        "{silent}"
    );
    let stalled = error_with(
        |limits| limits.between_bytes = patience,
        |_, line| {
            tell(line, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
            thread::sleep(Duration::from_secs(2));
        },
    );
    assert!(
        matches!(
            stalled,
            EgressError::Timeout {
                wait: Wait::Body,
                ..
            }
        ),
        "{stalled}"
    );
    assert!(stalled.is_transient());
}

#[test]
fn a_trickle_has_a_bound() {
    let slowest = Slowest {
        bytes: 1000,
        window: Duration::from_secs(1),
    };
    let slow = error_with(
        |limits| limits.slowest = Some(slowest),
        |_, line| {
            tell(line, "HTTP/1.1 200 OK\r\n\r\n");
            for _ in 0..100 {
                tell(line, "x");
                thread::sleep(Duration::from_millis(50));
            }
        },
    );
    assert!(
        matches!(slow, EgressError::TooSlow { bytes: 1..1000, .. }),
        "{slow}"
    );
}

#[test]
fn heads_have_a_bound() {
    let wide = error(|_, line| {
        tell(
            line,
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(100_000)),
        )
    });
    assert!(
        matches!(
            wide,
            EgressError::BadAnswer { .. } | EgressError::Cut { .. }
        ),
        "{wide}"
    );
    let many = error(|_, line| {
        tell(
            line,
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)),
        )
    });
    assert!(matches!(many, EgressError::BadAnswer { .. }), "{many}");
    let endless = error(|_, line| {
        tell(line, "HTTP/1.1 200 OK\r\n");
        for _ in 0..100_000 {
            tell(line, "X-Again: and again\r\n");
        }
    });
    assert!(endless.is_transient(), "{endless}");
}

#[test]
fn bodies_have_the_bound_that_the_caller_sets() {
    let large = error(|_, line| ok(line, &"x".repeat(1001)));
    assert!(
        matches!(large, EgressError::TooLarge { limit: 1000, .. }),
        "{large}"
    );
    let endless = error(|_, line| {
        tell(line, "HTTP/1.1 200 OK\r\n\r\n");
        for _ in 0..1000 {
            tell(line, [b'x'; 1000]);
        }
    });
    assert!(matches!(endless, EgressError::TooLarge { .. }), "{endless}");
}

#[test]
fn what_is_not_http_is_not_an_answer() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "\0\0\0\0",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ] {
        let bad = error(move |_, line| tell(line, answer));
        assert!(
            matches!(bad, EgressError::BadAnswer { .. } | EgressError::Cut { .. }),
            "{answer}: {bad:?}"
        );
    }
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let cut = error(move |_, line| tell(line, answer));
        assert!(matches!(cut, EgressError::Cut { .. }), "{answer}: {cut:?}");
    }
}

#[test]
fn a_wait_ends_when_the_user_says_so() {
    let server = Server::plain(|_, _| thread::sleep(Duration::from_secs(4)));
    let door = open(&server);
    let cancel = Cancel::new();
    let request = get(&door, &server.url("127.0.0.1", "/"))
        .unwrap()
        .cancel(&cancel);
    let other = cancel.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        other.cancel();
    });
    let began = Instant::now();
    assert!(matches!(
        door.send_blocking(request),
        Err(EgressError::Cancelled)
    ));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_blocking_request_in_an_async_task_is_an_error_and_no_panic() {
    let server = Server::plain(|_, line| ok(line, "here"));
    let door = open(&server);
    let url = server.url("127.0.0.1", "/");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (blocking, asynchronous) = runtime.block_on(async {
        let blocking = door.send_blocking(get(&door, &url).unwrap()).err();
        let mut answer = door.send(get(&door, &url).unwrap()).await.unwrap();
        (blocking, answer.bytes(10).await.unwrap())
    });
    assert!(matches!(blocking, Some(EgressError::Runtime { .. })));
    assert_eq!(asynchronous, b"here");
}

#[test]
fn a_head_request_has_no_body_and_redirects_can_be_seen() {
    let server = Server::plain(|head, line| match head.starts_with("HEAD /a") {
        true => tell(
            line,
            "HTTP/1.1 302 Found\r\nLocation: https://cdn.test/x\r\nX-Linked-Size: 9\r\nContent-Length: 5\r\n\r\n",
        ),
        false => ok(line, "no"),
    });
    let door = open(&server);
    let permit = door
        .permit(Purpose::Pull, &server.url("127.0.0.1", "/a"))
        .unwrap();
    let mut answer = door.send_blocking(Request::head(permit)).unwrap();
    assert_eq!(answer.head().status(), 302);
    assert_eq!(answer.head().header("x-linked-size"), Some("9"));
    assert_eq!(
        answer.head().location().unwrap().as_str(),
        "https://cdn.test/x"
    );
    assert_eq!(answer.bytes(10).unwrap(), b"");
}
