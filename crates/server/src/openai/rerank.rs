//! `POST /v1/rerank`, in the shape that Jina and Cohere share.

use super::new_id;
use crate::body::{Body, json, with};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::talk::numbers;
use http::Response;
use ingle_engine::Asked;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most documents of a request.
const MAX_DOCUMENTS: usize = 1024;

/// Answers a request.
pub async fn answer(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let body = parse(&call.body)?;
    let fields = Fields::of_body(&body)?;
    let model = call.model(fields.str("model")?).await?;
    let query = fields.str("query")?;
    let query =
        query.ok_or_else(|| ApiError::invalid("query", "`query` is missing: give a text"))?;
    let never = |_: &Value| false;
    // Cohere's: whatever does not fit is refused.
    for name in ["max_tokens_per_doc", "max_chunks_per_doc"] {
        fields.refuse(name, never, "nothing is cut from documents here")?;
    }
    let texts = |v: &Value| {
        let names = v.as_array();
        names.is_some_and(|names| names.iter().all(|name| name == "text"))
    };
    fields.refuse(
        "rank_fields",
        texts,
        "of a document the `text` alone counts",
    )?;
    let documents = documents(&fields)?;
    let top = fields
        .u32("top_n", 1, u32::MAX)?
        .map_or(documents.len(), |n| n as usize);
    let returns = fields.bool("return_documents")?.unwrap_or(false);
    let ask = |document: &&str| Asked::Score {
        query: query.to_owned(),
        document: (*document).to_owned(),
    };
    let done = numbers::all(
        &call,
        &model,
        documents.iter().map(ask).collect(),
        "documents",
    )
    .await?;
    let score = |values: &Vec<f32>| {
        let score = f64::from(values.first().copied().unwrap_or(f32::NAN));
        // Clients expect 0 to 1; the order stays what it is.
        if model.scores_probabilities {
            score
        } else {
            1.0 / (1.0 + (-score).exp())
        }
    };
    let mut ranked: Vec<(usize, f64)> = done.values.iter().map(score).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let result = |&(index, score): &(usize, f64)| {
        let mut result = json!({ "index": index, "relevance_score": score });
        if returns && let Some(text) = documents.get(index) {
            result = with(result, "document", json!({ "text": text }));
        }
        result
    };
    let results: Vec<Value> = ranked.iter().take(top).map(result).collect();
    Ok(json(&json!({
        "id": new_id(&call.app, "rerank"), "object": "list", "model": model.id, "results": results,
        "usage": { "prompt_tokens": done.tokens, "total_tokens": done.tokens },
    })))
}

/// Texts, as strings or as objects with `text`.
fn documents<'a>(fields: &Fields<'a>) -> Result<Vec<&'a str>, ApiError> {
    let list = fields.list("documents")?.unwrap_or_default();
    if list.is_empty() || list.len() > MAX_DOCUMENTS {
        let message = format!("`documents` must be a list of 1 to {MAX_DOCUMENTS} texts");
        return Err(ApiError::invalid("documents", message));
    }
    let one = |(i, value): (usize, &'a Value)| {
        let text = value.as_str().or_else(|| value.get("text")?.as_str());
        text.ok_or_else(|| wrong(&format!("documents[{i}]"), "a string", value))
    };
    list.iter().enumerate().map(one).collect()
}
