//! What is asked, and the token that goes along or stays at home.

use std::fmt;

use hyper::header::{HeaderName, HeaderValue};

use crate::{Cancel, EgressError, Origin, Permit};

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// For the thing.
    Get,
    /// For its headers.
    Head,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// Which redirects are followed. Each gets a permit of its own, or the request ends with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// None: the caller sees the answer that redirects.
    Never,
    /// Those to the same scheme, host and port; others the caller sees.
    SameOrigin,
    /// All that the rules allow.
    Allowed,
}

/// An access token and the one origin that may see it.
#[derive(Clone)]
pub struct Token {
    origin: Origin,
    header: HeaderValue,
}

impl Token {
    /// A token for `origin`. It is sent there only, and in clear text (http) to this machine only.
    ///
    /// # Errors
    /// [`EgressError::BadToken`] for a text that no header can carry.
    pub fn new(origin: Origin, secret: &str) -> Result<Self, EgressError> {
        let secret = secret.trim();
        let plain = !secret.is_empty()
            && secret.len() <= 8192
            && secret.bytes().all(|b| b.is_ascii_graphic());
        let header = HeaderValue::from_str(&format!("Bearer {secret}"));
        match header {
            Ok(mut header) if plain => {
                header.set_sensitive(true);
                Ok(Self { origin, header })
            }
            _ => Err(EgressError::BadToken {
                origin: origin.to_string(),
            }),
        }
    }

    /// Whether the token may go to `to`.
    fn fits(&self, to: &Origin) -> bool {
        self.origin == *to && (to.is_tls() || to.is_loopback())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(for {})", self.origin)
    }
}

/// One request, by leave of a [`Permit`].
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) permit: Permit,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) token: Option<Token>,
    pub(crate) follow: Follow,
    pub(crate) cancel: Cancel,
}

impl Request {
    /// A GET of what the permit leads to, which follows no redirect.
    #[must_use]
    pub fn get(permit: Permit) -> Self {
        Self::new(Method::Get, permit)
    }

    /// A HEAD of what the permit leads to, which follows no redirect.
    #[must_use]
    pub fn head(permit: Permit) -> Self {
        Self::new(Method::Head, permit)
    }

    fn new(method: Method, permit: Permit) -> Self {
        Self {
            permit,
            method,
            headers: Vec::new(),
            token: None,
            follow: Follow::Never,
            cancel: Cancel::new(),
        }
    }

    /// Adds a header. It goes along on redirects, so it must not be a secret: that is [`Request::token`].
    ///
    /// # Errors
    /// [`EgressError::BadHeader`] for a name or value that HTTP cannot carry, or one that the door sets
    /// itself (`Host`, `Authorization`, `Cookie`, lengths and connection).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, EgressError> {
        const OWN: &[&str] = &[
            "host",
            "authorization",
            "proxy-authorization",
            "cookie",
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
            "expect",
            "te",
        ];
        let bad = || EgressError::BadHeader {
            name: name.escape_debug().take(64).collect(),
        };
        let key: HeaderName = name.parse().map_err(|_| bad())?;
        if OWN.contains(&key.as_str()) {
            return Err(bad());
        }
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        self.headers.push((key, value));
        Ok(self)
    }

    /// Sends `token` along, to the origin that it is for and to no other.
    #[must_use]
    pub fn token(mut self, token: Option<&Token>) -> Self {
        self.token = token.cloned();
        self
    }

    /// Chooses which redirects are followed.
    #[must_use]
    pub fn follow(mut self, follow: Follow) -> Self {
        self.follow = follow;
        self
    }

    /// Stops waiting, also for the body, when `cancel` says so.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// The token's header, if it may go where the permit leads.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        let token = self.token.as_ref()?;
        token.fits(&self.permit.origin).then_some(&token.header)
    }
}
