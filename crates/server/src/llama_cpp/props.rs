//! What the server is and does: `/props`, `/slots`.

use super::reply::Settings;
use super::request::{RANDOM_SEED, Shape};
use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::served::Served;
use http::{Response, StatusCode};
use ingle_engine::sampler::Sampling;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a request means that says nothing.
fn usual(model: &Served) -> Value {
    let settings = Settings {
        sampling: Sampling {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            seed: RANDOM_SEED,
            ..Sampling::default()
        },
        max_tokens: None,
        stop: Vec::new(),
        several: false,
        stream: false,
        shape: Shape::default(),
    };
    settings.to_json(model.context)
}

/// `GET /props`. Where the model's file lies is nobody's business: its name stands for it.
pub(super) async fn props(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let model = call.model(call.parameter("model").as_deref()).await?;
    let vocabulary = model.prompter.vocabulary();
    let text = |token: Option<ingle_formats::TokenId>| {
        token
            .and_then(|token| vocabulary.token_text(token))
            .unwrap_or("")
    };
    Ok(json(&json!({
        "default_generation_settings": {
            "id": 0, "id_task": -1, "n_ctx": model.context, "speculative": false,
            "is_processing": false, "params": usual(&model),
        },
        "total_slots": model.parallel, "model_alias": model.id, "model_path": model.id,
        "chat_template": model.prompter.template().unwrap_or(""),
        "chat_template_caps": abilities(&model),
        "modalities": { "vision": false, "audio": false }, "bos_token": text(vocabulary.bos()),
        "eos_token": text(vocabulary.eos()), "is_sleeping": false,
        "build_info": concat!("ingle-", env!("CARGO_PKG_VERSION")),
    })))
}

/// What the chat template knows: clients that find no tools here offer none.
fn abilities(model: &Served) -> Value {
    let knows = |name| model.prompter.template_mentions(name);
    json!({ "supports_tools": knows("tools"), "supports_tool_calls": knows("tool_calls") })
}

/// `GET /slots`: as many as requests are worked on at the same time.
pub(super) async fn slots(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let model = call.model(call.parameter("model").as_deref()).await?;
    let (running, total) = (model.engine.stats().running, model.parallel as usize);
    if call.parameter("fail_on_no_slot").is_some_and(|n| n != "0") && running >= total {
        let message = "all places are taken; try again soon";
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_slot", message);
        return Err(error.retry_after(1));
    }
    let params = usual(&model);
    let slot = |id: usize| {
        json!({
            "id": id, "n_ctx": model.context, "speculative": false, "is_processing": id < running,
            "params": params,
        })
    };
    let slots: Vec<Value> = (0..total).map(slot).collect();
    Ok(json(&slots.into()))
}
