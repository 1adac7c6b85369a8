//! The door: what it allows, and one request through it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper_util::rt::TokioIo;
use url::Url;

use crate::dial::{self, Resolve, Stream, SystemResolver};
use crate::log::{Event, Log, Row};
use crate::response::{Attempt, Head, Response};
use crate::rules::Location;
use crate::tls;
use crate::{
    Cause, EgressError, Endpoint, Follow, Method, Origin, Permit, Proxy, Purpose, Request, Wait,
    origin,
};

/// How a door is set up. The default lets nothing out.
#[derive(Clone)]
pub struct DoorOptions {
    /// The allow-list.
    pub endpoints: Vec<Endpoint>,
    /// What switched the network off, as the user wrote it (`--offline`); `None` where it is on.
    pub offline: Option<String>,
    /// A proxy for https.
    pub proxy: Option<Proxy>,
    /// Bounds on time and size.
    pub limits: Limits,
    /// Certificates (DER) of authorities that are trusted besides those of the system.
    pub authorities: Vec<Vec<u8>>,
    /// Looks names up.
    pub resolver: Arc<dyn Resolve>,
    /// What the program calls itself, e.g. `ingle/0.1.0`.
    pub user_agent: String,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            offline: None,
            proxy: None,
            limits: Limits::default(),
            authorities: Vec::new(),
            resolver: Arc::new(SystemResolver),
            user_agent: concat!("ingle/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Bounds on one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the look-up of a name, for a connection, and for TLS with a proxy's consent, each.
    pub connect: Duration,
    /// From the request to the first byte of its answer.
    pub answer: Duration,
    /// From one piece of the body to the next.
    pub between_bytes: Duration,
    /// A body that brings fewer than `bytes` in `window` of waiting is given up.
    pub slowest: Option<Slowest>,
    /// From the first step to the end of the body; `None` where it takes as long as it takes, as a large
    /// file does.
    pub whole: Option<Duration>,
    /// For the head of an answer, all lines together, in bytes.
    pub head_bytes: usize,
    /// Lines of the head.
    pub head_lines: usize,
}

/// The slowest body that is still waited for.
#[derive(Debug, Clone, Copy)]
pub struct Slowest {
    /// At least so many bytes
    pub bytes: u64,
    /// in each such time of waiting.
    pub window: Duration,
}

impl Default for Limits {
    /// 15 s to connect, 60 s for an answer, 30 s between bytes, at least 64 KiB in a minute, none on the
    /// whole; 64 KiB and 100 lines of head.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
            slowest: Some(Slowest {
                bytes: 64 << 10,
                window: Duration::from_secs(60),
            }),
            whole: None,
            head_bytes: 64 << 10,
            head_lines: 100,
        }
    }
}

/// The only way out. Made once by the binary; copies are the same door.
#[derive(Clone)]
pub struct Door(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: DoorOptions,
    pub(crate) log: Arc<dyn Log>,
    next: AtomicU64,
    tls: OnceLock<Result<Arc<rustls::ClientConfig>, EgressError>>,
}

impl Door {
    /// A door with these rules, which writes every use of it into `log`.
    #[must_use]
    pub fn new(options: DoorOptions, log: Arc<dyn Log>) -> Self {
        Self(Arc::new(Inner {
            options,
            log,
            next: AtomicU64::new(1),
            tls: OnceLock::new(),
        }))
    }

    /// What switched the network off, where it is.
    #[must_use]
    pub fn offline(&self) -> Option<&str> {
        self.0.options.offline.as_deref()
    }

    /// Leave for one request to `url`. A refusal is a row in the log.
    ///
    /// # Errors
    /// [`EgressError::Offline`], [`EgressError::NotAllowed`], [`EgressError::BadUrl`].
    pub fn permit(&self, purpose: Purpose, url: &Url) -> Result<Permit, EgressError> {
        self.leave(purpose, url, None)
    }

    /// The same for a request of somebody, by the rule that lets it go. [`Purpose::Provider`] is permitted
    /// in this way only.
    ///
    /// # Errors
    /// As [`Door::permit`].
    pub fn permit_for(
        &self,
        purpose: Purpose,
        url: &Url,
        cause: Cause,
    ) -> Result<Permit, EgressError> {
        self.leave(purpose, url, Some(cause))
    }

    fn leave(
        &self,
        purpose: Purpose,
        url: &Url,
        cause: Option<Cause>,
    ) -> Result<Permit, EgressError> {
        let permit = match self.offline() {
            Some(why) => Err(EgressError::Offline {
                host: origin::shown(url.host_str().unwrap_or_default()),
                why: why.to_owned(),
            }),
            None => Permit::new(&self.0.options.endpoints, purpose, url, cause.clone()),
        };
        permit.map_err(|error| self.refused(purpose, url.as_str(), cause.as_ref(), error))
    }

    /// Sends `request`, follows redirects as it says, and comes back with the head of the answer.
    ///
    /// # Errors
    /// [`EgressError`]. An answer that says no (404, 503) is not an error here.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        let mut request = request;
        loop {
            let response = self.exchange(&request).await?;
            let Some(location) = next_hop(&request, response.head()) else {
                return Ok(response);
            };
            response.finish();
            let permit = request.permit.redirect(location);
            request.permit = permit.map_err(|error| {
                let permit = &request.permit;
                self.refused(permit.purpose, &location.text, permit.cause.as_ref(), error)
            })?;
        }
    }

    /// One connection, one request, one answer.
    async fn exchange(&self, request: &Request) -> Result<Response, EgressError> {
        let inner = &self.0;
        let permit = &request.permit;
        let id = inner.next.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt::begin(
            self.clone(),
            id,
            permit.origin.host(),
            request.cancel.clone(),
            request.limits.unwrap_or(inner.options.limits),
        );
        attempt.record(Event::Asked {
            purpose: permit.purpose,
            method: request.method.name(),
            origin: permit.origin.to_string(),
            path: origin::shown(permit.url.path()),
            token: request.key().is_some(),
            request: permit
                .cause
                .as_ref()
                .map(|cause| cause.request().to_owned()),
            rule: permit.cause.as_ref().map(|cause| cause.rule().to_owned()),
            body: request.body.len() as u64,
        })?;
        let answered = async {
            let stream = dial::dial(inner, permit, &attempt).await?;
            self.ask(request, stream, &attempt).await
        };
        match answered.await {
            Ok((head, body, task)) => Ok(Response::new(head, body, task, attempt)),
            Err(error) => {
                attempt.end(None, &error.to_string());
                Err(error)
            }
        }
    }

    /// Speaks HTTP on `stream`.
    async fn ask(
        &self,
        request: &Request,
        stream: Box<dyn Stream>,
        attempt: &Attempt,
    ) -> Result<(Head, hyper::body::Incoming, Task), EgressError> {
        let limits = attempt.limits;
        let permit = &request.permit;
        let message = message(request, &self.0.options.user_agent)?;
        let asked = async {
            let (mut sender, connection) = http1::Builder::new()
                .max_headers(limits.head_lines)
                .max_header_size(limits.head_bytes)
                .handshake(TokioIo::new(stream))
                .await?;
            // An error of the connection is also one of the answer or its body, where it is told.
            let task = Task(tokio::spawn(async { drop(connection.await) }));
            let answer = sender.send_request(message).await?;
            Ok::<_, hyper::Error>((answer, task))
        };
        let answered = attempt.within(limits.answer, Wait::Answer, asked).await?;
        let (answer, task) = answered.map_err(|error| attempt.broken(&error))?;
        let (parts, body) = answer.into_parts();
        let location = parts.headers.get(LOCATION).map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let url = permit.url.join(&text).ok();
            Location { text, url }
        });
        let head = Head {
            status: parts.status.as_u16(),
            headers: parts.headers,
            location,
            url: permit.url.clone(),
            origin: permit.origin.clone(),
            token_sent: request.key().is_some(),
        };
        Ok((head, body, task))
    }

    /// Writes a refusal into the log. It was refused in any case, so a log that fails changes nothing.
    fn refused(
        &self,
        purpose: Purpose,
        url: &str,
        cause: Option<&Cause>,
        error: EgressError,
    ) -> EgressError {
        let origin = match Url::parse(url).map(|url| Origin::of(&url)) {
            Ok(Ok(origin)) => origin.to_string(),
            _ => origin::shown(url),
        };
        let row = Row {
            id: self.0.next.fetch_add(1, Ordering::Relaxed),
            event: Event::Refused {
                purpose,
                origin,
                reason: error.to_string(),
                request: cause.map(|cause| cause.request().to_owned()),
                rule: cause.map(|cause| cause.rule().to_owned()),
            },
        };
        drop(self.0.log.record(&row));
        error
    }
}

impl Inner {
    /// The TLS settings, made when first needed: a machine without certificate authorities can still
    /// call a server of its own by http.
    pub(crate) fn tls(&self) -> Result<Arc<rustls::ClientConfig>, EgressError> {
        self.tls
            .get_or_init(|| tls::of_the_system(&self.options.authorities))
            .clone()
    }
}

/// A task that ends with its owner.
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn message(
    request: &Request,
    user_agent: &str,
) -> Result<hyper::Request<Full<Bytes>>, EgressError> {
    let url = &request.permit.url;
    let bad = |_| EgressError::BadUrl {
        url: origin::shown(url.as_str()),
        reason: "HTTP cannot carry it",
    };
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut message = hyper::Request::builder()
        .method(request.method.name())
        .uri(target)
        .header(HOST, request.permit.origin.authority())
        .header(USER_AGENT, user_agent)
        // A digest and a length are of the bytes as they are stored.
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &request.headers {
        message = message.header(name, value);
    }
    if let Some((name, value)) = request.key() {
        message = message.header(name, value);
    }
    message.body(Full::new(request.body.clone())).map_err(bad)
}

/// Where a redirect leads, if it is to be followed.
fn next_hop<'a>(request: &Request, head: &'a Head) -> Option<&'a Location> {
    let redirects = match request.method {
        // Elsewhere these would be a GET, without the body (RFC 9110, section 15.4).
        Method::Post => matches!(head.status, 307 | 308),
        Method::Get | Method::Head => matches!(head.status, 301 | 302 | 303 | 307 | 308),
    };
    if !redirects {
        return None;
    }
    let location = head.location.as_ref()?;
    let same = || {
        location
            .url
            .as_ref()
            .and_then(|url| Origin::of(url).ok())
            .is_some_and(|to| to == head.origin)
    };
    match request.follow {
        Follow::Never => None,
        Follow::SameOrigin => same().then_some(location),
        Follow::Allowed => Some(location),
    }
}
