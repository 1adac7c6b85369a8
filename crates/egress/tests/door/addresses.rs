//! Names that lead where they should not, and hosts that nobody named.

use std::sync::Arc;

use ingle_egress::{Door, DoorOptions, EgressError, Endpoint, Event, Origin, Purpose, Redirects};

use crate::server::{Server, ok, redirect};
use crate::{Names, Rows, fetch, options};

/// A door to `host`, which the program knows but the user did not name.
fn unnamed(origin: Origin, names: Arc<Names>, log: Arc<Rows>) -> Door {
    let endpoint = Endpoint::public(Purpose::Pull, origin.clone(), Redirects::none()).unwrap();
    let options = DoorOptions {
        endpoints: vec![endpoint],
        resolver: names,
        ..options(origin, Redirects::none())
    };
    Door::new(options, log)
}

#[test]
fn a_name_that_leads_home_is_not_dialled() {
    let server = Server::tls(|_, line| ok(line, "secret"));
    for address in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "64:ff9b::7f00:1",
        "fd00::1",
        "0.0.0.0",
    ] {
        let (names, log) = (
            Names::of(&[("hub.test", &[address])]),
            Arc::new(Rows::default()),
        );
        let door = unnamed(server.origin("hub.test"), names, log.clone());
        let error = fetch(&door, &server.url("hub.test", "/")).unwrap_err();
        let refused = matches!(
            error,
            EgressError::Address { .. } | EgressError::NoHost { .. }
        );
        assert!(refused && !error.is_transient(), "{address}: {error}");
        assert_eq!(log.kinds(), ["asked", "end"]);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn all_addresses_of_a_name_are_looked_at() {
    let server = Server::tls(|_, line| ok(line, "secret"));
    let names = Names::of(&[("hub.test", &["10.0.0.1", "127.0.0.1"])]);
    let door = unnamed(server.origin("hub.test"), names, Arc::default());
    assert!(matches!(
        fetch(&door, &server.url("hub.test", "/")),
        Err(EgressError::Address { .. })
    ));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_name_is_looked_up_once_and_what_was_checked_is_dialled() {
    let server = Server::plain(|_, line| ok(line, "here"));
    let names = Names::local();
    let log = Arc::new(Rows::default());
    let options = DoorOptions {
        resolver: names.clone(),
        ..options(server.origin("hub.test"), Redirects::none())
    };
    let door = Door::new(options, log.clone());
    assert_eq!(fetch(&door, &server.url("hub.test", "/")).unwrap(), "here");
    assert_eq!(names.asked(), ["hub.test"]);
    let dialled: Vec<_> = log
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Dial { address, .. } => Some(address),
            _ => None,
        })
        .collect();
    assert_eq!(dialled, [server.address]);
}

#[test]
fn a_dead_address_does_not_hide_a_live_one() {
    let server = Server::plain(|_, line| ok(line, "here"));
    // Nothing listens on that port of the first.
    let names = Names::of(&[("hub.test", &["127.0.0.99", "127.0.0.1"])]);
    let log = Arc::new(Rows::default());
    let options = DoorOptions {
        resolver: names,
        ..options(server.origin("hub.test"), Redirects::none())
    };
    let door = Door::new(options, log.clone());
    assert_eq!(fetch(&door, &server.url("hub.test", "/")).unwrap(), "here");
    assert_eq!(log.kinds(), ["asked", "dial", "dial", "end"]);
}

#[test]
fn names_that_are_not_known_and_ports_where_nobody_listens_are_transient() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://127.0.0.1:{}/", closed.port())
        .parse()
        .unwrap();
    let door = Door::new(
        options(Origin::of(&url).unwrap(), Redirects::none()),
        Arc::new(Rows::default()),
    );
    let error = fetch(&door, &url).unwrap_err();
    assert!(
        matches!(error, EgressError::Connect { .. }) && error.is_transient(),
        "{error}"
    );
    let url = "http://nowhere.test/".parse().unwrap();
    let door = Door::new(
        options(Origin::of(&url).unwrap(), Redirects::none()),
        Arc::new(Rows::default()),
    );
    let error = fetch(&door, &url).unwrap_err();
    assert!(
        matches!(error, EgressError::Dns { .. }) && error.is_transient(),
        "{error}"
    );
}

#[test]
fn offline_is_refused_before_anything_is_looked_up() {
    let server = Server::plain(|_, line| ok(line, "here"));
    let (names, log) = (Names::local(), Arc::new(Rows::default()));
    let options = DoorOptions {
        offline: Some("--offline".to_owned()),
        resolver: names.clone(),
        ..options(server.origin("hub.test"), Redirects::none())
    };
    let door = Door::new(options, log.clone());
    let error = fetch(&door, &server.url("hub.test", "/")).unwrap_err();
    assert!(matches!(error, EgressError::Offline { .. }) && !error.is_transient());
    assert!(names.asked().is_empty());
    assert_eq!(server.connections(), 0);
    assert_eq!(log.kinds(), ["refused"]);
}

#[test]
fn a_door_without_a_list_lets_nothing_out() {
    let (server, log) = (
        Server::plain(|_, line| ok(line, "here")),
        Arc::new(Rows::default()),
    );
    let door = Door::new(DoorOptions::default(), log.clone());
    let error = fetch(&door, &server.url("127.0.0.1", "/")).unwrap_err();
    assert!(matches!(error, EgressError::NotAllowed { .. }), "{error}");
    assert_eq!((server.connections(), log.kinds()), (0, vec!["refused"]));
}

#[test]
fn redirects_need_a_permit_each() {
    let forbidden = Server::plain(|_, line| ok(line, "forbidden"));
    let cdn = Server::plain(|_, line| ok(line, "from the cdn"));
    let (away, there) = (
        forbidden.url("127.0.0.1", "/x"),
        cdn.url("cdn.test", "/x?sig=secret"),
    );
    let server = Server::plain(move |head, line| match head.split(' ').nth(1) {
        Some("/away") => redirect(line, &away),
        Some("/metadata") => redirect(line, "http://169.254.169.254/latest"),
        Some("/loop") => redirect(line, "/loop"),
        Some("/cdn") => redirect(line, &there),
        Some("/here") => redirect(line, "there"),
        _ => ok(line, "there"),
    });
    let log = Arc::new(Rows::default());
    let redirects = Redirects::public_https().and(cdn.origin("cdn.test"));
    let door = Door::new(options(server.origin("hub.test"), redirects), log.clone());
    let fetch = |path| fetch(&door, &server.url("hub.test", path));
    assert_eq!(fetch("/here").unwrap(), "there");
    assert_eq!(fetch("/cdn").unwrap(), "from the cdn");
    for path in ["/away", "/metadata"] {
        assert!(
            matches!(fetch(path), Err(EgressError::Redirect { .. })),
            "{path}"
        );
    }
    assert_eq!(log.kinds().last(), Some(&"refused"));
    let before = server.connections();
    assert!(matches!(
        fetch("/loop"),
        Err(EgressError::RedirectLoop { limit: 8, .. })
    ));
    assert_eq!(server.connections() - before, 9);
    assert_eq!(forbidden.connections(), 0);
    assert!(!format!("{:?}", log.events()).contains("secret"));
}
