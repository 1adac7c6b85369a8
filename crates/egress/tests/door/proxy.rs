//! A proxy that opens tunnels, and some that do not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use ingle_egress::{
    Door, DoorOptions, EgressError, Endpoint, Event, Origin, Proxy, Purpose, Redirects,
};

use crate::server::{Line, Server, ok, tell};
use crate::{Names, Rows, fetch, options};

/// A proxy that connects to `target`, whatever name it is asked for.
fn tunnel(target: std::net::SocketAddr) -> Server {
    Server::plain(move |head, line| {
        assert!(head.starts_with("CONNECT hub.test:"), "{head}");
        let mut far = TcpStream::connect(target).unwrap();
        tell(
            line,
            "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n",
        );
        // One request and one answer, in turns, is all the tests need: TLS speaks in turns as well.
        far.set_read_timeout(Some(std::time::Duration::from_millis(20)))
            .unwrap();
        relay(line, &mut far);
        drop(far.shutdown(Shutdown::Both));
    })
}

fn relay(near: &mut dyn Line, far: &mut TcpStream) {
    let mut piece = [0; 16 << 10];
    loop {
        match near.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(n) => far.write_all(&piece[..n]).unwrap(),
        }
        while let Ok(n @ 1..) = far.read(&mut piece) {
            if near.write_all(&piece[..n]).is_err() {
                return;
            }
        }
    }
}

fn through(
    proxy: &Server,
    exceptions: &str,
    endpoint: Origin,
    names: Arc<Names>,
) -> (Door, Arc<Rows>) {
    let url = format!("http://me:pass@proxy.test:{}", proxy.address.port());
    let log = Arc::new(Rows::default());
    let options = DoorOptions {
        proxy: Some(Proxy::parse(&url, exceptions).unwrap()),
        resolver: names,
        ..options(endpoint, Redirects::none())
    };
    (Door::new(options, log.clone()), log)
}

#[test]
fn https_goes_through_a_tunnel_and_the_name_is_the_proxys_to_look_up() {
    let hub = Server::tls(|_, line| ok(line, "through"));
    let proxy = tunnel(hub.address);
    let names = Names::of(&[("proxy.test", &["127.0.0.1"])]);
    let (door, log) = through(&proxy, "", hub.origin("hub.test"), names.clone());
    assert_eq!(fetch(&door, &hub.url("hub.test", "/")).unwrap(), "through");
    assert_eq!(names.asked(), ["proxy.test"]);
    assert!(proxy.header("proxy-authorization").is_some());
    assert_eq!(hub.header("proxy-authorization"), None);
    let dial = log
        .events()
        .into_iter()
        .find(|event| matches!(event, Event::Dial { .. }));
    let Some(Event::Dial {
        address,
        proxy: Some(name),
    }) = dial
    else {
        panic!("{dial:?}")
    };
    assert_eq!(address, proxy.address);
    assert!(!name.contains("pass"));
}

#[test]
fn exceptions_and_http_are_called_directly() {
    let proxy = Server::plain(|_, line| tell(line, "HTTP/1.1 403 No\r\n\r\n"));
    let hub = Server::tls(|_, line| ok(line, "directly"));
    let (door, _) = through(&proxy, "hub.test", hub.origin("hub.test"), Names::local());
    assert_eq!(fetch(&door, &hub.url("hub.test", "/")).unwrap(), "directly");
    let (door, _) = through(&proxy, "", hub.origin("127.0.0.1"), Names::local());
    assert_eq!(
        fetch(&door, &hub.url("127.0.0.1", "/")).unwrap(),
        "directly"
    );
    let plain = Server::plain(|_, line| ok(line, "plainly"));
    let (door, _) = through(&proxy, "", plain.origin("hub.test"), Names::local());
    assert_eq!(
        fetch(&door, &plain.url("hub.test", "/")).unwrap(),
        "plainly"
    );
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_proxy_that_does_not_do_its_part_is_named() {
    let answers: [&'static [u8]; 5] = [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 200",
        b"SSH-2.0-x\r\n\r\n",
        b"",
        &[b'x'; 20_000],
    ];
    for answer in answers {
        let proxy = Server::plain(move |_, line| tell(line, answer));
        let origin = Origin::parse("https://hub.test:4443").unwrap();
        let (door, _) = through(&proxy, "", origin, Names::local());
        let error = fetch(&door, &"https://hub.test:4443/".parse().unwrap()).unwrap_err();
        assert!(matches!(error, EgressError::Proxy { .. }), "{error:?}");
        assert!(!error.to_string().contains("pass"), "{error}");
    }
}

#[test]
fn a_bare_private_address_is_no_way_around_the_rule() {
    let proxy = Server::plain(|_, line| tell(line, "HTTP/1.1 403 No\r\n\r\n"));
    let origin = Origin::parse("https://10.0.0.1").unwrap();
    let url = format!("http://proxy.test:{}", proxy.address.port());
    let options = DoorOptions {
        endpoints: vec![
            Endpoint::public(Purpose::Pull, origin.clone(), Redirects::none()).unwrap(),
        ],
        proxy: Some(Proxy::parse(&url, "").unwrap()),
        ..options(origin, Redirects::none())
    };
    let door = Door::new(options, Arc::new(Rows::default()));
    let error = fetch(&door, &"https://10.0.0.1/".parse().unwrap()).unwrap_err();
    assert!(matches!(error, EgressError::Address { .. }), "{error}");
    assert_eq!(proxy.connections(), 0);
}
