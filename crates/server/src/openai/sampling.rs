//! How an answer is generated: what chat and text completions have in common.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use ingle_engine::MAX_STOPS;
use ingle_engine::sampler::Sampling;
use ingle_formats::TokenId;
use serde_json::Value;

/// The most answers to one prompt.
pub const MAX_CHOICES: u32 = 16;
/// The most alternatives of a token.
pub const MAX_TOP: u32 = 20;

/// What a request says of how it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Wants {
    /// How tokens are chosen; the seed is of no meaning where `seeded` is false.
    pub sampling: Sampling,
    /// Whether a seed was given.
    pub seeded: bool,
    /// Texts at which an answer ends.
    pub stop: Vec<String>,
    /// Answers to each prompt.
    pub n: u32,
    /// The answer comes in pieces.
    pub stream: bool,
    /// The last piece says how many tokens there were.
    pub include_usage: bool,
}

/// Reads what both kinds of completions have.
pub fn wants(fields: &Fields<'_>) -> Result<Wants, ApiError> {
    let usual = Sampling::default();
    let seed = fields.bits("seed")?;
    let number = |name: &str, usual: f32| Ok::<_, ApiError>(fields.f32(name)?.unwrap_or(usual));
    // Two names are in use for this one.
    let repetition = match fields.f32("repetition_penalty")? {
        Some(penalty) => penalty,
        None => number("repeat_penalty", usual.repetition_penalty)?,
    };
    let sampling = Sampling {
        temperature: number("temperature", usual.temperature)?,
        top_k: fields.u32("top_k", 0, u32::MAX)?.unwrap_or(usual.top_k),
        top_p: number("top_p", usual.top_p)?,
        min_p: number("min_p", usual.min_p)?,
        typical: number("typical_p", usual.typical)?,
        repetition_penalty: repetition,
        presence_penalty: number("presence_penalty", usual.presence_penalty)?,
        frequency_penalty: number("frequency_penalty", usual.frequency_penalty)?,
        // The whole text counts, as OpenAI has it.
        penalty_last_n: None,
        logit_bias: bias(fields)?,
        seed: seed.unwrap_or_default(),
        ..usual
    };
    sampling
        .validate()
        .map_err(|e| crate::error::refused(&e.into(), "temperature"))?;
    refuse_both(fields)?;
    let stream = fields.bool("stream")?.unwrap_or(false);
    let options = fields.object("stream_options")?;
    if options.is_some() && !stream {
        let message = "`stream_options` is for answers that are streamed: set `stream` to true";
        return Err(ApiError::invalid("stream_options", message));
    }
    let include_usage = match options {
        Some(options) => options.bool("include_usage")?.unwrap_or(false),
        None => false,
    };
    Ok(Wants {
        sampling,
        seeded: seed.is_some(),
        stop: stop(fields)?,
        n: fields.u32("n", 1, MAX_CHOICES)?.unwrap_or(1),
        stream,
        include_usage,
    })
}

/// What neither kind of completion can do.
fn refuse_both(fields: &Fields<'_>) -> Result<(), ApiError> {
    let plain = |v: &Value| v.get("type").and_then(Value::as_str) == Some("text");
    fields.refuse(
        "response_format",
        plain,
        "answers that must follow a schema are not supported yet; only {\"type\": \"text\"} is",
    )?;
    let usual = |v: &Value| matches!(v.as_str(), Some("auto" | "default"));
    fields.refuse(
        "service_tier",
        usual,
        "there is one tier here: leave it out",
    )?;
    for name in [
        "grammar",
        "json_schema",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
    ] {
        fields.refuse(name, |_| false, "constrained answers are not supported yet")?;
    }
    for name in [
        "mirostat",
        "xtc_probability",
        "dry_multiplier",
        "dynatemp_range",
    ] {
        let off = |v: &Value| v.as_f64() == Some(0.0);
        fields.refuse(name, off, "this way of sampling is not supported here")?;
    }
    Ok(())
}

/// One text or several; none for an empty list.
fn stop(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let texts = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => return Ok(vec![text.clone()]),
        Some(Value::Array(texts)) if texts.len() <= MAX_STOPS => texts,
        Some(other) => {
            let what = format!("a string or a list of at most {MAX_STOPS}");
            return Err(wrong("stop", &what, other));
        }
    };
    let text = |(i, value): (usize, &Value)| match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(wrong(&format!("stop[{i}]"), "a string", value)),
    };
    texts.iter().enumerate().map(text).collect()
}

/// Token ids and what is added to their logits; -100 bans a token.
fn bias(fields: &Fields<'_>) -> Result<Vec<(TokenId, f32)>, ApiError> {
    const MAX: usize = 4096;
    let Some(biases) = fields.object("logit_bias")? else {
        return Ok(Vec::new());
    };
    if biases.map().len() > MAX {
        let message = format!("`logit_bias` may name {MAX} tokens");
        return Err(ApiError::invalid("logit_bias", message));
    }
    let one = |(token, value): (&String, &Value)| {
        // A name of any length is not repeated.
        let shown = if token.len() > 20 { "..." } else { token };
        let path = format!("logit_bias.{shown}");
        let id = token.parse().map_err(|_| {
            ApiError::invalid(
                "logit_bias",
                format!("`{path}`: the name must be the number of a token"),
            )
        })?;
        let bias = value.as_f64().filter(|x| (-100.0..=100.0).contains(x));
        let bias = bias.ok_or_else(|| wrong(&path, "a number from -100 to 100", value))?;
        let bias = if bias == -100.0 {
            f32::NEG_INFINITY
        } else {
            bias as f32
        };
        Ok((TokenId(id), bias))
    };
    biases.map().iter().map(one).collect()
}
