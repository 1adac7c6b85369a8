//! `POST /completion` and `POST /infill`, as they are asked.
//!
//! Fields that nobody knows are tolerated; one that is known and asks for what is not done here is
//! refused by name. `cache_prompt` and `id_slot` change nothing: a prompt finds by itself what was computed of
//! it, and an answer is the same to the bit either way.

use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::talk::read::{limit, samplers, sampling, stop, tokens};
use crate::talk::{Form, Grammar, Infill, MAX_ANSWERS, MAX_CHOICES, Text};
use ingle_engine::sampler::Sampling;
use serde_json::Value;
use std::time::Duration;

/// The most prompts of a request.
const MAX_PROMPTS: usize = 32;
/// The most files beside the one that is written.
const MAX_EXTRA: usize = 256;
/// The most alternatives of a token.
const MAX_PROBS: u32 = 100;
/// -1 as 32 bits: the seed of an answer that nobody gave one.
pub(super) const RANDOM_SEED: u64 = 0xffff_ffff;

/// A text to go on with, or to fill a hole of.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    pub(super) model: Option<String>,
    pub(super) prompts: Vec<Text>,
    /// The answer is a list, because the prompt was one.
    pub(super) several: bool,
    pub(super) n: u32,
    pub(super) max_tokens: Option<u32>,
    /// Nothing is to be said.
    pub(super) prompt_alone: bool,
    pub(super) sampling: Sampling,
    pub(super) seeded: bool,
    pub(super) stop: Vec<String>,
    pub(super) form: Form,
    pub(super) stream: bool,
    pub(super) shape: Shape,
}

/// What the answer is to look like.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Shape {
    /// `n_indent`: a line with less white space before it ends the answer.
    pub indent: usize,
    /// `t_max_predict_ms`: so long after the first token it ends, if there was a line break.
    pub time: Option<Duration>,
    pub return_tokens: bool,
    /// Fields that are shown; none: all.
    pub fields: Vec<String>,
    /// `sse_ping_interval`; `None`: never.
    pub ping: Option<Duration>,
}

impl CompletionRequest {
    /// Reads the body of `/completion`.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let (prompts, several) = prompts(&fields)?;
        Self::read(&fields, prompts, several)
    }

    /// Reads the body of `/infill`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_infill(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let hole = infill(&fields)?;
        Self::read(&fields, vec![Text::Infill(hole)], false)
    }

    fn read(fields: &Fields<'_>, prompts: Vec<Text>, several: bool) -> Result<Self, ApiError> {
        refuse_what_is_not_done(fields)?;
        let usual = Sampling {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            ..Sampling::default()
        };
        // Nothing, or less than nothing, keeps all.
        let all = fields
            .get("top_k")
            .and_then(Value::as_i64)
            .is_some_and(|n| n < 0);
        let without = without_some(fields, all.then_some("top_k"), &["seed"])?;
        let (mut sampling, _) = sampling(&Fields::at(&without, String::new())?, usual)?;
        if all {
            sampling.top_k = 0;
        }
        let seed = fields.bits("seed")?.filter(|seed| {
            // -1, also as 32 bits.
            !seed.cast_signed().is_negative() && *seed != RANDOM_SEED
        });
        sampling.seed = seed.unwrap_or_default();
        samplers(fields, &mut sampling)?;
        let probs = fields.u32("n_probs", 0, MAX_PROBS)?.filter(|n| *n > 0);
        sampling.logprobs = probs;
        let n = fields.u32("n_cmpl", 1, MAX_CHOICES)?.unwrap_or(1);
        if prompts.len() * n as usize > MAX_ANSWERS {
            let message =
                format!("a request may have {MAX_ANSWERS} answers: prompts times `n_cmpl`");
            return Err(ApiError::invalid("n_cmpl", message));
        }
        let stream = fields.bool("stream")?.unwrap_or(false);
        let limit = limit(fields, &["max_tokens"])?;
        Ok(Self {
            model: fields.str("model")?.map(str::to_owned),
            prompts,
            several: several || n > 1,
            n,
            max_tokens: limit.and_then(|limit| limit.tokens),
            prompt_alone: limit.is_some_and(|limit| limit.prompt_alone),
            sampling,
            seeded: seed.is_some(),
            stop: stop(fields, "stop")?,
            form: form(fields)?,
            shape: shape(fields, stream)?,
            stream,
        })
    }
}

/// The fields without those that are read otherwise.
fn without_some(
    fields: &Fields<'_>,
    one: Option<&str>,
    others: &[&str],
) -> Result<Value, ApiError> {
    let mut map = fields.map().clone();
    for name in one.iter().chain(others) {
        map.shift_remove(*name);
    }
    Ok(Value::Object(map))
}

fn shape(fields: &Fields<'_>, stream: bool) -> Result<Shape, ApiError> {
    let shown = fields.list("response_fields")?.unwrap_or_default();
    let shown = crate::talk::read::strings(shown, "response_fields", 64)?;
    let indent = fields.u32("n_indent", 0, 4096)?.unwrap_or(0) as usize;
    if stream && (indent > 0 || !shown.is_empty()) {
        let name = if indent > 0 {
            "n_indent"
        } else {
            "response_fields"
        };
        let message = format!("`{name}` is for answers that come in one piece: leave `stream` out");
        return Err(ApiError::invalid(name, message));
    }
    let time = fields
        .u32("t_max_predict_ms", 0, u32::MAX)?
        .filter(|ms| *ms > 0);
    let ping = match fields.get("sse_ping_interval").and_then(Value::as_i64) {
        Some(-1) => None,
        _ => Some(fields.u32("sse_ping_interval", 1, 3600)?.unwrap_or(15)),
    };
    Ok(Shape {
        indent,
        time: time.map(|ms| Duration::from_millis(u64::from(ms))),
        return_tokens: fields.bool("return_tokens")?.unwrap_or(false),
        fields: shown,
        ping: ping.map(|seconds| Duration::from_secs(u64::from(seconds))),
    })
}

fn refuse_what_is_not_done(fields: &Fields<'_>) -> Result<(), ApiError> {
    let no = |v: &Value| v.as_bool() == Some(false);
    let zero = |v: &Value| v.as_f64() == Some(0.0);
    let place = |v: &Value| v.as_i64().is_some_and(|n| n >= -1);
    fields.refuse("return_progress", no, "progress of the prompt is not told")?;
    fields.refuse(
        "timings_per_token",
        no,
        "timings come with the end of an answer",
    )?;
    fields.refuse(
        "post_sampling_probs",
        no,
        "probabilities are the model's own",
    )?;
    fields.refuse(
        "id_slot",
        place,
        "it must be a whole number; any will do, for a prompt finds by itself what was computed of it",
    )?;
    fields.refuse(
        "n_cache_reuse",
        zero,
        "only beginnings of texts are used again",
    )?;
    fields.bool("cache_prompt")?;
    Ok(())
}

/// A grammar or a schema.
fn form(fields: &Fields<'_>) -> Result<Form, ApiError> {
    let grammar = fields.str("grammar")?.filter(|text| !text.is_empty());
    match (grammar, fields.get("json_schema")) {
        (None, None) => Ok(Form::Text),
        (Some(text), None) => Ok(Form::Grammar(Grammar::Gbnf(text.to_owned()))),
        (None, Some(schema @ (Value::Object(_) | Value::Bool(_)))) => {
            Ok(Form::JsonSchema(schema.clone()))
        }
        (None, Some(other)) => Err(wrong("json_schema", "a JSON schema", other)),
        (Some(_), Some(_)) => {
            let message = "`grammar` and `json_schema` say the same twice; give one";
            Err(ApiError::invalid("grammar", message))
        }
    }
}

/// A text, tokens, or a list of either.
fn prompts(fields: &Fields<'_>) -> Result<(Vec<Text>, bool), ApiError> {
    let what = format!("a string, token ids, or a list of at most {MAX_PROMPTS} of them");
    let list = match fields.get("prompt") {
        None => {
            let message = "`prompt` is missing: give a text";
            return Err(ApiError::invalid("prompt", message));
        }
        Some(Value::Array(list)) if !list.first().is_some_and(Value::is_number) => list,
        Some(one) => return Ok((vec![prompt(one, "prompt", &what)?], false)),
    };
    if list.is_empty() || list.len() > MAX_PROMPTS {
        let message = format!("`prompt` must be {what}");
        return Err(ApiError::invalid("prompt", message));
    }
    let one = |(i, value)| prompt(value, &format!("prompt[{i}]"), &what);
    let texts: Result<Vec<Text>, ApiError> = list.iter().enumerate().map(one).collect();
    Ok((texts?, true))
}

fn prompt(value: &Value, path: &str, what: &str) -> Result<Text, ApiError> {
    match value {
        Value::String(text) => Ok(Text::Plain(text.clone())),
        Value::Array(ids) if ids.iter().any(Value::is_string) => Err(ApiError::unsupported(
            path,
            format!("`{path}`: give either a text or token ids, not a mixture"),
        )),
        Value::Array(ids) => tokens(ids, path).map(Text::Tokens),
        Value::Object(_) => {
            let fields = Fields::at(value, path.to_owned())?;
            let none = |v: &Value| v.as_array().is_some_and(Vec::is_empty);
            fields.refuse("multimodal_data", none, "this model reads text only")?;
            match fields.str("prompt_string")? {
                Some(text) => Ok(Text::Plain(text.to_owned())),
                None => {
                    let path = fields.path("prompt_string");
                    Err(ApiError::invalid(&path, format!("`{path}` is missing")))
                }
            }
        }
        other => Err(wrong(path, what, other)),
    }
}

/// What stands around the hole. `prompt` is the beginning of what fills it.
fn infill(fields: &Fields<'_>) -> Result<Infill, ApiError> {
    let given = |name: &str| {
        let text = fields.str(name)?;
        let text = text.ok_or_else(|| ApiError::invalid(name, format!("`{name}` is missing")));
        text.map(str::to_owned)
    };
    let extra = fields.list("input_extra")?.unwrap_or_default();
    if extra.len() > MAX_EXTRA {
        let message = format!("`input_extra` may have {MAX_EXTRA} texts");
        return Err(ApiError::invalid("input_extra", message));
    }
    let file = |(i, value): (usize, &Value)| {
        let file = Fields::at(value, format!("input_extra[{i}]"))?;
        let missing = |name: &str| {
            let path = file.path(name);
            ApiError::invalid(&path, format!("`{path}` is missing"))
        };
        let text = file.str("text")?.ok_or_else(|| missing("text"))?;
        let name = file.str("filename")?.unwrap_or("tmp");
        Ok((name.to_owned(), text.to_owned()))
    };
    let files: Result<_, ApiError> = extra.iter().enumerate().map(file).collect();
    Ok(Infill {
        prefix: given("input_prefix")?,
        suffix: given("input_suffix")?,
        files: files?,
        begun: fields.str("prompt")?.unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(body: Value) -> Result<CompletionRequest, String> {
        CompletionRequest::parse(body.to_string().as_bytes()).map_err(|e| e.param.unwrap())
    }

    fn with(more: Value) -> Result<CompletionRequest, String> {
        let mut body = json!({ "prompt": "Hi" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        read(body)
    }

    #[test]
    fn what_is_asked_is_understood() {
        let plain = with(json!({})).unwrap();
        assert_eq!(
            (plain.max_tokens, plain.seeded, plain.stream),
            (None, false, false)
        );
        let s = &plain.sampling;
        assert_eq!(
            (s.temperature, s.top_k, s.top_p, s.min_p),
            (0.8, 40, 0.95, 0.05)
        );
        let all = with(json!({
            "n_predict": 7, "temperature": 0.5, "top_k": -1, "seed": 3, "stop": ["a"], "n_probs": 2,
            "grammar": "root ::= \"a\"", "return_tokens": true, "n_indent": 4,
            "t_max_predict_ms": 500, "response_fields": ["content"], "cache_prompt": true,
            "logit_bias": [[5, 1.5], [6, false]], "id_slot": -1, "samplers": ["top_k", "temperature"],
        }))
        .unwrap();
        assert_eq!(
            (all.max_tokens, all.sampling.top_k, all.sampling.top_p),
            (Some(7), 0, 1.0)
        );
        assert_eq!(all.sampling.logit_bias.len(), 2);
        assert_eq!((all.sampling.seed, all.sampling.logprobs), (3, Some(2)));
        assert_eq!(
            all.form,
            Form::Grammar(Grammar::Gbnf("root ::= \"a\"".into()))
        );
        assert_eq!(all.shape.time, Some(Duration::from_millis(500)));
        assert!(!with(json!({ "seed": -1 })).unwrap().seeded);
        assert!(!with(json!({ "seed": u32::MAX })).unwrap().seeded);
        let lists = read(json!({ "prompt": ["a", [1, 2], {"prompt_string": "b"}] })).unwrap();
        assert_eq!((lists.prompts.len(), lists.several), (3, true));
        let ids = read(json!({ "prompt": [1, 2] })).unwrap();
        assert_eq!((ids.prompts.len(), ids.several), (1, false));
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (more, want) in [
            (json!({"prompt": null}), "prompt"),
            (json!({"prompt": []}), "prompt"),
            (json!({"prompt": [1, "a"]}), "prompt"),
            (json!({"prompt": ["a", 1]}), "prompt[1]"),
            (json!({"n_predict": -3}), "n_predict"),
            (json!({"n_predict": 2, "max_tokens": 3}), "max_tokens"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"ignore_eos": true}), "ignore_eos"),
            (json!({"top_n_sigma": 1}), "top_n_sigma"),
            (json!({"min_keep": 2}), "min_keep"),
            (json!({"id_slot": "a"}), "id_slot"),
            (json!({"mirostat": 1}), "mirostat"),
            (json!({"xtc_probability": 0.5}), "xtc_probability"),
            (json!({"samplers": ["temperature", "top_k"]}), "samplers[1]"),
            (json!({"samplers": ["infill"]}), "top_k"),
            (json!({"samplers": ["infill", "top_p"]}), "samplers[1]"),
            (json!({"lora": [{"id": 0, "scale": 1}]}), "lora"),
            (json!({"grammar": "a", "json_schema": {}}), "grammar"),
            (json!({"json_schema": "x"}), "json_schema"),
            (json!({"stream": true, "n_indent": 2}), "n_indent"),
            (json!({"n_probs": 1000}), "n_probs"),
            (json!({"temperature": -1}), "temperature"),
        ] {
            assert_eq!(with(more.clone()), Err(want.to_owned()), "{more}");
        }
    }

    #[test]
    fn holes_and_the_files_around_them() {
        let body = json!({
            "input_prefix": "fn a() {", "input_suffix": "}", "prompt": "  ",
            "input_extra": [{"filename": "b.rs", "text": "fn b() {}"}],
        });
        let read = CompletionRequest::parse_infill(body.to_string().as_bytes()).unwrap();
        let Text::Infill(hole) = &read.prompts[0] else {
            panic!("{read:?}")
        };
        assert_eq!(
            (hole.prefix.as_str(), hole.begun.as_str()),
            ("fn a() {", "  ")
        );
        assert_eq!(hole.files, [("b.rs".to_owned(), "fn b() {}".to_owned())]);
        let missing = CompletionRequest::parse_infill(br#"{"input_prefix": "a"}"#);
        assert_eq!(missing.unwrap_err().param.unwrap(), "input_suffix");
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in ".{0,200}") {
            let _ = CompletionRequest::parse(body.as_bytes());
            let _ = CompletionRequest::parse_infill(body.as_bytes());
        }
    }
}
