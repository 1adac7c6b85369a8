//! Handing a request to the engine.

use super::answers::Answers;
use super::computed::Computed;
use super::likeliest::likeliest;
use super::names::Names;
use super::numbers::when_free;
use super::prepare::{Ready, prepare};
use super::routed::routed;
use super::voice::Voice;
use super::wanted::Wanted;
use crate::call::Call;
use crate::error::{ApiError, refused};
use ingle_engine::Request;
use ingle_formats::prompt::Prompt;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Span;

/// Reads the body of `call` with `read`, which gives what is wanted and what else the dialect wants to
/// know, and hands it to the engine. Answers when the engine has taken it all; a prompt that it refuses
/// ends the others.
///
/// # Errors
/// What `read` says; as [`prepare`]; the engine does not take it.
pub(crate) async fn ask<T: Send + 'static>(
    call: &Arc<Call>,
    names: &'static Names,
    read: impl FnOnce(&Call) -> Result<(Wanted, T), ApiError> + Send + 'static,
) -> Result<(Answers, T), ApiError> {
    let asked = Instant::now();
    if let Some(gateway) = call.app.gateway.clone() {
        return routed(call, names, &gateway, read).await;
    }
    let prepared = {
        let (call, span) = (Arc::clone(call), Span::current());
        // Reading, rendering and tokenizing may take long: not where connections are served.
        tokio::task::spawn_blocking(move || {
            let _in = span.enter();
            let (wanted, rest) = read(&call)?;
            let ready = prepare(&call, &wanted, names)?;
            tracing::debug!(
                model = ready.model.id,
                prompts = ready.prompts.len(),
                tokens = ready.prompts.iter().map(|p| p.tokens.len()).sum::<usize>(),
                constrained = ready.grammar.is_some(),
                "prompt ready"
            );
            Ok::<_, ApiError>((wanted, ready, rest))
        })
        .await
    };
    let (wanted, ready, rest) = prepared.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    let computed = submit(call, &wanted, ready, names, false, asked).await?;
    Ok((Answers::here(call, computed), rest))
}

/// Hands a request that is ready to the engine; `signals`: with how sure the model is.
pub(super) async fn submit(
    call: &Arc<Call>,
    wanted: &Wanted,
    mut ready: Ready,
    names: &'static Names,
    signals: bool,
    asked: Instant,
) -> Result<Computed, ApiError> {
    let random = call.app.config.random;
    let seed = match wanted.seeded {
        true => wanted.sampling.seed,
        false => random(),
    };
    // How sure the model was is what calibration learned of answers that come token by token.
    let weighs = !signals && !ready.allowed.is_empty();
    if weighs && let Some(only) = likeliest(call, &ready, names.input).await? {
        ready.grammar = Some(only);
    }
    let mut answers = Vec::new();
    let mut voices = Vec::new();
    for prompt in &ready.prompts {
        let max_tokens = limit(wanted, prompt.tokens.len(), ready.model.context, names)?;
        for i in 0..wanted.n {
            // The first answer is the one that a client gets who asks for one.
            let seed = seed.wrapping_add(u64::from(i));
            let request = Request {
                max_tokens,
                signals,
                ..request(wanted, &ready, prompt, seed)
            };
            let answer = match weighs {
                true => when_free(call, &ready.model, request).await,
                false => call.submit(&ready.model, request),
            };
            answers.push(answer.map_err(|e| refused(&e, names))?);
            voices.push(voice(&ready, prompt, random));
        }
    }
    for answer in &mut answers {
        answer.taken().await.map_err(|e| refused(&e, names))?;
    }
    let n = wanted.n as usize;
    let computed = Computed::new(ready, answers, voices, n, asked);
    Ok(match wanted.prompt_alone {
        true => computed.silent(),
        false => computed,
    })
}

/// Tokens that an answer may have, of what is asked for and what the context has room for.
fn limit(
    wanted: &Wanted,
    prompt: usize,
    context: u32,
    names: &Names,
) -> Result<Option<u32>, ApiError> {
    let context = wanted.context.map_or(context, |own| own.min(context));
    let room = (context as usize).saturating_sub(prompt);
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    if let Some(own) = wanted.context.filter(|_| room == 0) {
        let param = names.input;
        let message = format!(
            "`{param}`: the prompt has {prompt} tokens, and the context of {own} that this request asks for leaves no room for an answer; shorten it or ask for a larger context"
        );
        return Err(ApiError {
            code: Some("context_length_exceeded"),
            ..ApiError::invalid(param, message)
        });
    }
    Ok(match wanted.max_tokens {
        // The engine says what is wrong.
        _ if room == 0 => wanted.max_tokens,
        Some(most) if wanted.ends_with_context || wanted.context.is_some() => Some(most.min(room)),
        None if wanted.context.is_some() => Some(room),
        most => most,
    })
}

fn request(wanted: &Wanted, ready: &Ready, prompt: &Prompt, seed: u64) -> Request {
    let vocabulary = ready.model.prompter.vocabulary();
    let shown = ready.style.map(|style| style.shown(vocabulary));
    let mut sampling = wanted.sampling.clone();
    sampling.seed = seed;
    Request {
        max_tokens: wanted.max_tokens,
        sampling,
        stop: wanted.stop.clone(),
        shown: shown.unwrap_or_default(),
        grammar: ready.grammar.clone(),
        thinking: ready.thinking.clone(),
        ..Request::new(prompt.tokens.clone())
    }
}

fn voice(ready: &Ready, prompt: &Prompt, random: fn() -> u64) -> Voice {
    match &ready.style {
        Some(style) => Voice::chat(style, &prompt.text, &ready.tools, random),
        None => Voice::text(random),
    }
}
