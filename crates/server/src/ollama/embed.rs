//! `/api/embed` and the older `/api/embeddings`.

use super::keep_alive::KeepAlive;
use super::options::Options;
use super::request::model;
use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::served::Served;
use crate::talk::numbers;
use http::Response;
use ingle_engine::Asked;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Encode;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// The most texts of a request.
const MAX_INPUTS: usize = 2048;

/// What is to become numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    model: String,
    texts: Vec<String>,
    /// The field that the texts stand in.
    field: &'static str,
    /// A text that is too long is cut, because the request says so.
    truncate: bool,
    dimensions: Option<u32>,
    /// `num_ctx`.
    context: Option<u32>,
    keep_alive: Option<KeepAlive>,
}

impl EmbedRequest {
    /// Reads the body of `/api/embed`.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let texts = inputs(&fields)?;
        Self::read(&fields, texts, "input")
    }

    /// Reads the body of `/api/embeddings`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_old(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let text = fields.str("prompt")?.filter(|text| !text.is_empty());
        let texts = text.map(str::to_owned).into_iter().collect();
        Self::read(&fields, texts, "prompt")
    }

    fn read(
        fields: &Fields<'_>,
        texts: Vec<String>,
        field: &'static str,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            model: model(fields)?,
            texts,
            field,
            truncate: fields.bool("truncate")?.unwrap_or(false),
            dimensions: fields.u32("dimensions", 0, u32::MAX)?.filter(|n| *n > 0),
            context: Options::read(fields)?.context,
            keep_alive: KeepAlive::read(fields)?,
        })
    }
}

/// A text, or a list of them; an empty one is none.
fn inputs(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let what = format!("a string or a list of at most {MAX_INPUTS} of them");
    match fields.get("input") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) if list.len() <= MAX_INPUTS => {
            let one = |(i, value): (usize, &Value)| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong(&format!("input[{i}]"), "a string", other)),
            };
            list.iter().enumerate().map(one).collect()
        }
        Some(other) => Err(wrong("input", &what, other)),
    }
}

/// What came of it.
struct Embedded {
    request: EmbedRequest,
    values: Vec<Vec<f32>>,
    tokens: u64,
    time: std::time::Duration,
}

async fn embedded(
    call: &Arc<Call>,
    read: fn(&[u8]) -> Result<EmbedRequest, ApiError>,
) -> Result<Embedded, ApiError> {
    let asked = Instant::now();
    let request = super::aside(call, move |call| read(&call.body)).await?;
    let id = super::names::id(call, &request.model)?;
    let model = call.model(Some(&id)).await?;
    KeepAlive::apply(request.keep_alive, &model);
    let (texts, width) = (Arc::clone(&model), model.width);
    let request = super::aside(call, move |_| {
        let inputs = request.texts.iter().enumerate();
        let inputs: Result<Vec<Asked>, ApiError> = inputs
            .map(|(i, text)| input(&texts, &request, i, text))
            .collect();
        Ok((inputs?, request))
    });
    let (inputs, request) = request.await?;
    if let Some(n) = request.dimensions.filter(|n| *n as usize > width) {
        let message = format!("`dimensions` is {n}; this model's embeddings have {width} numbers");
        return Err(ApiError::invalid("dimensions", message));
    }
    let done = numbers::all(call, &model, inputs, request.field).await?;
    let shorter = |values: Vec<f32>| match request.dimensions {
        Some(n) => cut(values, n as usize),
        None => values,
    };
    Ok(Embedded {
        values: done.values.into_iter().map(shorter).collect(),
        tokens: done.tokens,
        time: asked.elapsed(),
        request,
    })
}

/// A text as it is asked of the engine, cut where that was asked for.
fn input(
    model: &Served,
    request: &EmbedRequest,
    index: usize,
    text: &str,
) -> Result<Asked, ApiError> {
    let context = match request.context {
        Some(context) if context > model.context => {
            return Err(super::context_too_large(context, model.context));
        }
        Some(context) => context,
        None if !request.truncate => return Ok(Asked::Embedding(text.to_owned())),
        None => model.context,
    } as usize;
    let options = Encode {
        add_special: true,
        parse_special: true,
    };
    let tokens = model.prompter.vocabulary().encode(text, options);
    if tokens.len() <= context {
        return Ok(Asked::Embedding(text.to_owned()));
    }
    if request.truncate {
        return Ok(Asked::EmbeddingOf(shortened(tokens, context, model)));
    }
    let (field, n) = (request.field, tokens.len());
    let path = format!("{field}[{index}]");
    let message = format!(
        "`{path}` has {n} tokens and `options.num_ctx` is {context}; shorten it, or say `truncate` to have it cut"
    );
    Err(ApiError::invalid(path, message))
}

/// The first `context` tokens; the mark of the end stays, where there was one.
fn shortened(mut tokens: Vec<TokenId>, context: usize, model: &Served) -> Vec<TokenId> {
    let vocabulary = model.prompter.vocabulary();
    let ends = (vocabulary.add_eos() || vocabulary.add_sep()).then(|| tokens.last().copied());
    tokens.truncate(context);
    if let (Some(end), Some(last)) = (ends.flatten(), tokens.last_mut()) {
        *last = end;
    }
    tokens
}

/// The first `n` numbers, of length 1 again (<https://arxiv.org/abs/2205.13147>).
fn cut(mut values: Vec<f32>, n: usize) -> Vec<f32> {
    values.truncate(n);
    let square: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 {
        let length = square.sqrt();
        for value in &mut values {
            *value = (f64::from(*value) / length) as f32;
        }
    }
    values
}

/// `POST /api/embed`.
pub(super) async fn embed(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let done = embedded(call, EmbedRequest::parse).await?;
    let time = u64::try_from(done.time.as_nanos()).unwrap_or(u64::MAX);
    Ok(json(&json!({
        "model": done.request.model, "embeddings": done.values, "total_duration": time,
        "load_duration": 0, "prompt_eval_count": done.tokens,
    })))
}

/// `POST /api/embeddings`.
pub(super) async fn embeddings(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let done = embedded(call, EmbedRequest::parse_old).await?;
    let only = done.values.into_iter().next().unwrap_or_default();
    Ok(json(&json!({ "embedding": only })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_what_is_asked_of_them() {
        let read = |body: Value| {
            EmbedRequest::parse(body.to_string().as_bytes()).map_err(|error| error.param.unwrap())
        };
        let one = read(json!({ "model": "m", "input": "a", "dimensions": 2, "truncate": true }));
        let one = one.unwrap();
        assert_eq!(
            (one.texts.len(), one.dimensions, one.truncate),
            (1, Some(2), true)
        );
        assert_eq!(
            read(json!({ "model": "m", "input": ["a", "b"] }))
                .unwrap()
                .texts
                .len(),
            2
        );
        assert_eq!(
            read(json!({ "model": "m", "input": "" }))
                .unwrap()
                .texts
                .len(),
            0
        );
        for (body, want) in [
            (json!({ "input": "a" }), "model"),
            (json!({ "model": "m", "input": 7 }), "input"),
            (json!({ "model": "m", "input": ["a", 7] }), "input[1]"),
            (
                json!({ "model": "m", "options": {"num_gpu": 1} }),
                "options.num_gpu",
            ),
            (json!({ "model": "m", "dimensions": -1 }), "dimensions"),
        ] {
            assert_eq!(read(body), Err(want.to_owned()));
        }
        let old = EmbedRequest::parse_old(br#"{"model": "m", "prompt": "a"}"#).unwrap();
        assert_eq!((old.texts, old.field), (vec!["a".to_owned()], "prompt"));
    }

    #[test]
    fn what_is_cut_has_length_one() {
        assert_eq!(cut(vec![3.0, 4.0, 5.0], 2), [0.6, 0.8]);
        assert_eq!(cut(vec![0.0, 0.0], 1), [0.0]);
        assert_eq!(cut(vec![1.0], 5), [1.0]);
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in ".{0,200}") {
            let _ = EmbedRequest::parse(body.as_bytes());
            let _ = EmbedRequest::parse_old(body.as_bytes());
        }
    }
}
