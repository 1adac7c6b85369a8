//! `options`: how an answer is generated, by Ollama's names and with Ollama's defaults.
//!
//! What only says how a machine is used (`num_thread`, `num_gpu` and the like) is set when a model is
//! loaded: such a field is refused, unless it asks for what is done anyway.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::talk::read;
use ingle_engine::MAX_STOPS;
use ingle_engine::sampler::Sampling;
use serde_json::Value;

/// How an answer is generated.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How tokens are chosen; the seed means nothing where `seeded` is false.
    pub sampling: Sampling,
    /// Whether a seed was given.
    pub seeded: bool,
    /// Fields of sampling that the request has itself.
    pub said: Vec<&'static str>,
    /// Texts at which an answer ends.
    pub stop: Vec<String>,
    /// `num_predict`: tokens of an answer at most; none: as many as fit.
    pub max_tokens: Option<u32>,
    /// `num_ctx`: positions that prompt and answer may take together.
    pub context: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sampling: Sampling {
                temperature: 0.8,
                top_k: 40,
                top_p: 0.9,
                penalty_last_n: Some(64),
                ..Sampling::default()
            },
            seeded: false,
            said: Vec::new(),
            stop: Vec::new(),
            max_tokens: None,
            context: None,
        }
    }
}

impl Options {
    /// Those of a request.
    pub(crate) fn read(request: &Fields<'_>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let Some(fields) = request.object("options")? else {
            return Ok(options);
        };
        refuse_what_is_set_when_loading(&fields)?;
        refuse_other_sampling(&fields)?;
        options.sampling = sampling(&fields, options.sampling)?;
        options.said = read::said(&fields);
        // A negative seed is a random one.
        let seed = whole(&fields, "seed", i64::MIN, i64::MAX)?.and_then(|n| u64::try_from(n).ok());
        options.seeded = seed.is_some();
        options.sampling.seed = seed.unwrap_or_default();
        options.stop = stop(&fields)?;
        options.max_tokens = match whole(&fields, "num_predict", -2, i64::from(u32::MAX))? {
            Some(0) => {
                let path = fields.path("num_predict");
                let message =
                    format!("`{path}` is 0; ask for at least 1 token, or -1 for as many as fit");
                return Err(ApiError::invalid(path, message));
            }
            limit => limit.and_then(|n| u32::try_from(n).ok()),
        };
        let context = whole(&fields, "num_ctx", 0, i64::from(u32::MAX))?;
        // 0 says what leaving it out says.
        options.context = context
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0);
        Ok(options)
    }
}

fn sampling(fields: &Fields<'_>, usual: Sampling) -> Result<Sampling, ApiError> {
    let number = |name: &str, usual: f32, low: f32, high: f32| {
        Ok::<_, ApiError>(real(fields, name, low, high)?.unwrap_or(usual))
    };
    let small = i64::from(i32::MAX);
    let top_k = whole(fields, "top_k", -small, small)?;
    let last_n = whole(fields, "repeat_last_n", -1, small)?;
    Ok(Sampling {
        temperature: number("temperature", usual.temperature, 0.0, 100.0)?,
        // Nothing or less keeps all.
        top_k: top_k.map_or(usual.top_k, |n| u32::try_from(n).unwrap_or(0)),
        top_p: number("top_p", usual.top_p, 0.0, 1.0)?,
        min_p: number("min_p", usual.min_p, 0.0, 1.0)?,
        typical: number("typical_p", usual.typical, 0.0, 1.0)?,
        repetition_penalty: number("repeat_penalty", usual.repetition_penalty, 0.01, 100.0)?,
        presence_penalty: number("presence_penalty", usual.presence_penalty, -2.0, 2.0)?,
        frequency_penalty: number("frequency_penalty", usual.frequency_penalty, -2.0, 2.0)?,
        penalty_last_n: match last_n {
            None => usual.penalty_last_n,
            // -1: the whole text.
            Some(n) => u32::try_from(n).ok(),
        },
        // What a preset may say beside Ollama's own.
        dry: read::dry(fields, usual.dry)?,
        logit_bias: read::bias(fields)?,
        ..usual
    })
}

/// Fields that a running server cannot change, with the value that each has.
fn refuse_what_is_set_when_loading(fields: &Fields<'_>) -> Result<(), ApiError> {
    const GPU: &str = "the model runs on the processor";
    let is = |want: bool| move |v: &Value| v.as_bool() == Some(want);
    let none_or_auto = |v: &Value| v.as_i64().is_some_and(|n| n <= 0);
    fields.refuse("num_gpu", none_or_auto, GPU)?;
    fields.refuse("main_gpu", |v| v.as_i64() == Some(0), GPU)?;
    let auto = |v: &Value| v.as_i64() == Some(0);
    fields.refuse(
        "num_thread",
        auto,
        "start the server with --threads N instead",
    )?;
    fields.refuse(
        "num_batch",
        |_| false,
        "the server chooses how many tokens it computes at once; it changes no answer",
    )?;
    fields.refuse(
        "use_mmap",
        is(false),
        "weights are never mapped into memory",
    )?;
    fields.refuse("use_mlock", is(false), "memory is not locked")?;
    fields.refuse("numa", is(false), "memory is not placed by node")?;
    fields.refuse("low_vram", is(false), GPU)?;
    fields.refuse(
        "f16_kv",
        is(true),
        "start the server with --kv-type instead",
    )?;
    for name in ["logits_all", "vocab_only", "embedding_only"] {
        fields.refuse(name, is(false), "models are always loaded as a whole")?;
    }
    fields.refuse(
        "draft_num_predict",
        |_| false,
        "the server chooses how many tokens it guesses; it changes no answer",
    )
}

/// Ways of sampling that there are elsewhere.
fn refuse_other_sampling(fields: &Fields<'_>) -> Result<(), ApiError> {
    let zero = |v: &Value| v.as_f64() == Some(0.0);
    fields.refuse(
        "mirostat",
        zero,
        "this way of sampling is not supported; use top_p or min_p",
    )?;
    // They say nothing where mirostat is off, which it is.
    for name in ["mirostat_tau", "mirostat_eta"] {
        real(fields, name, f32::MIN, f32::MAX)?;
    }
    let one = |v: &Value| v.as_f64() == Some(1.0);
    fields.refuse(
        "tfs_z",
        one,
        "this way of sampling is not supported; use min_p",
    )?;
    let yes = |v: &Value| v.as_bool() == Some(true);
    fields.refuse("penalize_newline", yes, "penalties count every token alike")?;
    // What would be kept when a context overflows: it never does here.
    whole(fields, "num_keep", -1, i64::from(i32::MAX)).map(drop)
}

/// A text or several.
fn stop(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let texts = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => return Ok(vec![text.clone()]),
        Some(Value::Array(texts)) if texts.len() <= MAX_STOPS => texts,
        Some(other) => {
            let what = format!("a list of at most {MAX_STOPS} strings");
            return Err(wrong(&fields.path("stop"), &what, other));
        }
    };
    let text = |(i, value): (usize, &Value)| match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(wrong(&format!("options.stop[{i}]"), "a string", value)),
    };
    texts.iter().enumerate().map(text).collect()
}

/// A whole number; 8.0 is one too, as clients without whole numbers send it.
fn whole(fields: &Fields<'_>, name: &str, low: i64, high: i64) -> Result<Option<i64>, ApiError> {
    let Some(value) = fields.get(name) else {
        return Ok(None);
    };
    let exact = |x: &f64| x.fract() == 0.0 && x.abs() < 9.0e15;
    let number = value
        .as_i64()
        .or_else(|| {
            value
                .as_u64()
                .map(u64::cast_signed)
                .filter(|_| high == i64::MAX)
        })
        .or_else(|| value.as_f64().filter(exact).map(|x| x as i64));
    match number.filter(|n| (low..=high).contains(n)) {
        Some(number) => Ok(Some(number)),
        None if high == i64::MAX => Err(wrong(
            &fields.path(name),
            "a whole number of 64 bits",
            value,
        )),
        None => {
            let what = format!("a whole number from {low} to {high}");
            Err(wrong(&fields.path(name), &what, value))
        }
    }
}

/// A number in a range.
fn real(fields: &Fields<'_>, name: &str, low: f32, high: f32) -> Result<Option<f32>, ApiError> {
    let Some(number) = fields.f32(name)? else {
        return Ok(None);
    };
    if !(low..=high).contains(&number) {
        let path = fields.path(name);
        let message = format!("`{path}` must be from {low} to {high}, not {number}");
        return Err(ApiError::invalid(path, message));
    }
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(options: Value) -> Result<Options, String> {
        let body = json!({ "options": options });
        Options::read(&Fields::of_body(&body).unwrap()).map_err(|error| error.param.unwrap())
    }

    #[test]
    fn every_option_says_what_it_says_at_ollama() {
        let all = json!({
            "num_ctx": 2048, "num_predict": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.25,
            "min_p": 0.125, "typical_p": 0.75, "repeat_penalty": 1.5, "repeat_last_n": 32,
            "presence_penalty": -0.5, "frequency_penalty": 0.5, "seed": 9, "stop": ["a", "b"],
            "mirostat": 0, "mirostat_tau": 5.0, "num_keep": 4, "num_gpu": -1, "num_thread": 0,
            "tfs_z": 1, "nobody_knows": "this",
        });
        let said = [
            "temperature",
            "top_p",
            "top_k",
            "presence_penalty",
            "frequency_penalty",
            "seed",
        ];
        let want = Options {
            sampling: Sampling {
                temperature: 0.5,
                top_k: 3,
                top_p: 0.25,
                min_p: 0.125,
                typical: 0.75,
                repetition_penalty: 1.5,
                presence_penalty: -0.5,
                frequency_penalty: 0.5,
                penalty_last_n: Some(32),
                seed: 9,
                ..Sampling::default()
            },
            seeded: true,
            said: said.to_vec(),
            stop: vec!["a".into(), "b".into()],
            max_tokens: Some(7),
            context: Some(2048),
        };
        assert_eq!(read(all), Ok(want));
        assert_eq!(read(json!(null)), Ok(Options::default()));
        // As a preset says it.
        let house = read(json!({ "dry_multiplier": 0.5, "logit_bias": {"7": -100} })).unwrap();
        let banned = (ingle_formats::TokenId(7), f32::NEG_INFINITY);
        assert_eq!(house.sampling.logit_bias, [banned]);
        assert_eq!(house.sampling.dry.multiplier, 0.5);
        let default = Options::default().sampling;
        assert_eq!(
            (default.temperature, default.top_k, default.top_p),
            (0.8, 40, 0.9)
        );
    }

    #[test]
    fn numbers_with_a_meaning_of_their_own() {
        let read = |options| read(options).unwrap();
        assert_eq!(read(json!({ "num_predict": -1 })).max_tokens, None);
        assert_eq!(read(json!({ "num_predict": -2 })).max_tokens, None);
        assert_eq!(read(json!({ "num_predict": 8.0 })).max_tokens, Some(8));
        assert_eq!(read(json!({ "top_k": -1 })).sampling.top_k, 0);
        assert_eq!(
            read(json!({ "repeat_last_n": -1 })).sampling.penalty_last_n,
            None
        );
        assert_eq!(
            read(json!({ "repeat_last_n": 0 })).sampling.penalty_last_n,
            Some(0)
        );
        assert!(!read(json!({ "seed": -1 })).seeded && read(json!({ "seed": 0 })).seeded);
        assert_eq!(read(json!({ "stop": "end" })).stop, ["end"]);
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let cases = [
            ("mirostat", json!(2)),
            ("tfs_z", json!(0.9)),
            ("penalize_newline", json!(false)),
            ("num_gpu", json!(99)),
            ("num_thread", json!(8)),
            ("num_batch", json!(512)),
            ("use_mmap", json!(true)),
            ("num_predict", json!(0)),
            ("num_predict", json!(1.5)),
            ("num_ctx", json!(-1)),
            ("temperature", json!("hot")),
            ("temperature", json!(-1)),
            ("top_p", json!(2)),
            ("frequency_penalty", json!(3)),
            ("repeat_penalty", json!(0)),
            ("seed", json!("x")),
            ("stop", json!(7)),
        ];
        for (name, value) in cases {
            assert_eq!(read(json!({ name: value })), Err(format!("options.{name}")));
        }
        assert_eq!(read(json!(7)), Err("options".to_owned()));
        assert_eq!(
            read(json!({ "stop": ["a", 1] })),
            Err("options.stop[1]".to_owned())
        );
    }

    proptest! {
        #[test]
        fn what_is_taken_can_be_sampled_with(x in any::<f64>(), name in 0_usize..9) {
            const NAMES: [&str; 9] = [
                "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty",
                "repeat_last_n", "presence_penalty", "frequency_penalty",
            ];
            if let Ok(options) = read(json!({ NAMES[name]: x })) {
                prop_assert_eq!(options.sampling.validate(), Ok(()));
            }
        }
    }
}
