//! The events of one answer, counted on their way.

use crate::App;
use crate::call::{Call, end};
use crate::keys::Caller;
use crate::metrics::Outcome;
use crate::served::Served;
use ingle_engine::{Answer, Asked, Event, FinishReason, Refusal, Usage};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::time::Instant;

/// The events of one answer. Dropping it cancels the answer.
#[derive(Debug)]
pub(crate) struct Reply {
    answer: Answer,
    app: Arc<App>,
    caller: Arc<Caller>,
    ended: Arc<Mutex<Option<Outcome>>>,
    /// In use as long as this is.
    model: Arc<Served>,
    begun: Instant,
    last: Option<Instant>,
    /// Tokens computed for it: its prompt, until more is known, and those that came.
    cost: u64,
}

impl Reply {
    pub(crate) fn submit(call: &Call, model: &Arc<Served>, asked: Asked) -> Result<Self, Refusal> {
        let prompt = match &asked {
            Asked::Text(request) => request.prompt.len(),
            Asked::EmbeddingOf(tokens) => tokens.len(),
            _ => 0,
        };
        Ok(Self {
            answer: model.engine.submit_as(call.caller.namespace, asked)?,
            app: Arc::clone(&call.app),
            caller: Arc::clone(&call.caller),
            ended: Arc::clone(&call.held.ended),
            model: Arc::clone(model),
            begun: call.begun,
            last: None,
            cost: prompt as u64,
        })
    }

    /// Waits until the engine has taken the request.
    ///
    /// # Errors
    /// [`Refusal`] says why it has not.
    pub async fn taken(&mut self) -> Result<(), Refusal> {
        let taken = self.answer.taken().await;
        if taken.is_err() {
            self.cost = 0;
        }
        taken
    }

    /// Waits for the next event; [`Event::Finished`] is the last.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`], for a hand-written future.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = self.answer.poll_next(context);
        if let Poll::Ready(Some(event)) = &event {
            self.hear(event);
        }
        event
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Token { .. } => {
                self.cost += 1;
                let now = Instant::now();
                match self.last.replace(now) {
                    None => {
                        let time = now - self.begun;
                        tracing::debug!(ms = time.as_millis() as u64, "first token");
                        self.app.metrics.first_token(time);
                    }
                    Some(last) => self.app.metrics.next_token(now - last),
                }
            }
            Event::Embedded { .. } => {}
            Event::Finished { reason, usage, .. } => {
                self.count(usage);
                let outcome = match reason {
                    FinishReason::Cancelled => Outcome::Cancelled,
                    FinishReason::Unreadable(_) | FinishReason::Failed(_) => Outcome::Refused,
                    _ => Outcome::Completed,
                };
                tracing::debug!(
                    outcome = outcome.name(),
                    prompt = usage.prompt_tokens,
                    cached = usage.cached_tokens,
                    written = usage.generated_tokens,
                    "answer over"
                );
                end(&self.ended, outcome);
            }
        }
    }

    fn count(&mut self, usage: &Usage) {
        let (prompt, cached) = (
            u64::from(usage.prompt_tokens),
            u64::from(usage.cached_tokens),
        );
        let written = u64::from(usage.generated_tokens);
        let metrics = &self.app.metrics;
        metrics.tokens(&self.model.id, prompt, cached, written);
        // What was computed before is not computed again, and not counted against anybody.
        self.cost = prompt.saturating_sub(cached) + written;
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Also of an answer that nobody waited for: it was computed.
        self.caller.used(self.cost, Instant::now());
    }
}
