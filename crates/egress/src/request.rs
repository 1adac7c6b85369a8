//! What is asked, and the token that goes along or stays at home.

use std::fmt;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::{Cancel, EgressError, Limits, Origin, Permit};

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// For the thing.
    Get,
    /// For its headers.
    Head,
    /// With a body.
    Post,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
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
    name: HeaderName,
    value: HeaderValue,
}

/// Headers in which keys go: a [`Token`] sets them, no one else.
const KEYS: [&str; 2] = ["x-api-key", "api-key"];

impl Token {
    /// A token for `origin`. It is sent there only, and in clear text (http) to this machine only.
    ///
    /// # Errors
    /// [`EgressError::BadToken`] for a text that no header can carry.
    pub fn new(origin: Origin, secret: &str) -> Result<Self, EgressError> {
        Self::with(origin, AUTHORIZATION, "Bearer ", secret)
    }

    /// The same, as the bare value of a header: `x-api-key` or `api-key`.
    ///
    /// # Errors
    /// As [`Token::new`]; [`EgressError::BadHeader`] for a header in which no key goes.
    pub fn in_header(origin: Origin, name: &str, secret: &str) -> Result<Self, EgressError> {
        let bad = || EgressError::BadHeader {
            name: name.escape_debug().take(64).collect(),
        };
        let name: HeaderName = name.parse().map_err(|_| bad())?;
        if !KEYS.contains(&name.as_str()) {
            return Err(bad());
        }
        Self::with(origin, name, "", secret)
    }

    fn with(
        origin: Origin,
        name: HeaderName,
        before: &str,
        secret: &str,
    ) -> Result<Self, EgressError> {
        let secret = secret.trim();
        let plain = !secret.is_empty()
            && secret.len() <= 8192
            && secret.bytes().all(|b| b.is_ascii_graphic());
        match HeaderValue::from_str(&format!("{before}{secret}")) {
            Ok(mut value) if plain => {
                value.set_sensitive(true);
                Ok(Self {
                    origin,
                    name,
                    value,
                })
            }
            _ => Err(EgressError::BadToken {
                origin: origin.to_string(),
            }),
        }
    }

    /// Whom it is for.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
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
#[derive(Clone)]
pub struct Request {
    pub(crate) permit: Permit,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) limits: Option<Limits>,
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

    /// A POST of `body` to where the permit leads, which follows no redirect.
    #[must_use]
    pub fn post(permit: Permit, body: impl Into<Bytes>) -> Self {
        let mut request = Self::new(Method::Post, permit);
        request.body = body.into();
        request
    }

    fn new(method: Method, permit: Permit) -> Self {
        Self {
            permit,
            method,
            headers: Vec::new(),
            body: Bytes::new(),
            limits: None,
            token: None,
            follow: Follow::Never,
            cancel: Cancel::new(),
        }
    }

    /// Adds a header. It goes along on redirects, so it must not be a secret: that is [`Request::token`].
    ///
    /// # Errors
    /// [`EgressError::BadHeader`] for a name or value that HTTP cannot carry, or one that the door sets
    /// itself (`Host`, `Authorization` and other keys, `Cookie`, lengths and connection).
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
        if OWN.contains(&key.as_str()) || KEYS.contains(&key.as_str()) {
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

    /// Bounds of its own, in the place of the door's.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Chooses which redirects are followed. A POST follows none that would make it a GET.
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
    pub(crate) fn key(&self) -> Option<(&HeaderName, &HeaderValue)> {
        let token = self.token.as_ref()?;
        token
            .fits(&self.permit.origin)
            .then_some((&token.name, &token.value))
    }
}

/// Without the body, which is somebody's text, and without the values of headers.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&HeaderName> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request")
            .field("permit", &self.permit)
            .field("method", &self.method)
            .field("headers", &headers)
            .field("body_bytes", &self.body.len())
            .field("token", &self.token)
            .field("follow", &self.follow)
            .finish_non_exhaustive()
    }
}
