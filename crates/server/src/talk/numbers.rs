//! Many small requests for numbers, a few at a time.

use crate::call::Call;
use crate::error::{ApiError, refused};
use crate::reply::Reply;
use crate::served::Served;
use crate::talk::{End, Names};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ingle_engine::{Asked, Event, Refusal};
use std::sync::Arc;
use std::time::Duration;

/// Requests of one client that the engine has at the same time: others want their turn too.
const AT_ONCE: usize = 8;
/// How long until it is looked again whether there is room.
const SOON: Duration = Duration::from_millis(5);

/// What came of all of them.
pub struct Numbers {
    /// In the order in which they were asked for; of a text the log-probabilities of its tokens.
    pub values: Vec<Vec<f32>>,
    pub tokens: u64,
}

/// Asks for all of them. `param` is the field that they came from.
pub async fn all(
    call: &Call,
    model: &Arc<Served>,
    asked: Vec<Asked>,
    param: &'static str,
) -> Result<Numbers, ApiError> {
    let names = Names {
        input: param,
        ..Names::PLAIN
    };
    let mut values = vec![Vec::new(); asked.len()];
    let mut tokens = 0;
    let mut waiting = asked.into_iter().enumerate();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < AT_ONCE
            && (running.is_empty() || model.engine.has_place())
            && let Some((index, asked)) = waiting.next()
        {
            // The first is refused where there is no room, the others wait for it.
            let answer = match index {
                0 => call.submit(model, asked),
                _ => when_free(call, model, asked).await,
            };
            running.push(one(index, answer.map_err(|e| refused(&e, &names))?));
        }
        let Some(done) = running.next().await else {
            return Ok(Numbers { values, tokens });
        };
        let (index, numbers, n) = match done {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => return Err(error),
            Err(refusal) => return Err(refused(&refusal, &names)),
        };
        tokens += n;
        if let Some(slot) = values.get_mut(index) {
            *slot = numbers;
        }
    }
}

/// Hands over one more request of a client who has been let in: where there is no room, it waits for it.
///
/// # Errors
/// As [`Call::submit`], but for [`Refusal::Busy`].
pub async fn when_free(
    call: &Call,
    model: &Arc<Served>,
    asked: impl Into<Asked>,
) -> Result<Reply, Refusal> {
    let asked = asked.into();
    loop {
        while !model.engine.has_room() {
            tokio::time::sleep(SOON).await;
        }
        match call.submit(model, asked.clone()) {
            Err(Refusal::Busy { .. }) => {}
            done => return done,
        }
    }
}

type Done = Result<(usize, Vec<f32>, u64), ApiError>;

async fn one(index: usize, mut answer: Reply) -> Result<Done, Refusal> {
    answer.taken().await?;
    let mut numbers = Vec::new();
    while let Some(event) = answer.next().await {
        match event {
            Event::Embedded { values, .. } => numbers = values,
            Event::Finished { reason, usage, .. } => {
                let tokens = u64::from(usage.prompt_tokens);
                return Ok(End::new(&reason, false).map(|_| (index, numbers, tokens)));
            }
            Event::Token { logprob, .. } => numbers.extend(logprob),
        }
    }
    Ok(Err(ApiError::internal("an answer without an end")))
}
