//! Every message that a person may read, side by side.

use std::time::Duration;

use ingle_egress::{Authorities, EgressError, Proxy, Purpose, Wait, parse_url};

fn host() -> String {
    "hub.example".to_owned()
}

fn origin() -> String {
    "http://hub.example:8080".to_owned()
}

fn reason(text: &str) -> String {
    text.to_owned()
}

fn refusals() -> Vec<EgressError> {
    vec![
        EgressError::Offline {
            host: host(),
            why: "HF_HUB_OFFLINE=1".to_owned(),
        },
        parse_url("https://a b").unwrap_err(),
        EgressError::NotAllowed {
            origin: origin(),
            purpose: Purpose::Pull,
        },
        EgressError::ClearText { origin: origin() },
        EgressError::Redirect {
            from: origin(),
            to: "https://evil.example/x".to_owned(),
            reason: "it is http",
        },
        EgressError::RedirectLoop {
            from: origin(),
            limit: 8,
        },
        EgressError::Address {
            host: host(),
            address: [10, 0, 0, 1].into(),
            kind: "a private network",
        },
        EgressError::NoHost {
            host: host(),
            address: [169, 254, 169, 254].into(),
            kind: "a cloud's metadata service",
        },
        Proxy::parse("socks5://me:secret@proxy.example:1080", "").unwrap_err(),
        EgressError::BadToken { origin: origin() },
        EgressError::BadHeader {
            name: "host".to_owned(),
        },
        EgressError::NoCause,
        EgressError::Cancelled,
        EgressError::Log {
            host: host(),
            reason: reason("no storage space"),
        },
        EgressError::Runtime {
            host: host(),
            reason: reason("too many open files"),
        },
    ]
}

fn failures() -> Vec<EgressError> {
    let timeout = |wait| EgressError::Timeout {
        host: host(),
        wait,
        limit: Duration::from_millis(1500),
    };
    vec![
        EgressError::Dns {
            host: host(),
            reason: reason("Name or service not known"),
        },
        EgressError::Connect {
            host: host(),
            reason: reason("Connection refused"),
        },
        EgressError::Proxy {
            proxy: origin(),
            host: host(),
            reason: reason("it says `HTTP/1.1 407`"),
        },
        EgressError::Tls {
            host: host(),
            reason: reason("invalid peer certificate: Expired"),
        },
        EgressError::NoAuthorities {
            reason: reason("No CA certificates were loaded"),
        },
        Authorities::from_pem(b"-----").unwrap_err(),
        timeout(Wait::Dns),
        timeout(Wait::Connect),
        timeout(Wait::Answer),
        timeout(Wait::Body),
        timeout(Wait::Whole),
        EgressError::TooSlow {
            host: host(),
            bytes: 17,
            window: Duration::from_secs(60),
        },
        EgressError::Cut {
            host: host(),
            reason: reason("end of file before message length reached"),
        },
        EgressError::BadAnswer {
            host: host(),
            reason: reason("invalid HTTP version parsed"),
        },
        EgressError::TooLarge {
            host: host(),
            limit: 16 << 20,
        },
    ]
}

#[test]
fn messages() {
    let all: Vec<String> = refusals()
        .iter()
        .chain(&failures())
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(all.join("\n\n"));
}
