//! An answer, read piece by piece and within bounds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::dial::Counts;
use crate::door::{Door, Limits, Task};
use crate::log::{Event, Row};
use crate::rules::Location;
use crate::{Cancel, EgressError, Origin, Wait};

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) location: Option<Location>,
    pub(crate) url: Url,
    pub(crate) origin: Origin,
    pub(crate) token_sent: bool,
}

impl Head {
    /// The status, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header's value, where it is there exactly once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    /// How often a header is there.
    #[must_use]
    pub fn header_count(&self, name: &str) -> usize {
        self.headers.get_all(name).iter().count()
    }

    /// The URL that gave the answer, after redirects.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The origin that gave the answer, after redirects.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where the answer redirects to, made absolute, where it was not followed.
    #[must_use]
    pub fn location(&self) -> Option<&Url> {
        self.location.as_ref()?.url.as_ref()
    }

    /// Whether a token went along.
    #[must_use]
    pub fn token_sent(&self) -> bool {
        self.token_sent
    }
}

/// An answer whose body has yet to be read.
pub struct Response {
    head: Head,
    body: hyper::body::Incoming,
    attempt: Attempt,
    /// Time waited and bytes got since the speed was last looked at.
    pace: (Duration, u64),
    _task: Task,
}

impl Response {
    pub(crate) fn new(
        head: Head,
        body: hyper::body::Incoming,
        task: Task,
        attempt: Attempt,
    ) -> Self {
        Self {
            head,
            body,
            attempt,
            pace: (Duration::ZERO, 0),
            _task: task,
        }
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next piece of the body, at most some 400 KiB; `None` at its proper end.
    ///
    /// # Errors
    /// [`EgressError::Cut`], [`EgressError::Timeout`], [`EgressError::TooSlow`],
    /// [`EgressError::Cancelled`], [`EgressError::BadAnswer`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        let got = self.next_data().await;
        match &got {
            Ok(Some(_)) => {}
            Ok(None) => self.attempt.end(Some(self.head.status), "done"),
            Err(error) => self.attempt.end(Some(self.head.status), &error.to_string()),
        }
        got
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>, EgressError> {
        loop {
            let began = Instant::now();
            let limit = self.attempt.limits.between_bytes;
            let frame = self
                .attempt
                .within(limit, Wait::Body, self.body.frame())
                .await?;
            let data = match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.attempt.broken(&error)),
                // Trailers carry nothing that is wanted.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            self.keep_pace(began.elapsed(), data.len() as u64)?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Gives a body up that comes too slowly. Only time spent waiting counts, not the reader's own.
    fn keep_pace(&mut self, waited: Duration, bytes: u64) -> Result<(), EgressError> {
        let Some(slowest) = self.attempt.limits.slowest else {
            return Ok(());
        };
        let (time, got) = (
            self.pace.0.saturating_add(waited),
            self.pace.1.saturating_add(bytes),
        );
        self.pace = match (got >= slowest.bytes, time >= slowest.window) {
            (true, _) => (Duration::ZERO, 0),
            (false, false) => (time, got),
            (false, true) => {
                return Err(EgressError::TooSlow {
                    host: self.head.origin.host(),
                    bytes: got,
                    window: slowest.window,
                });
            }
        };
        Ok(())
    }

    /// The whole body, where it is at most `limit` bytes.
    ///
    /// # Errors
    /// [`EgressError::TooLarge`], and as [`Response::chunk`].
    pub async fn bytes(&mut self, limit: u64) -> Result<Vec<u8>, EgressError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.chunk().await? {
            if (whole.len() as u64).saturating_add(piece.len() as u64) > limit {
                return Err(EgressError::TooLarge {
                    host: self.head.origin.host(),
                    limit,
                });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// The caller has seen what it wanted: the log has `done`, although the end was not awaited.
    pub fn finish(&self) {
        self.attempt.end(Some(self.head.status), "done");
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.attempt.end(Some(self.head.status), "dropped");
    }
}

/// One use of the door, from its first row to its last.
pub(crate) struct Attempt {
    door: Door,
    id: u64,
    host: String,
    cancel: Cancel,
    pub(crate) limits: Limits,
    /// When all must be over.
    deadline: Option<Instant>,
    pub(crate) counts: Arc<Counts>,
    ended: std::sync::atomic::AtomicBool,
}

impl Attempt {
    pub(crate) fn begin(door: Door, id: u64, host: String, cancel: Cancel, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            door,
            id,
            host,
            cancel,
            limits,
            deadline: limits.whole.and_then(|whole| now.checked_add(whole)),
            counts: Arc::default(),
            ended: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Writes a row, without which nothing may go on.
    pub(crate) fn record(&self, event: Event) -> Result<(), EgressError> {
        let row = Row { id: self.id, event };
        self.door.0.log.record(&row).map_err(|error| {
            self.ended.store(true, Ordering::Relaxed);
            EgressError::Log {
                host: self.host.clone(),
                reason: error.to_string(),
            }
        })
    }

    /// Writes the last row, once. What it tells has happened already: a log that fails now will refuse
    /// the next request.
    pub(crate) fn end(&self, status: Option<u16>, outcome: &str) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let row = Row {
            id: self.id,
            event: Event::End {
                status,
                up: self.counts.up.load(Ordering::Relaxed),
                down: self.counts.down.load(Ordering::Relaxed),
                outcome: outcome.to_owned(),
            },
        };
        drop(self.door.0.log.record(&row));
    }

    /// Waits for `work`, but not longer than `limit` and not when the user has had enough.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        wait: Wait,
        work: impl Future<Output = T>,
    ) -> Result<T, EgressError> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let (patience, wait, limit) = match (self.deadline.map(left), self.limits.whole) {
            // Before anything was sent it matters more that nothing was.
            (Some(left), Some(_)) if left < limit && matches!(wait, Wait::Dns | Wait::Connect) => {
                (left, wait, limit)
            }
            (Some(left), Some(whole)) if left < limit => (left, Wait::Whole, whole),
            _ => (limit, wait, limit),
        };
        match select(pin!(self.cancel.cancelled()), pin!(timeout(patience, work))).await {
            Either::Left(_) => Err(EgressError::Cancelled),
            Either::Right((Ok(done), _)) => Ok(done),
            Either::Right((Err(_), _)) => Err(EgressError::Timeout {
                host: self.host.clone(),
                wait,
                limit,
            }),
        }
    }

    /// What the HTTP library's error means.
    pub(crate) fn broken(&self, error: &hyper::Error) -> EgressError {
        let host = self.host.clone();
        // The library's own text first, then what lies behind it.
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            reason = format!("{reason}: {inner}");
            source = inner.source();
        }
        match error.is_parse() {
            true => EgressError::BadAnswer { host, reason },
            false => EgressError::Cut { host, reason },
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(None, "dropped");
    }
}
