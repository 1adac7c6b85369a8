//! One try at one upstream: a request goes out, pieces come back.

use std::time::Duration;

use bytes::Bytes;
use ingle_egress::{
    Cause, Door, EgressError, Follow, Head, Limits, Origin, Purpose, Request as Sent, Response,
};
use tokio::time::{Instant, timeout_at};

use super::error::{Charged, Fault};
use super::incoming::{Incoming, Most};
use super::said;
use super::settings::{Dialect, Key, Provider, RemoteModel};
use crate::chat::Piece;

/// For what follows behind the end of an answer: how many tokens it took.
const AFTER_END: Duration = Duration::from_secs(5);
/// For the text of a refusal.
const REFUSAL: Duration = Duration::from_secs(5);
/// Bytes of a refusal that are read.
const MOST_REFUSAL: u64 = 64 << 10;

/// What is asked of whom.
pub(super) struct Call<'a> {
    pub(super) door: &'a Door,
    pub(super) provider: &'a Provider,
    pub(super) model: &'a RemoteModel,
    pub(super) body: Bytes,
    pub(super) cause: Cause,
    /// Tokens of the answer at most.
    pub(super) limit: u32,
    /// What is left of the time for everything.
    pub(super) left: Duration,
}

/// An answer under way.
pub(super) struct Stream {
    /// None: all of it is here.
    response: Option<Response>,
    incoming: Incoming,
    between: Duration,
}

/// Sends the request and waits for the first piece.
pub(super) async fn begin(call: Call<'_>) -> Result<Stream, Fault> {
    let times = call.provider.settings.timeouts;
    let first = first(&call);
    let until = Instant::now() + first;
    let response = call.door.send(sent(&call)?).await.map_err(late)?;
    let (response, streamed) = judge(response, call.provider).await?;
    let most = Most {
        context: call.model.context,
        answer: call.limit,
    };
    let mut stream = Stream {
        response: Some(response),
        incoming: Incoming::new(call.provider.dialect(), streamed, most),
        between: times.between,
    };
    stream.fill(until, first, "the first piece").await?;
    Ok(stream)
}

/// How long the first piece may take. Of an answer that comes whole it is the last one too.
fn first(call: &Call<'_>) -> Duration {
    match call.provider.settings.stream {
        true => call.provider.settings.timeouts.first.min(call.left),
        false => call.left,
    }
}

fn sent(call: &Call<'_>) -> Result<Sent, Fault> {
    let provider = call.provider;
    if let Key::Missing(why) = &provider.settings.key {
        return Err(Fault::NoKey(why.clone()));
    }
    let times = provider.settings.timeouts;
    let first = first(call);
    let limits = Limits {
        connect: times.connect.min(call.left),
        answer: first,
        // The first piece of the body may take as long as the first byte of it.
        between_bytes: first.max(times.between),
        slowest: None,
        whole: Some(call.left),
        ..Limits::default()
    };
    let url = provider.chat_url();
    let permit = call
        .door
        .permit_for(Purpose::Provider, &url, call.cause.clone())?;
    let accept = match provider.settings.stream {
        true => "text/event-stream, application/json",
        false => "application/json",
    };
    let mut sent = Sent::post(permit, call.body.clone())
        .header("content-type", "application/json")?
        .header("accept", accept)?
        .token(provider.token())
        .follow(Follow::SameOrigin)
        .limits(limits);
    if provider.dialect() == Dialect::Anthropic {
        sent = sent.header("anthropic-version", "2023-06-01")?;
    }
    Ok(sent)
}

/// Whether the answer is one, and whether it comes as events.
async fn judge(response: Response, provider: &Provider) -> Result<(Response, bool), Fault> {
    let head = response.head();
    match head.status() {
        200 => {}
        status @ 300..=399 => return Err(redirected(head, status)),
        _ => return Err(refusal(response, provider).await),
    }
    let encoded = head.header("content-encoding").unwrap_or("identity");
    if !encoded.eq_ignore_ascii_case("identity") || head.header_count("content-encoding") > 1 {
        return Err(Fault::BadAnswer(
            "it is compressed, which it was not asked for".into(),
        ));
    }
    let kind = head.header("content-type").unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" => Ok((response, true)),
        "application/json" | "" => Ok((response, false)),
        _ => Err(Fault::BadAnswer(format!(
            "its content type is `{}`; check base_url",
            said::plain(&kind)
        ))),
    }
}

/// What a status that says no means.
async fn refusal(mut response: Response, provider: &Provider) -> Fault {
    let status = response.head().status();
    if matches!(status, 401 | 403) {
        // What it says may hold the key.
        return Fault::KeyRefused { status };
    }
    let after = said::retry_after(response.head());
    let again = response.head().header("x-should-retry") != Some("false");
    let until = Instant::now() + REFUSAL;
    let body = match timeout_at(until, response.bytes(MOST_REFUSAL)).await {
        Ok(Ok(body)) => body,
        // The status says enough.
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    said::no(status, &body, provider, after, again)
}

/// The door's errors of patience are ours.
fn late(error: EgressError) -> Fault {
    use ingle_egress::Wait;
    match error {
        EgressError::Timeout { wait, limit, .. } => match wait {
            Wait::Answer => Fault::Late {
                wait: "the first piece",
                limit,
            },
            Wait::Body => Fault::Late {
                wait: "the next piece",
                limit,
            },
            Wait::Whole => Fault::Late {
                wait: "the end of the answer",
                limit,
            },
            _ => Fault::Door(error),
        },
        _ => Fault::Door(error),
    }
}

impl Stream {
    /// The next piece; none: that was all.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        if let Some(piece) = self.incoming.piece() {
            return Ok(Some(piece));
        }
        let until = Instant::now() + self.between;
        self.fill(until, self.between, "the next piece").await?;
        Ok(self.incoming.piece())
    }

    /// Whether money may be asked for, as far as is known by now.
    pub(super) fn charged(&self) -> Charged {
        self.incoming.charged()
    }

    /// What is wrong with what it says it took, where something is.
    pub(super) fn usage_fault(&self) -> Option<&'static str> {
        self.incoming.usage_fault()
    }

    /// Reads until a piece is there, or the end. What holds no piece does not count as one: a server that
    /// only says that it is there is silent.
    async fn fill(
        &mut self,
        until: Instant,
        limit: Duration,
        wait: &'static str,
    ) -> Result<(), Fault> {
        while !self.incoming.is_ready()
            && let Some(response) = &mut self.response
        {
            let ended = self.incoming.has_ended();
            let until = match ended {
                true => until.min(Instant::now() + AFTER_END),
                false => until,
            };
            let got = match timeout_at(until, response.chunk()).await {
                Ok(got) => got.map_err(late),
                Err(_) => Err(Fault::Late { wait, limit }),
            };
            match got {
                Ok(Some(bytes)) => self.incoming.take(&bytes)?,
                Ok(None) => self.incoming.end()?,
                // It was complete; only what it took is not known.
                Err(_) if ended => self.incoming.end()?,
                Err(fault) => return Err(fault),
            }
            if self.incoming.is_over()
                && let Some(response) = self.response.take()
            {
                response.finish();
            }
        }
        Ok(())
    }
}

/// Asks whether it is there and lets us in. It is asked for no answer, and nothing of anybody is sent.
pub(super) async fn visit(door: &Door, provider: &Provider, cause: Cause) -> Result<(), Fault> {
    if let Key::Missing(why) = &provider.settings.key {
        return Err(Fault::NoKey(why.clone()));
    }
    let patience = provider.settings.timeouts.connect;
    let limits = Limits {
        connect: patience,
        answer: patience,
        whole: Some(patience.saturating_mul(2)),
        ..Limits::default()
    };
    let permit = door.permit_for(Purpose::Provider, &provider.health_url(), cause)?;
    let mut sent = Sent::get(permit).token(provider.token()).limits(limits);
    if provider.dialect() == Dialect::Anthropic {
        sent = sent.header("anthropic-version", "2023-06-01")?;
    }
    let response = door.send(sent).await?;
    match response.head().status() {
        // Whoever is too busy for this question is there.
        200..=299 | 429 => {
            response.finish();
            Ok(())
        }
        status @ 300..=399 => Err(redirected(response.head(), status)),
        _ => Err(refusal(response, provider).await),
    }
}

fn redirected(head: &Head, status: u16) -> Fault {
    let to = head.location().and_then(|url| Origin::of(url).ok());
    let to = to.map_or_else(|| "an unusable address".to_owned(), |to| to.to_string());
    Fault::Redirected { status, to }
}
