//! A proxy, handed in as a value: nothing here reads the environment.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use url::Url;

use crate::{EgressError, Origin, origin};

/// An HTTP proxy that opens tunnels (`CONNECT`), and the hosts that are called without it.
///
/// Only https goes through it: http is for endpoints that the user named, which are called directly.
/// The proxy resolves names itself, so that the address rule can only look at names and at bare
/// addresses; which networks it may reach is its keeper's decision.
#[derive(Clone)]
pub struct Proxy {
    origin: Origin,
    authorization: Option<String>,
    direct: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    All,
    /// A domain and all below it; a port where one is given.
    Domain(String, Option<u16>),
    /// Addresses that begin with these bits.
    Network(IpAddr, u8),
}

impl Proxy {
    /// A proxy as `HTTPS_PROXY` names it (`http://[user:password@]host:port`), and the exceptions as
    /// `NO_PROXY` lists them (names with all below them, addresses, networks, `*`).
    ///
    /// # Errors
    /// [`EgressError::BadProxy`].
    pub fn parse(proxy: &str, exceptions: &str) -> Result<Self, EgressError> {
        let bad = |reason| EgressError::BadProxy {
            proxy: origin::shown(proxy),
            reason,
        };
        let whole = match proxy.contains("://") {
            true => proxy.trim().to_owned(),
            false => format!("http://{}", proxy.trim()),
        };
        let mut url = Url::parse(&whole).map_err(|_| bad("it is not a URL"))?;
        if url.scheme() != "http" {
            return Err(bad("only proxies that are spoken to by http are known"));
        }
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let (user, password) = (unescape(user), unescape(password.unwrap_or_default()));
                let pair = [user.as_slice(), b":", password.as_slice()].concat();
                Some(format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(pair)
                ))
            }
        };
        let stripped = url.set_username("").and_then(|()| url.set_password(None));
        stripped.map_err(|()| bad("it names no host"))?;
        Ok(Self {
            origin: Origin::of(&url).map_err(|_| bad("its host is not a plain name"))?,
            authorization,
            direct: exceptions.split(',').filter_map(exception).collect(),
        })
    }

    /// Whether `to` is called through this proxy.
    pub(crate) fn serves(&self, to: &Origin) -> bool {
        to.is_tls() && !to.is_loopback() && !self.direct.iter().any(|line| line.covers(to))
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The request that asks for a tunnel to `to`.
    pub(crate) fn connect_request(&self, to: &Origin) -> String {
        let target = format!("{}:{}", to.host(), to.port());
        let authorization = match &self.authorization {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.origin)
    }
}

impl Exception {
    fn covers(&self, to: &Origin) -> bool {
        match self {
            Self::All => true,
            Self::Domain(domain, port) => {
                port.is_none_or(|port| port == to.port())
                    && to.name().is_some_and(|name| {
                        name.strip_suffix(domain.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    })
            }
            Self::Network(network, bits) => to
                .address()
                .is_some_and(|address| same_network(address, *network, *bits)),
        }
    }
}

fn exception(line: &str) -> Option<Exception> {
    let line = line.trim().to_ascii_lowercase();
    if line == "*" {
        return Some(Exception::All);
    }
    let bare = line.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Some(Exception::Network(address, 128));
    }
    if let Some((network, bits)) = line.split_once('/') {
        return Some(Exception::Network(
            network.parse().ok()?,
            bits.parse().ok()?,
        ));
    }
    let (name, port) = match line.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (line.as_str(), None),
    };
    let name = name.trim_start_matches('*').trim_start_matches('.');
    (!name.is_empty()).then(|| Exception::Domain(name.to_owned(), port))
}

fn same_network(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let (a, b, width) = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u128::from(a.to_bits()), u128::from(b.to_bits()), 32_u32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let rest = width.saturating_sub(u32::from(bits));
    a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
}

/// The bytes of a part of a URL in which `%` escapes stand.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high)
                    .zip(digit(low))
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
                    .map(|byte| (byte, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(exceptions: &str, to: &str) -> bool {
        let proxy = Proxy::parse("http://proxy.example:3128", exceptions).unwrap();
        proxy.serves(&Origin::parse(to).unwrap())
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let list = "localhost, .corp.example,hub.example:8443,10.0.0.0/8,192.0.2.7,[2001:db8::1]";
        for (to, through) in [
            ("https://hub.example", true),
            ("https://hub.example:8443", false),
            ("https://a.corp.example", false),
            ("https://corp.example", false),
            ("https://xcorp.example", true),
            ("https://10.200.3.4", false),
            ("https://11.0.0.1", true),
            ("https://192.0.2.7", false),
            ("https://192.0.2.8", true),
            ("https://[2001:db8::1]", false),
            ("https://[2001:db8::2]", true),
            ("http://hub.example", false),
            ("https://127.0.0.1:8443", false),
        ] {
            assert_eq!(serves(list, to), through, "{to}");
        }
        assert!(!serves("*", "https://hub.example"));
        assert!(serves("", "https://hub.example"));
        assert!(serves(" , ,x/y,:z,::/x", "https://hub.example"));
    }

    #[test]
    fn a_password_goes_to_the_proxy_and_nowhere_else() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.example:3128", "").unwrap();
        let request = proxy.connect_request(&Origin::parse("https://hub.example").unwrap());
        let pair = base64::engine::general_purpose::STANDARD.encode("me:p@ss");
        assert!(request.contains(&format!("Proxy-Authorization: Basic {pair}\r\n")));
        assert!(!format!("{proxy:?}").contains('@'));
        let error = Proxy::parse("socks5://me:secret@proxy.example", "").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
