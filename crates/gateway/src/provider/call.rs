//! One try at one upstream: a request goes out, pieces come back.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ingle_egress::{
    Cause, Door, EgressError, Follow, Head, Limits, Origin, Purpose, Request as Sent, Response,
};
use tokio::time::{Instant, timeout_at};

use super::error::{Charged, Fault};
use super::said;
use super::settings::{Dialect, Key, Provider, RemoteModel};
use super::wire::{Events, Reader, Wrong};
use crate::chat::Piece;

/// For what follows behind the end of an answer: how many tokens it took.
const AFTER_END: Duration = Duration::from_secs(5);
/// For the text of a refusal.
const REFUSAL: Duration = Duration::from_secs(5);
/// Bytes of a refusal that are read.
const MOST_REFUSAL: u64 = 64 << 10;
/// Bytes that a token of an answer takes at most, with all that is written around it.
const BYTES_A_TOKEN: u64 = 2 << 10;
/// Bytes of an answer beside its tokens.
const BYTES_BESIDE: u64 = 1 << 20;

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
    response: Response,
    /// None: it comes whole, into `whole`.
    events: Option<Events>,
    whole: Vec<u8>,
    reader: Reader,
    ready: VecDeque<Piece>,
    read: u64,
    most: u64,
    between: Duration,
    over: bool,
    context: u32,
    limit: u32,
    charged: Charged,
    usage_fault: Option<&'static str>,
}

/// Sends the request and waits for the first piece.
pub(super) async fn begin(call: Call<'_>) -> Result<Stream, Fault> {
    let times = call.provider.settings.timeouts;
    let first = first(&call);
    let until = Instant::now() + first;
    let response = call.door.send(sent(&call)?).await.map_err(late)?;
    let (response, streamed) = judge(response, call.provider).await?;
    let tokens = u64::from(call.limit).saturating_mul(BYTES_A_TOKEN);
    let mut stream = Stream {
        response,
        events: streamed.then(Events::default),
        whole: Vec::new(),
        reader: Reader::new(call.provider.dialect()),
        ready: VecDeque::new(),
        read: 0,
        most: tokens.saturating_add(BYTES_BESIDE),
        between: times.between,
        over: false,
        context: call.model.context,
        limit: call.limit,
        charged: Charged::Unknown,
        usage_fault: None,
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
    let (message, code) = said::message(&body, provider);
    let spent = code.as_deref() == Some("insufficient_quota");
    match status {
        504 | 520 | 524 => Fault::Busy {
            status,
            after,
            message,
        },
        408 | 429 | 500..=599 if again && !spent => Fault::Busy {
            status,
            after,
            message,
        },
        _ => Fault::Refused { status, message },
    }
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
        if let Some(piece) = self.ready.pop_front() {
            return Ok(Some(piece));
        }
        let until = Instant::now() + self.between;
        self.fill(until, self.between, "the next piece").await?;
        Ok(self.ready.pop_front())
    }

    /// Whether money may be asked for, as far as is known by now.
    pub(super) fn charged(&self) -> Charged {
        self.charged
    }

    /// What is wrong with what it says it took, where something is.
    pub(super) fn usage_fault(&self) -> Option<&'static str> {
        self.usage_fault
    }

    /// Reads until a piece is there, or the end. What holds no piece does not count as one: a server that
    /// only says that it is there is silent.
    async fn fill(
        &mut self,
        until: Instant,
        limit: Duration,
        wait: &'static str,
    ) -> Result<(), Fault> {
        while self.ready.is_empty() && !self.over {
            let ended = self.reader.finish().is_some();
            let until = match ended {
                true => until.min(Instant::now() + AFTER_END),
                false => until,
            };
            let got = match timeout_at(until, self.response.chunk()).await {
                Ok(got) => got.map_err(late),
                Err(_) => Err(Fault::Late { wait, limit }),
            };
            match got {
                Ok(Some(bytes)) => self.take(&bytes)?,
                Ok(None) => self.end()?,
                // It was complete; only what it took is not known.
                Err(_) if ended => self.end()?,
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.read = self.read.saturating_add(bytes.len() as u64);
        if self.read > self.most {
            return Err(Fault::TooLarge { limit: self.most });
        }
        let Some(events) = &mut self.events else {
            self.whole.extend_from_slice(bytes);
            return Ok(());
        };
        let events = events
            .push(bytes)
            .map_err(|why| Fault::BadAnswer(why.into()))?;
        for event in events {
            let read = self.reader.event(&event);
            self.ready.extend(self.reader.take());
            read.map_err(wrong)?;
        }
        match self.reader.is_over() {
            true => self.end(),
            false => Ok(()),
        }
    }

    /// All has come that will come.
    fn end(&mut self) -> Result<(), Fault> {
        if self.events.is_none() {
            let whole = std::mem::take(&mut self.whole);
            self.reader.whole(&whole).map_err(wrong)?;
            self.ready.extend(self.reader.take());
        }
        let Some(finish) = self.reader.finish() else {
            return Err(match self.reader.is_over() {
                true => Fault::BadAnswer("it does not say how it ended".into()),
                false => Fault::Cut,
            });
        };
        self.ready.push_back(Piece::Finish(finish.clone()));
        match self.reader.usage(self.context, self.limit) {
            Ok(usage) => {
                self.charged = Charged::Yes(usage);
                self.ready.push_back(Piece::Usage(usage));
            }
            Err(why) => self.usage_fault = Some(why),
        }
        self.response.finish();
        self.over = true;
        Ok(())
    }
}

fn wrong(wrong: Wrong) -> Fault {
    match wrong {
        Wrong::Bad(reason) => Fault::BadAnswer(reason),
        Wrong::GaveUp(reason) => Fault::GaveUp(reason),
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
