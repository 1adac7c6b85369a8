//! Answers that come in pieces.

use crate::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// What makes the pieces of an answer, one after the other. It is asked for the next one when there is
/// room to send it, and dropped when nobody reads any more.
pub(crate) trait Events: Send + 'static {
    /// The next piece as it stands on the wire; none when the answer is over.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// How long nothing may come before something must: proxies cut what is silent for a minute, some sooner.
pub(crate) const SILENCE: Duration = Duration::from_secs(15);

/// A comment, which readers of server-sent events pass over.
pub(crate) const COMMENT: &str = ": still here\n\n";

/// A streamed answer of server-sent events, with `beat` where nothing comes for a while.
pub(crate) fn response(beat: &'static str, events: impl Events) -> Response<Body> {
    pieces("text/event-stream", Some(beat), SILENCE, events)
}

/// A streamed answer of this type.
pub(crate) fn pieces(
    content_type: &'static str,
    beat: Option<&'static str>,
    silence: Duration,
    events: impl Events,
) -> Response<Body> {
    let frames = unfold(Some(step(events)), move |waiting| async move {
        let mut next = waiting?;
        let done = match beat {
            None => Ok(next.as_mut().await),
            Some(_) => timeout(silence, next.as_mut()).await,
        };
        let (text, rest) = match done {
            Ok((Some(text), events)) => (Bytes::from(text), step(events)),
            Ok((None, _)) => return None,
            Err(_) => (Bytes::from_static(beat?.as_bytes()), next),
        };
        Some((Ok::<_, Infallible>(Frame::data(text)), Some(rest)))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, content_type);
    set(header::CACHE_CONTROL, "no-cache");
    response
}

/// The next piece, and what makes the one after it: a wait that was begun is never given up.
type Step<E> = Pin<Box<dyn Future<Output = (Option<String>, E)> + Send>>;

fn step<E: Events>(mut events: E) -> Step<E> {
    Box::pin(async move {
        let text = events.next().await;
        (text, events)
    })
}

/// An event that is nothing but data.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// An event with a name.
pub(crate) fn event(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three pieces, the second after a long time.
    struct Slow(u32);

    impl Events for Slow {
        async fn next(&mut self) -> Option<String> {
            if self.0 == 1 {
                tokio::time::sleep(Duration::from_secs(50)).await;
            }
            self.0 += 1;
            (self.0 < 4).then(|| data(&self.0.into()))
        }
    }

    fn all(beat: Option<&'static str>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let body = pieces("x/y", beat, Duration::from_secs(20), Slow(0)).into_body();
            let bytes = body.collect().await.unwrap().to_bytes();
            String::from_utf8(bytes.to_vec()).unwrap()
        })
    }

    #[test]
    fn silence_is_broken_and_nothing_is_lost() {
        let (one, rest) = ("data: 1\n\n", "data: 2\n\ndata: 3\n\n");
        assert_eq!(all(None), format!("{one}{rest}"));
        assert_eq!(all(Some(COMMENT)), format!("{one}{COMMENT}{COMMENT}{rest}"));
    }
}
