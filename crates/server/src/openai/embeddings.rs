//! `POST /v1/embeddings`.

use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::talk::numbers;
use crate::talk::read::tokens;
use http::Response;
use ingle_engine::Asked;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most texts of a request, as OpenAI has it.
const MAX_INPUTS: usize = 2048;

/// Answers a request.
pub async fn answer(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let body = parse(&call.body)?;
    let fields = Fields::of_body(&body)?;
    let model = call.model(fields.str("model")?).await?;
    let in_base64 = match fields.str("encoding_format")?.unwrap_or("float") {
        "float" => false,
        "base64" => true,
        _ => {
            let message = "`encoding_format` must be float or base64";
            return Err(ApiError::invalid("encoding_format", message));
        }
    };
    let dimensions = match fields.u32("dimensions", 1, u32::MAX)?.map(|n| n as usize) {
        Some(n) if n > model.width => {
            let width = model.width;
            let message = format!(
                "`dimensions`: this model's embeddings have {width} numbers; ask for those or fewer"
            );
            return Err(ApiError::invalid("dimensions", message));
        }
        n => n.unwrap_or(model.width),
    };
    let done = numbers::all(&call, &model, inputs(&fields)?, "input").await?;
    let embedding = |values: &Vec<f32>| {
        let values = shortened(values, dimensions);
        match in_base64 {
            false => Value::from(values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()),
            true => base64(values.iter().flat_map(|x| x.to_le_bytes())).into(),
        }
    };
    let data: Vec<Value> = done
        .values
        .iter()
        .enumerate()
        .map(|(i, values)| json!({ "object": "embedding", "index": i, "embedding": embedding(values) }))
        .collect();
    Ok(json(&json!({
        "object": "list", "data": data, "model": model.id,
        "usage": { "prompt_tokens": done.tokens, "total_tokens": done.tokens },
    })))
}

/// The first `n` numbers, of length 1 again (<https://arxiv.org/abs/2205.13147>).
fn shortened(values: &[f32], n: usize) -> Vec<f32> {
    let first = values.get(..n).unwrap_or(values);
    if first.len() == values.len() {
        return first.to_vec();
    }
    let length = first
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>();
    let length = length.sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 1.0 };
    first
        .iter()
        .map(|&x| (f64::from(x) * scale) as f32)
        .collect()
}

/// A text, tokens, or a list of either.
fn inputs(fields: &Fields<'_>) -> Result<Vec<Asked>, ApiError> {
    let what = format!("a string, a list of at most {MAX_INPUTS} of them, or token ids");
    let list = match fields.get("input") {
        None => {
            return Err(ApiError::invalid(
                "input",
                "`input` is missing: give a text",
            ));
        }
        Some(Value::String(text)) => return Ok(vec![Asked::Embedding(text.clone())]),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong("input", &what, other)),
    };
    if list.first().is_some_and(Value::is_number) {
        return Ok(vec![Asked::EmbeddingOf(tokens(list, "input")?)]);
    }
    if list.is_empty() || list.len() > MAX_INPUTS {
        return Err(ApiError::invalid(
            "input",
            format!("`input` must be {what}"),
        ));
    }
    let one = |(i, value): (usize, &Value)| match value {
        Value::String(text) => Ok(Asked::Embedding(text.clone())),
        Value::Array(ids) => Ok(Asked::EmbeddingOf(tokens(ids, &format!("input[{i}]"))?)),
        other => Err(wrong(
            &format!("input[{i}]"),
            "a string or token ids",
            other,
        )),
    };
    list.iter().enumerate().map(one).collect()
}

/// RFC 4648, with padding.
fn base64(bytes: impl Iterator<Item = u8>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |n: u32| {
        DIGITS
            .get((n & 63) as usize)
            .copied()
            .map_or('=', char::from)
    };
    let bytes: Vec<u8> = bytes.collect();
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [0, 1, 2].map(|i| u32::from(chunk.get(i).copied().unwrap_or(0)));
        let n = three.iter().fold(0, |n, byte| n << 8 | byte);
        let digits = [18, 12, 6, 0].map(|shift| digit(n >> shift));
        for (i, digit) in digits.into_iter().enumerate() {
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_numbers_have_length_one() {
        assert_eq!(shortened(&[0.6, 0.0, 0.8], 3), [0.6, 0.0, 0.8]);
        assert_eq!(shortened(&[3.0, 4.0, 12.0], 2), [0.6, 0.8]);
        assert_eq!(shortened(&[0.0, 0.0, 1.0], 2), [0.0, 0.0]);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let encode = |text: &str| base64(text.bytes());
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, want) in cases {
            assert_eq!(encode(text), want);
        }
        assert_eq!(base64(1.0_f32.to_le_bytes().into_iter()), "AACAPw==");
    }
}
