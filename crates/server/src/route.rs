//! From a path to who answers it.

use crate::body::{Body, json, read};
use crate::error::ApiError;
use crate::gate::{Origin, is_preflight, preflight, readable};
use crate::listen::Incoming;
use crate::{App, LogLine, openai};
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Health,
    Models,
    Model,
    Chat,
    Completions,
    Embeddings,
    Rerank,
}

/// Path, as the log shows it, and who answers.
const ROUTES: &[(&str, Route)] = &[
    ("/health", Route::Health),
    ("/v1/health", Route::Health),
    ("/v1/models", Route::Models),
    ("/v1/models/{id}", Route::Model),
    ("/v1/chat/completions", Route::Chat),
    ("/v1/completions", Route::Completions),
    ("/v1/embeddings", Route::Embeddings),
    ("/v1/rerank", Route::Rerank),
];

impl Route {
    fn find(path: &str) -> Option<(&'static str, Self)> {
        let same = |pattern: &str| match pattern.strip_suffix("{id}") {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|id| !id.is_empty()),
            None => path == pattern,
        };
        ROUTES.iter().find(|(pattern, _)| same(pattern)).copied()
    }

    /// The methods that it answers.
    fn allow(self) -> &'static str {
        match self {
            Self::Health | Self::Models | Self::Model => "GET, HEAD, OPTIONS",
            _ => "POST, OPTIONS",
        }
    }
}

/// Answers any request; what panics is an error of ours.
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let route = Route::find(request.uri().path());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "-",
    };
    let let_in = app.config.allowed.check(request.headers());
    let origin: Origin = let_in.as_ref().ok().cloned().flatten();
    let response = match let_in {
        Err(error) => error.response(),
        Ok(_) if is_preflight(request.method(), request.headers()) => preflight(request.headers()),
        Ok(_) => {
            let done = dispatch(&app, route.map(|(_, route)| route), request);
            match AssertUnwindSafe(done).catch_unwind().await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => error.response(),
                Err(_) => {
                    let message = "this is a fault in Ingle: report what was asked";
                    ApiError::internal(message).response()
                }
            }
        }
    };
    let mut response = response;
    readable(&mut response, origin);
    (app.config.log)(&LogLine {
        method,
        route: route.map_or("-", |(pattern, _)| pattern),
        status: response.status().as_u16(),
        time: started.elapsed(),
    });
    response
}

async fn dispatch(
    app: &Arc<App>,
    route: Option<Route>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let Some(route) = route else {
        let message = "there is no such path here; /v1/models shows what is served";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    let reads = matches!(route, Route::Health | Route::Models | Route::Model);
    let fits = match *request.method() {
        Method::GET | Method::HEAD => reads,
        Method::POST => !reads,
        _ => false,
    };
    if !fits {
        let message = format!("this path answers {}", route.allow());
        return Err(ApiError {
            allow: Some(route.allow()),
            ..ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        });
    }
    if reads {
        return look(app, route, request.uri().path());
    }
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body, &app.config.limits).await?;
    match route {
        Route::Chat => openai::chat::answer(app, body).await,
        Route::Completions => openai::completions::answer(app, body).await,
        Route::Embeddings => openai::embeddings::answer(app, body).await,
        _ => openai::rerank::answer(app, body).await,
    }
}

/// What can be looked at.
fn look(app: &App, route: Route, path: &str) -> Result<Response<Body>, ApiError> {
    match route {
        Route::Health => health(app),
        Route::Models => {
            let data: Vec<Value> = app.models.iter().map(|m| m.to_json()).collect();
            Ok(json(&json!({ "object": "list", "data": data })))
        }
        _ => {
            let id = path.strip_prefix("/v1/models/").unwrap_or_default();
            let id = unescaped(id);
            Ok(json(&app.models.find(Some(&id))?.to_json()))
        }
    }
}

fn health(app: &App) -> Result<Response<Body>, ApiError> {
    if !app.models.iter().all(|m| m.engine.is_open()) {
        let message = "the engine has stopped or is stopping";
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "server_stopping", message);
        return Err(error.retry_after(5));
    }
    let stats = app.models.iter().map(|m| m.engine.stats());
    let (live, running) = stats.fold((0, 0), |(live, running), s| {
        (live + s.live, running + s.running)
    });
    Ok(json(
        &json!({ "status": "ok", "running": running, "waiting": live - running.min(live) }),
    ))
}

/// `%2F` and the like in a path.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_ids() {
        assert_eq!(Route::find("/v1/models").unwrap().1, Route::Models);
        assert_eq!(
            Route::find("/v1/models/hf.co/a/b").unwrap().0,
            "/v1/models/{id}"
        );
        assert_eq!(Route::find("/v1/models/"), None);
        assert_eq!(Route::find("/v1/chat/completions/"), None);
        assert_eq!(unescaped("a%2Fb%zz%"), "a/b%zz%");
    }
}
