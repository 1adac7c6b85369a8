//! Server-sent events, as OpenAI streams them.

use crate::body::Body;
use crate::error::ApiError;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;

/// What makes the events of a stream, one after the other. It is asked for the next one when there
/// is room to send it, and dropped when nobody reads any more.
pub(crate) trait Events: Send + 'static {
    /// The next events; none when the stream is over.
    fn next(&mut self) -> impl Future<Output = Option<Vec<Value>>> + Send;
}

/// A streamed answer; it ends with `[DONE]`.
pub(crate) fn response(events: impl Events) -> Response<Body> {
    let frames = unfold(Some(events), |events| async {
        let mut events = events?;
        let (bytes, rest) = match events.next().await {
            Some(values) => (lines(&values), Some(events)),
            None => (Bytes::from_static(b"data: [DONE]\n\n"), None),
        };
        Some((Ok::<_, Infallible>(Frame::data(bytes)), rest))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "text/event-stream");
    set(header::CACHE_CONTROL, "no-cache");
    response
}

fn lines(values: &[Value]) -> Bytes {
    let lines = values.iter().map(|value| format!("data: {value}\n\n"));
    lines.collect::<String>().into()
}

/// An error after the stream has begun: its status cannot be changed any more.
pub(crate) fn error(error: &ApiError) -> Value {
    error.to_json()
}
