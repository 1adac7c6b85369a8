//! Scheme, host and port: what a permit, a token and a rule are about.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::EgressError;

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    tls: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of `url`.
    ///
    /// # Errors
    /// [`EgressError::BadUrl`] for another scheme than http and https, for a URL that carries a user
    /// name or a password, and for a host that is not a plain name or an address.
    pub fn of(url: &Url) -> Result<Self, EgressError> {
        let bad = |reason| EgressError::BadUrl {
            url: shown(url.as_str()),
            reason,
        };
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("its scheme is neither https nor http")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(
                "it holds a user name or a password, which would be written into logs",
            ));
        }
        let host = match url.host() {
            None => return Err(bad("it names no host")),
            Some(host) => host.to_owned(),
        };
        if let Host::Domain(name) = &host {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if name.len() > 253 || name.ends_with('.') || !name.chars().all(plain) {
                return Err(bad("its host is not a plain name"));
            }
        }
        match url.port_or_known_default() {
            None | Some(0) => Err(bad("it names no port")),
            Some(port) => Ok(Self { tls, host, port }),
        }
    }

    /// The origin of a URL in text. `https://` is put before a text without a scheme.
    ///
    /// # Errors
    /// [`EgressError::BadUrl`].
    pub fn parse(text: &str) -> Result<Self, EgressError> {
        Self::of(&parse_url(text)?)
    }

    /// Whether the scheme is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host as it stands in a URL (an IPv6 address in brackets).
    #[must_use]
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, where it is a name.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// The host, where it is an address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// Whether the host can only be this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        }
    }

    /// Host and port, as a `Host` header says them: without the port that the scheme has anyway.
    pub(crate) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// A URL that a person wrote; `https://` is put before a text without a scheme.
///
/// # Errors
/// [`EgressError::BadUrl`].
pub fn parse_url(text: &str) -> Result<Url, EgressError> {
    let text = text.trim();
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    Url::parse(&whole).map_err(|_| EgressError::BadUrl {
        url: shown(text),
        reason: "it cannot be read as a URL",
    })
}

/// Characters of a text from outside that are shown.
pub(crate) const SHOWN: usize = 200;

/// A text from outside for a message: what follows `?` may be a secret, control characters may not
/// reach a terminal, and the rest is cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    // A password stands before the last `@` of the authority.
    let text = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = match rest.split_once('/') {
                Some((authority, path)) => (authority, format!("/{path}")),
                None => (rest, String::new()),
            };
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => text.to_owned(),
    };
    plain(&text, SHOWN)
}

/// A text without control characters, cut where it has more than `most` characters.
#[must_use]
pub fn plain(text: &str, most: usize) -> String {
    let shown = text.chars().take(most);
    let mut plain: String = shown.flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        plain.push_str("...");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn default_ports_and_letters_do_not_tell_origins_apart() {
        assert_eq!(origin("https://Hub.Example:443/a"), origin("hub.example/b"));
        assert_ne!(origin("http://hub.example"), origin("https://hub.example"));
        assert_ne!(
            origin("https://hub.example:8443"),
            origin("https://hub.example")
        );
        assert_eq!(
            origin("http://[::1]:8080/").to_string(),
            "http://[::1]:8080"
        );
    }

    #[test]
    fn other_spellings_of_an_address_are_addresses() {
        for text in [
            "http://127.1",
            "http://0x7f.0.0.1",
            "http://2130706433",
            "http://017700000001",
        ] {
            assert_eq!(
                origin(text).address(),
                Some([127, 0, 0, 1].into()),
                "{text}"
            );
            assert!(origin(text).is_loopback());
        }
    }

    #[test]
    fn what_is_no_plain_origin_is_refused() {
        for text in [
            "ftp://hub.example",
            "file:///etc/passwd",
            "https://me:secret@hub.example",
            "https://me@hub.example",
            "https://hub.example.",
            "https://hub.example:0",
            "https://",
            "",
            "https://a b",
        ] {
            let error = Origin::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_shown_keeps_secrets_and_control_characters_back() {
        assert_eq!(shown("https://a/b?sig=1#x"), "https://a/b");
        assert_eq!(shown("https://u:p@h/x@y"), "https://h/x@y");
        assert_eq!(shown("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(300)).len(), 203);
    }
}
