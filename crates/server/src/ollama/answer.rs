//! `/api/chat` and `/api/generate`, as they are answered.

use super::keep_alive::KeepAlive;
use super::options::Options;
use super::reply::{Head, Reply, Shape};
use super::request::{OllamaInput, OllamaRequest};
use crate::body::{Body, json};
use crate::call::{Call, Meant};
use crate::error::ApiError;
use crate::stream::{SILENCE, pieces};
use crate::talk::{Conversation, Input, Names, Text, Wanted, ask};
use http::Response;
use std::sync::Arc;

pub(super) const CHAT: Names = Names {
    input: "messages",
    suffix: "suffix",
    tools: "tools",
    tool_choice: "tools",
    form: "format",
    effort: "think",
    budget: "think",
    max_tokens: "options.num_predict",
    stop: "options.stop",
};

const GENERATE: Names = Names {
    input: "prompt",
    suffix: "suffix",
    ..CHAT
};

/// Answers a request of either shape.
pub(super) async fn answer(call: Arc<Call>, shape: Shape) -> Result<Response<Body>, ApiError> {
    let (read, names): (fn(&[u8]) -> _, _) = match shape {
        Shape::Chat => (OllamaRequest::chat, &CHAT),
        Shape::Generate => (OllamaRequest::generate, &GENERATE),
    };
    let request = {
        let call = Arc::clone(&call);
        tokio::task::spawn_blocking(move || read(&call.body)).await
    };
    let request: OllamaRequest = request.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    let head = Head {
        shape,
        model: request.model.clone(),
        now: call.app.config.unix_time,
    };
    let meant = call.meant(Some(&request.model));
    let id = match meant {
        Meant::Model => super::names::id(&call, &request.model)?,
        Meant::Auto | Meant::Provider(_) => request.model.clone(),
    };
    if request.input == OllamaInput::Nothing {
        return nothing(&call, &id, &request, &head).await;
    }
    // A provider's model is not loaded here, and one that may have to answer in its place only then.
    if meant == Meant::Model {
        settle(&call, &id, &request).await?;
    }
    let tells_context = shape == Shape::Generate && !matches!(request.input, OllamaInput::Raw(_));
    let stream = request.stream;
    let wanted = wanted(request, id);
    let (answers, ()) = ask(&call, names, move |_| Ok((wanted, ()))).await?;
    let reply = Reply::new(head, answers, tells_context);
    match stream {
        true => Ok(pieces("application/x-ndjson", None, SILENCE, reply)),
        false => reply.whole().await.map(|value| json(&value)),
    }
}

/// Loads the model, and sees to what a request says of how it is kept.
async fn settle(call: &Call, id: &str, request: &OllamaRequest) -> Result<(), ApiError> {
    let model = call.model(Some(id)).await?;
    KeepAlive::apply(request.keep_alive, &model);
    match request.options.context.filter(|own| *own > model.context) {
        Some(own) => Err(super::context_too_large(own, model.context)),
        None => Ok(()),
    }
}

/// Loads the model, or takes it out of memory.
async fn nothing(
    call: &Call,
    id: &str,
    request: &OllamaRequest,
    head: &Head,
) -> Result<Response<Body>, ApiError> {
    if request.keep_alive == Some(KeepAlive::NOT) {
        call.may_manage()?;
        call.app.models.unload(&call.model_id(Some(id))?).await?;
        return Ok(json(&head.nothing("unload")));
    }
    settle(call, id, request).await?;
    Ok(json(&head.nothing("load")))
}

/// The same in no dialect's words.
fn wanted(request: OllamaRequest, id: String) -> Wanted {
    let OllamaRequest {
        input,
        form,
        reasoning,
        options,
        stream,
        route,
        ..
    } = request;
    let input = match input {
        OllamaInput::Nothing => Input::Chat(Conversation::default()),
        OllamaInput::Chat(conversation) => Input::Chat(conversation),
        OllamaInput::After(before, conversation) => Input::Chat(Conversation {
            before,
            ..conversation
        }),
        OllamaInput::Raw(text) => Input::Texts(vec![Text::Plain(text)]),
        OllamaInput::Infill(infill) => Input::Texts(vec![Text::Infill(infill)]),
    };
    Wanted {
        model: Some(id),
        route,
        streams: stream,
        usual: Options::default().sampling,
        form,
        reasoning,
        sampling: options.sampling,
        seeded: options.seeded,
        said: options.said,
        stop: options.stop,
        max_tokens: options.max_tokens,
        context: options.context,
        ends_with_context: true,
        ..Wanted::new(input)
    }
}
