//! Bodies of requests, within bounds, and of answers.

use crate::Limits;
use crate::error::ApiError;
use crate::listen::Incoming;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is complete.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A JSON answer.
pub fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An object with one more field.
pub(crate) fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
    object
}

/// Reads a body that says it is JSON; one that is empty need not say so. `untyped`: neither need one
/// that comes from no web page.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limits: &Limits,
    room: &Arc<Semaphore>,
    untyped: bool,
) -> Result<Held, ApiError> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if http_body::Body::is_end_stream(&body) && !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(Held::default());
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // A web page may send a form or plain text to any address without asking; never this. It is known by
    // these headers.
    let page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if !kind.eq_ignore_ascii_case("application/json") && (page || !untyped) {
        give_up(body);
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send JSON, with the header `Content-Type: application/json`",
        ));
    }
    if text(header::CONTENT_ENCODING).is_some_and(|e| !e.eq_ignore_ascii_case("identity")) {
        give_up(body);
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "send the body uncompressed, without `Content-Encoding`",
        ));
    }
    let said = text(header::CONTENT_LENGTH).and_then(|n| n.parse::<u64>().ok());
    if said.is_some_and(|n| n > limits.body_bytes as u64) {
        give_up(body);
        return Err(too_large(limits));
    }
    match timeout(limits.body_time, collect(body, limits, room)).await {
        Ok(read) => read,
        Err(_) => Err(too_slow()),
    }
}

/// A body, and its part of the memory that all bodies together may take.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub bytes: Vec<u8>,
    pub room: Option<OwnedSemaphorePermit>,
}

/// [`Limits::bodies_bytes`] is counted in these.
pub(crate) const GRAIN: usize = 1024;

/// As much of `room` as `bytes` of a body need, what is held already taken off.
fn hold(
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
    room: &Arc<Semaphore>,
) -> Result<(), ApiError> {
    let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let wanted = bytes.div_ceil(GRAIN).saturating_sub(has);
    let more = u32::try_from(wanted).unwrap_or(u32::MAX);
    let Ok(more) = Arc::clone(room).try_acquire_many_owned(more) else {
        let message =
            "other requests that are being read fill the memory for bodies; try again soon";
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "server_busy", message);
        return Err(error.retry_after(1));
    };
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

async fn collect(
    mut body: Incoming,
    limits: &Limits,
    room: &Arc<Semaphore>,
) -> Result<Held, ApiError> {
    let mut bytes = Vec::new();
    let mut held = None;
    loop {
        let frame = timeout(limits.body_idle, body.frame()).await;
        match frame.map_err(|_| too_slow())? {
            None => return Ok(Held { bytes, room: held }),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue; // trailers
                };
                if bytes.len() + data.len() > limits.body_bytes {
                    give_up(body);
                    return Err(too_large(limits));
                }
                if let Err(error) = hold(&mut held, bytes.len() + data.len(), room) {
                    give_up(body);
                    return Err(error);
                }
                bytes.extend_from_slice(&data);
            }
            Some(Err(_)) => {
                let message = "the body ended before it was complete, or is badly framed";
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message));
            }
        }
    }
}

/// Reads on for a while without keeping anything: a client that is still sending would otherwise
/// see a broken connection instead of the answer.
pub(crate) fn give_up(mut body: Incoming) {
    const AT_MOST: Duration = Duration::from_secs(10);
    tokio::spawn(timeout(AT_MOST, async move {
        while let Some(Ok(_)) = body.frame().await {}
    }));
}

fn too_large(limits: &Limits) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("a body may have {} bytes; send less", limits.body_bytes),
    )
}

fn too_slow() -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "body_timeout",
        "the body did not arrive in time; send it again",
    )
}
