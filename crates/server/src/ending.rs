//! The end of a request: exactly one, whatever happens on the way.

use crate::body::Body;
use crate::call::Call;
use crate::metrics::Outcome;
use crate::{App, LogLine, Side};
use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::time::Instant;
use tracing::Span;

/// What is known of a request while it is there. Dropped, it has ended: as cancelled, if nobody has
/// said otherwise.
#[derive(Debug)]
pub(crate) struct Ending {
    pub app: Arc<App>,
    pub id: Arc<str>,
    pub method: &'static str,
    pub route: &'static str,
    pub caller: String,
    pub started: Instant,
    pub status: u16,
    pub outcome: Option<Outcome>,
    /// How its answers ended, as far as the engine has said.
    pub ended: Arc<Mutex<Option<Outcome>>>,
    /// Holds its places until the end.
    pub call: Option<Arc<Call>>,
    /// What is told of it while it is worked on is told in here.
    pub span: Span,
}

impl Ending {
    /// A request has come.
    pub fn begin(app: &Arc<App>, id: &Arc<str>, method: &Method) -> Self {
        app.metrics.began();
        Self {
            app: Arc::clone(app),
            id: Arc::clone(id),
            method: match *method {
                Method::GET => "GET",
                Method::POST => "POST",
                Method::HEAD => "HEAD",
                Method::DELETE => "DELETE",
                Method::OPTIONS => "OPTIONS",
                _ => "-",
            },
            route: "-",
            caller: "-".into(),
            started: Instant::now(),
            status: 0,
            outcome: None,
            ended: Arc::default(),
            call: None,
            span: Span::none(),
        }
    }

    /// From now on its span is there, under its name.
    pub fn begin_span(&mut self) -> Span {
        let (id, route) = (&*self.id, self.route);
        self.span = tracing::info_span!("request", id, route, caller = tracing::field::Empty);
        self.span.clone()
    }

    /// Its answer has been handed over.
    fn over(&mut self) {
        let told = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = (self.status >= 400).then_some(Outcome::Refused);
        self.outcome = refused.or(told).or(Some(Outcome::Completed));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(Outcome::Cancelled);
        let time = self.started.elapsed();
        self.app.metrics.ended(self.route, outcome, time);
        let span = self.span.clone();
        let _in = span.enter();
        tracing::info!(
            method = self.method,
            status = self.status,
            outcome = outcome.name(),
            ms = time.as_millis() as u64,
            "over"
        );
        (self.app.config.log)(&LogLine {
            id: Arc::clone(&self.id),
            method: self.method,
            route: self.route,
            caller: std::mem::take(&mut self.caller),
            status: self.status,
            outcome,
            time,
        });
    }
}

/// An answer that ends with its request.
pub(crate) fn until_over(response: Response<Body>, mut ending: Ending) -> Response<Body> {
    ending.status = response.status().as_u16();
    // An answer in one piece is handed over now; the connection may not even ask for it (HEAD).
    if response.body().size_hint().exact().is_some() {
        ending.over();
    }
    response.map(|inner| Watched { inner, ending }.boxed_unsync())
}

struct Watched {
    inner: Body,
    ending: Ending,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let span = this.ending.span.clone();
        let frame = span.in_scope(|| Pin::new(&mut this.inner).poll_frame(context));
        match &frame {
            Poll::Ready(None) => this.ending.over(),
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(show), Some(data)) =
                    (&this.ending.app.config.transcript, frame.data_ref())
                {
                    show(&this.ending.id, Side::Answer, data);
                }
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
