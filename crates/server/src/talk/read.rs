//! Fields that several dialects have, and mean the same by.

use crate::error::{ApiError, refused_sampling};
use crate::fields::{Fields, wrong};
use ingle_engine::MAX_STOPS;
use ingle_engine::sampler::{Dry, Sampling};
use ingle_formats::TokenId;
use ingle_gateway::decide::Asked;
use serde_json::Value;

/// The most alternatives of a token.
pub const MAX_TOP: u32 = 20;
/// llama.cpp's names of the ways of choosing, in the order in which they apply here: there is no other.
const SAMPLERS: [&str; 8] = [
    "penalties",
    "dry",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "infill",
    "temperature",
];

/// How tokens are chosen, under the names that OpenAI, llama.cpp and Ollama use; what is not given is as in
/// `usual`. The second is whether there was a seed.
pub fn sampling(fields: &Fields<'_>, usual: Sampling) -> Result<(Sampling, bool), ApiError> {
    let seed = fields.bits("seed")?;
    let number = |name: &str, usual: f32| Ok::<_, ApiError>(fields.f32(name)?.unwrap_or(usual));
    // Two names are in use for each of these; a preset uses the second, so that a client's own counts.
    let either = |a: &str, b: &str, usual: f32| match fields.f32(a)? {
        Some(value) => Ok::<_, ApiError>(value),
        None => number(b, usual),
    };
    let sampling = Sampling {
        temperature: number("temperature", usual.temperature)?,
        top_k: fields.u32("top_k", 0, u32::MAX)?.unwrap_or(usual.top_k),
        top_p: number("top_p", usual.top_p)?,
        min_p: number("min_p", usual.min_p)?,
        typical: either("typ_p", "typical_p", usual.typical)?,
        repetition_penalty: either(
            "repetition_penalty",
            "repeat_penalty",
            usual.repetition_penalty,
        )?,
        presence_penalty: number("presence_penalty", usual.presence_penalty)?,
        frequency_penalty: number("frequency_penalty", usual.frequency_penalty)?,
        penalty_last_n: last(fields, "repeat_last_n")?.unwrap_or(usual.penalty_last_n),
        dry: dry(fields, usual.dry)?,
        infill: usual.infill,
        logit_bias: bias(fields)?,
        seed: seed.unwrap_or_default(),
        logprobs: usual.logprobs,
    };
    sampling.validate().map_err(|e| refused_sampling(&e))?;
    for name in ["mirostat", "xtc_probability", "dynatemp_range"] {
        let off = |v: &Value| v.as_f64() == Some(0.0);
        fields.refuse(name, off, "this way of sampling is not supported here")?;
    }
    let off = |v: &Value| v.as_f64() == Some(1.0);
    fields.refuse("tfs_z", off, "this way of sampling is not supported here")?;
    refuse_llama_cpps(fields)?;
    Ok((sampling, seed.is_some()))
}

/// What llama.cpp's server knows on every path that generates, and is not done here.
fn refuse_llama_cpps(fields: &Fields<'_>) -> Result<(), ApiError> {
    let off = |v: &Value| v.as_f64().is_some_and(|n| n <= 0.0);
    fields.refuse(
        "top_n_sigma",
        off,
        "this way of sampling is not supported; use min_p",
    )?;
    let few = |v: &Value| v.as_i64().is_some_and(|n| n <= 1);
    fields.refuse(
        "min_keep",
        few,
        "at least one token is always kept, and no more",
    )?;
    let no = |v: &Value| v.as_bool() == Some(false);
    fields.refuse("ignore_eos", no, "an answer ends where the model ends it")?;
    let none = |v: &Value| v.as_array().is_some_and(Vec::is_empty);
    fields.refuse("lora", none, "adapters are not loaded")
}

/// DRY's numbers; what is not given is as in `usual`.
pub fn dry(fields: &Fields<'_>, usual: Dry) -> Result<Dry, ApiError> {
    Ok(Dry {
        multiplier: fields.f32("dry_multiplier")?.unwrap_or(usual.multiplier),
        base: fields.f32("dry_base")?.unwrap_or(usual.base),
        allowed_length: fields
            .u32("dry_allowed_length", 0, u32::MAX)?
            .unwrap_or(usual.allowed_length),
        penalty_last_n: last(fields, "dry_penalty_last_n")?.unwrap_or(usual.penalty_last_n),
        sequence_breakers: match fields.list("dry_sequence_breakers")? {
            Some(texts) => strings(texts, &fields.path("dry_sequence_breakers"), MAX_STOPS)?,
            None => usual.sequence_breakers,
        },
    })
}

/// Which of the fields of sampling that providers know a request has itself, also where they say what is
/// usual.
pub fn said(fields: &Fields<'_>) -> Vec<&'static str> {
    const NAMES: [&str; 6] = [
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "seed",
    ];
    let given = NAMES.into_iter().filter(|name| fields.get(name).is_some());
    given.collect()
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Tokens; none: as many as fit.
    pub tokens: Option<u32>,
    /// Nothing is to be said: the prompt is computed, so that the next request finds it done.
    pub prompt_alone: bool,
}

/// The limit under llama.cpp's name, `n_predict`, or under any of `names`, which all mean the same; none:
/// nobody says. All may be -1, for as many as fit (clients of several servers say so for "no limit"), and
/// `n_predict` 0, for the prompt alone.
pub fn limit(fields: &Fields<'_>, names: &[&str]) -> Result<Option<Limit>, ApiError> {
    let some = |tokens| Limit {
        tokens,
        prompt_alone: false,
    };
    let whole = |name: &str| fields.get(name).and_then(Value::as_i64);
    let mut limit = match whole("n_predict") {
        Some(-1 | -2) => Some(some(None)),
        Some(0) => Some(Limit {
            tokens: Some(1),
            prompt_alone: true,
        }),
        _ => fields
            .u32("n_predict", 1, u32::MAX)?
            .map(|tokens| some(Some(tokens))),
    };
    for name in names {
        let tokens = match whole(name) {
            Some(-1) => None,
            _ => match fields.u32(name, 1, u32::MAX)? {
                None => continue,
                tokens => tokens,
            },
        };
        let given = some(tokens);
        if limit.is_some_and(|other| other != given) {
            let message = format!(
                "`{name}` and another field say how long the answer may be, and not the same; give one"
            );
            return Err(ApiError::invalid(*name, message));
        }
        limit = Some(given);
    }
    Ok(limit)
}

/// `samplers`: which ways of choosing apply, in the one order that there is.
pub fn samplers(fields: &Fields<'_>, sampling: &mut Sampling) -> Result<(), ApiError> {
    let Some(list) = fields.get("samplers") else {
        return Ok(());
    };
    let list = list
        .as_array()
        .ok_or_else(|| wrong("samplers", "a list of names", list))?;
    let mut order = SAMPLERS.iter();
    let mut used = Vec::new();
    for (i, name) in list.iter().enumerate() {
        let path = format!("samplers[{i}]");
        let name = match name.as_str() {
            Some("typical_p" | "typical") => "typ_p",
            Some(name) => name,
            None => return Err(wrong(&path, "a string", name)),
        };
        // XTC is off unless it is asked for elsewhere, which is refused there.
        if name == "xtc" || name == "top_n_sigma" {
            continue;
        }
        if !order.any(|known| *known == name) {
            let message = format!(
                "`{path}`: there are {}, in this order and no other",
                SAMPLERS.join(", ")
            );
            return Err(ApiError::unsupported(path, message));
        }
        used.push(name);
    }
    let plain = Sampling::default();
    let unused = |name: &str| !used.contains(&name);
    if unused("penalties") {
        sampling.repetition_penalty = plain.repetition_penalty;
        sampling.presence_penalty = plain.presence_penalty;
        sampling.frequency_penalty = plain.frequency_penalty;
    }
    if unused("dry") {
        sampling.dry.multiplier = 0.0;
    }
    if unused("top_k") {
        sampling.top_k = plain.top_k;
    }
    for (name, value, plain) in [
        ("typ_p", &mut sampling.typical, plain.typical),
        ("top_p", &mut sampling.top_p, plain.top_p),
        ("min_p", &mut sampling.min_p, plain.min_p),
        ("temperature", &mut sampling.temperature, plain.temperature),
    ] {
        if unused(name) {
            *value = plain;
        }
    }
    sampling.infill = !unused("infill");
    sampling.validate().map_err(|e| refused_sampling(&e))
}

/// `route`: where a request is to be answered.
pub fn route(fields: &Fields<'_>) -> Result<Option<Asked>, ApiError> {
    let Some(word) = fields.str("route")? else {
        return Ok(None);
    };
    let asked = Asked::of_word(word);
    let wrong = || ApiError::invalid("route", "`route` must be local, auto or cloud");
    asked.ok_or_else(wrong).map(Some)
}

/// How far back something looks: -1 is the whole text.
fn last(fields: &Fields<'_>, name: &str) -> Result<Option<Option<u32>>, ApiError> {
    match fields.get(name).and_then(Value::as_i64) {
        Some(-1) => Ok(Some(None)),
        _ => Ok(fields.u32(name, 0, u32::MAX)?.map(Some)),
    }
}

/// One text or several; none for an empty list. `name` is what the field is called.
pub fn stop(fields: &Fields<'_>, name: &str) -> Result<Vec<String>, ApiError> {
    match fields.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(texts)) => strings(texts, &fields.path(name), MAX_STOPS),
        Some(other) => {
            let what = format!("a string or a list of at most {MAX_STOPS}");
            Err(wrong(&fields.path(name), &what, other))
        }
    }
}

/// A list of texts.
pub fn strings(texts: &[Value], path: &str, max: usize) -> Result<Vec<String>, ApiError> {
    if texts.len() > max {
        let message = format!("`{path}` has {} texts; it may have {max}", texts.len());
        return Err(ApiError::invalid(path, message));
    }
    let text = |(i, value): (usize, &Value)| match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(wrong(&format!("{path}[{i}]"), "a string", value)),
    };
    texts.iter().enumerate().map(text).collect()
}

/// A list of token ids.
pub fn tokens(ids: &[Value], path: &str) -> Result<Vec<TokenId>, ApiError> {
    let one = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map(TokenId)
            .ok_or_else(|| wrong(path, "a list of token ids", value))
    };
    ids.iter().map(one).collect()
}

/// Token ids and what is added to their logits; -100 bans a token. An object, or pairs in a list.
pub fn bias(fields: &Fields<'_>) -> Result<Vec<(TokenId, f32)>, ApiError> {
    const MAX: usize = 4096;
    let too_many = || {
        let message = format!("`logit_bias` may name {MAX} tokens");
        ApiError::invalid("logit_bias", message)
    };
    match fields.get("logit_bias") {
        None => Ok(Vec::new()),
        Some(Value::Object(map)) if map.len() > MAX => Err(too_many()),
        Some(Value::Array(pairs)) if pairs.len() > MAX => Err(too_many()),
        Some(Value::Object(map)) => map.iter().map(|(token, value)| one(token, value)).collect(),
        Some(Value::Array(pairs)) => {
            let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([token, value]) => one(&token.to_string(), value),
                _ => Err(wrong("logit_bias", "pairs of a token and a number", pair)),
            };
            pairs.iter().map(pair).collect()
        }
        Some(other) => Err(wrong("logit_bias", "an object", other)),
    }
}

/// A token and what is added to its logit.
fn one(token: &str, value: &Value) -> Result<(TokenId, f32), ApiError> {
    // A name of any length is not repeated.
    let shown = if token.len() > 20 { "..." } else { token };
    let path = format!("logit_bias.{shown}");
    let id = token.parse().map_err(|_| {
        let message = format!("`{path}`: the name must be the number of a token");
        ApiError::invalid("logit_bias", message)
    })?;
    let bias = match value {
        Value::Bool(false) => Some(-100.0),
        value => value.as_f64().filter(|x| (-100.0..=100.0).contains(x)),
    };
    let bias = bias.ok_or_else(|| wrong(&path, "a number from -100 to 100", value))?;
    let bias = if bias == -100.0 {
        f32::NEG_INFINITY
    } else {
        bias as f32
    };
    Ok((TokenId(id), bias))
}
