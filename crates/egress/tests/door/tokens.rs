//! Where a token goes, and where it does not.

use std::sync::Arc;

use base64::Engine as _;
use ingle_egress::{
    Authorities, Door, EgressError, Endpoint, Follow, Purpose, Redirects, Request, Token, Url,
};

use crate::server::{Server, ok, redirect};
use crate::{Names, Rows, options};

fn send(door: &Door, url: &Url, token: &Token) -> Result<(u16, bool), EgressError> {
    let request = Request::get(door.permit(Purpose::Pull, url)?)
        .follow(Follow::Allowed)
        .token(Some(token));
    let answer = door.send_blocking(request)?;
    Ok((answer.head().status(), answer.head().token_sent()))
}

#[test]
fn a_token_stays_with_its_origin() {
    let other = Server::tls(|_, line| ok(line, ""));
    // The same host on another port is another origin.
    let (to_port, to_host) = (other.url("hub.test", "/"), other.url("cdn.test", "/"));
    let hub = Server::tls(move |head, line| match head.split(' ').nth(1) {
        Some("/port") => redirect(line, &to_port),
        Some("/host") => redirect(line, &to_host),
        Some("/self") => redirect(line, "/end"),
        _ => ok(line, ""),
    });
    let redirects = Redirects::none()
        .and(other.origin("hub.test"))
        .and(other.origin("cdn.test"));
    let door = Door::new(
        options(hub.origin("hub.test"), redirects),
        Arc::new(Rows::default()),
    );
    let token = Token::new(hub.origin("hub.test"), "hf_secret").unwrap();
    assert_eq!(
        send(&door, &hub.url("hub.test", "/self"), &token).unwrap(),
        (200, true)
    );
    assert_eq!(
        hub.header("authorization").as_deref(),
        Some("Bearer hf_secret")
    );
    for path in ["/port", "/host"] {
        assert_eq!(
            send(&door, &hub.url("hub.test", path), &token).unwrap(),
            (200, false)
        );
        assert_eq!(other.header("authorization"), None, "{path}");
        assert_eq!(other.header("cookie"), None);
    }
    assert_eq!(other.connections(), 2);
}

#[test]
fn from_https_nothing_leads_to_http() {
    let clear = Server::plain(|_, line| ok(line, ""));
    let to = clear.url("hub.test", "/");
    let hub = Server::tls(move |_, line| redirect(line, &to));
    // Not even where the user named that http origin.
    let redirects = Redirects::none().and(clear.origin("hub.test"));
    let door = Door::new(
        options(hub.origin("hub.test"), redirects),
        Arc::new(Rows::default()),
    );
    let token = Token::new(hub.origin("hub.test"), "hf_secret").unwrap();
    let error = send(&door, &hub.url("hub.test", "/"), &token).unwrap_err();
    assert!(matches!(error, EgressError::Redirect { .. }), "{error}");
    assert_eq!(clear.connections(), 0);
}

#[test]
fn in_clear_text_a_token_reaches_this_machine_only() {
    let server = Server::plain(|_, line| ok(line, ""));
    for (host, sent) in [("127.0.0.1", true), ("hub.test", false)] {
        let door = Door::new(
            options(server.origin(host), Redirects::none()),
            Arc::new(Rows::default()),
        );
        let token = Token::new(server.origin(host), "hf_secret").unwrap();
        assert_eq!(
            send(&door, &server.url(host, "/"), &token).unwrap(),
            (200, sent),
            "{host}"
        );
        assert_eq!(server.header("authorization").is_some(), sent);
    }
}

#[test]
fn tokens_and_headers_cannot_smuggle() {
    let server = Server::plain(|_, line| ok(line, ""));
    let origin = server.origin("127.0.0.1");
    for secret in ["", " ", "a\r\nX: y", "a b", "ä", &"x".repeat(10_000)] {
        let error = Token::new(origin.clone(), secret).unwrap_err();
        assert!(matches!(error, EgressError::BadToken { .. }));
    }
    let token = Token::new(origin.clone(), "hf_secret\n").unwrap();
    assert!(!format!("{token:?}").contains("hf_secret"));
    let door = Door::new(
        options(origin, Redirects::none()),
        Arc::new(Rows::default()),
    );
    let request = || {
        Request::get(
            door.permit(Purpose::Pull, &server.url("127.0.0.1", "/"))
                .unwrap(),
        )
    };
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("Host", "evil"),
        ("cookie", "a"),
        ("content-length", "9"),
        ("transfer-encoding", "chunked"),
        ("x\r\ny", "z"),
        ("x", "y\r\nz: w"),
        ("", "y"),
    ] {
        let refused = request().header(name, value);
        assert!(
            matches!(refused, Err(EgressError::BadHeader { .. })),
            "{name}"
        );
    }
    let debug = format!("{:?}", request().token(Some(&token)));
    assert!(!debug.contains("hf_secret"), "{debug}");
}

#[test]
fn who_is_not_vouched_for_is_not_trusted() {
    let server = Server::tls(|_, line| ok(line, "here"));
    let names = Names::of(&[("hub.test", &["127.0.0.1"]), ("evil.test", &["127.0.0.1"])]);
    let open = |host: &str, authorities: Vec<Vec<u8>>| {
        let mut options = options(server.origin(host), Redirects::none());
        (options.authorities, options.resolver) = (authorities, names.clone());
        crate::fetch(
            &Door::new(options, Arc::new(Rows::default())),
            &server.url(host, "/"),
        )
    };
    let ours = || vec![crate::server::AUTHORITY.to_vec()];
    assert_eq!(open("hub.test", ours()).unwrap(), "here");
    assert_eq!(open("127.0.0.1", ours()).unwrap(), "here");
    let error = open("evil.test", ours()).unwrap_err();
    assert!(
        matches!(error, EgressError::Tls { .. }) && !error.is_transient(),
        "{error}"
    );
    let error = open("hub.test", Vec::new()).unwrap_err();
    assert!(
        matches!(
            error,
            EgressError::Tls { .. } | EgressError::NoAuthorities { .. }
        ),
        "{error}"
    );
    assert!(server.heads.lock().unwrap().len() == 2);
}

#[test]
fn an_endpoint_may_have_its_own_authority_and_then_no_other() {
    let pem = |der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let ours = Authorities::from_pem(pem(crate::server::AUTHORITY).as_bytes()).unwrap();
    let server = Server::tls(|_, line| ok(line, "here"));
    let origin = server.origin("127.0.0.1");
    let endpoint = || Endpoint::named(Purpose::Pull, origin.clone(), Redirects::none());
    let open = |endpoint: Endpoint, authorities: Vec<Vec<u8>>| {
        let mut options = options(origin.clone(), Redirects::none());
        (options.endpoints, options.authorities) = (vec![endpoint], authorities);
        let door = Door::new(options, Arc::new(Rows::default()));
        crate::fetch(&door, &server.url("127.0.0.1", "/"))
    };
    let vouched = || endpoint().vouched_for_by(ours.clone());
    assert_eq!(open(vouched(), Vec::new()).unwrap(), "here");
    assert!(open(endpoint(), Vec::new()).is_err());
    // Whom the door trusts else does not count: another authority alone is not ours.
    let other = include_bytes!("../goldens/server.der");
    let other = Authorities::from_pem(pem(other).as_bytes()).unwrap();
    let stranger = endpoint().vouched_for_by(other);
    let refused = open(stranger, vec![crate::server::AUTHORITY.to_vec()]);
    assert!(
        matches!(refused, Err(EgressError::Tls { .. })),
        "{refused:?}"
    );
    for wrong in [
        &b""[..],
        b"text",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(Authorities::from_pem(wrong).is_err());
    }
}
