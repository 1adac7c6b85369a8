//! From a path to who answers it.

use crate::body::{Body, json, read};
use crate::call::{Call, unescaped};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::gate::{Origin, is_preflight, preflight, readable};
use crate::listen::Incoming;
use crate::{App, LogLine, anthropic, llama_cpp, ollama, openai};
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

/// What there is. A dialect has its own list, `ROUTES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Health,
    OpenAi(openai::Path),
    Ollama(ollama::Path),
    Anthropic(anthropic::Path),
    LlamaCpp(llama_cpp::Path),
}

/// A line of a list: the method, the path as the log shows it, and who answers.
type Line = (&'static str, &'static str, Route);

/// All lines, in the order in which they are tried.
fn routes() -> impl Iterator<Item = Line> {
    let health = [
        ("GET", "/health", Route::Health),
        ("GET", "/v1/health", Route::Health),
    ];
    let openai = openai::ROUTES.iter();
    let openai = openai.map(|&(method, path, route)| (method, path, Route::OpenAi(route)));
    let ollama = ollama::ROUTES.iter();
    let ollama = ollama.map(|&(method, path, route)| (method, path, Route::Ollama(route)));
    let anthropic = anthropic::ROUTES.iter();
    let anthropic = anthropic.map(|&(method, path, route)| (method, path, Route::Anthropic(route)));
    let llama_cpp = llama_cpp::ROUTES.iter();
    let llama_cpp = llama_cpp.map(|&(method, path, route)| (method, path, Route::LlamaCpp(route)));
    let others = ollama.chain(anthropic).chain(llama_cpp);
    health.into_iter().chain(openai).chain(others)
}

impl Route {
    /// An error in the shape that clients of this path know.
    fn error(route: Option<Self>, error: &ApiError) -> Value {
        match route {
            None | Some(Self::OpenAi(_)) => openai::error(error),
            Some(Self::Ollama(_)) => ollama::error(error),
            Some(Self::Anthropic(_)) => anthropic::error(error),
            Some(Self::Health | Self::LlamaCpp(_)) => llama_cpp::error(error),
        }
    }
}

/// What a path may be: who answers which method.
#[derive(Debug)]
struct Found {
    pattern: &'static str,
    /// What stands where the pattern has `{id}`.
    id: String,
    methods: Vec<(&'static str, Route)>,
}

impl Found {
    fn new(path: &str) -> Option<Self> {
        let mut lines = routes().filter_map(|line| Some((line, matched(line.1, path)?)));
        let ((method, pattern, route), id) = lines.next()?;
        let others = lines.filter(|((_, other, _), _)| *other == pattern);
        let others = others.map(|((method, _, route), _)| (method, route));
        Some(Self {
            pattern,
            id: unescaped(id),
            methods: std::iter::once((method, route)).chain(others).collect(),
        })
    }

    /// Who answers this method; `HEAD` is a `GET` of which the body is not sent.
    fn route(&self, method: &Method) -> Option<Route> {
        let asked = match method.as_str() {
            "HEAD" if !self.methods.iter().any(|(m, _)| *m == "HEAD") => "GET",
            asked => asked,
        };
        let found = self.methods.iter().find(|(method, _)| *method == asked);
        found.map(|(_, route)| *route)
    }

    fn allow(&self) -> String {
        let mut words: Vec<&str> = self.methods.iter().map(|(method, _)| *method).collect();
        if words.contains(&"GET") && !words.contains(&"HEAD") {
            words.push("HEAD");
        }
        words.push("OPTIONS");
        words.join(", ")
    }
}

/// What stands where `pattern` has `{id}`, if `path` is one of its paths. An identifier at the end may
/// hold slashes, as names of models do.
fn matched<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = pattern.split_once("{id}") else {
        return (path == pattern).then_some("");
    };
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    let fits = !id.is_empty() && (after.is_empty() || !id.contains('/'));
    fits.then_some(id)
}

/// Answers any request; what panics is an error of ours.
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let found = Found::new(request.uri().path());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "-",
    };
    let route = found.as_ref().and_then(|found| {
        let first = found.methods.first().map(|(_, route)| *route);
        found.route(request.method()).or(first)
    });
    // Whoever asks for a path that is not there still reads one dialect's errors.
    let ollamas = request.uri().path().starts_with("/api/");
    let route = route.or(ollamas.then_some(Route::Ollama(ollama::Path::Root)));
    let speaks_anthropic = matches!(route, Some(Route::Anthropic(_)));
    let pattern = found.as_ref().map_or("-", |found| found.pattern);
    let refuse = |error: ApiError| error.response(&Route::error(route, &error));
    let let_in = app.config.allowed.check(request.headers());
    let origin: Origin = let_in.as_ref().ok().cloned().flatten();
    let mut response = match let_in {
        Err(error) => refuse(error),
        Ok(_) if is_preflight(request.method(), request.headers()) => preflight(request.headers()),
        Ok(_) => {
            let done = dispatch(&app, found, request);
            match AssertUnwindSafe(done).catch_unwind().await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => refuse(error),
                Err(_) => {
                    let message = "this is a fault in Ingle: report what was asked";
                    refuse(ApiError::internal(message))
                }
            }
        }
    };
    if speaks_anthropic {
        anthropic::name(&app, &mut response);
    }
    readable(&mut response, origin);
    (app.config.log)(&LogLine {
        method,
        route: pattern,
        status: response.status().as_u16(),
        time: started.elapsed(),
    });
    response
}

async fn dispatch(
    app: &Arc<App>,
    found: Option<Found>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let Some(found) = found else {
        let message = "there is no such path here; /v1/models shows what is served";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    let Some(route) = found.route(request.method()) else {
        let allow = found.allow();
        let message = format!("this path answers {allow}");
        return Err(ApiError {
            allow: Some(allow),
            ..ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        });
    };
    let sends = matches!(*request.method(), Method::POST | Method::DELETE);
    // Ollama's and llama.cpp's own examples send what curl sends.
    let untyped = matches!(route, Route::Ollama(_) | Route::LlamaCpp(_));
    let (parts, body) = request.into_parts();
    let body = match sends {
        true => read(&parts.headers, body, &app.config.limits, untyped).await?,
        false => Vec::new(),
    };
    let call = Arc::new(Call {
        app: Arc::clone(app),
        caller: Caller::default(),
        id: found.id,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    });
    match route {
        Route::Health => health(app),
        Route::OpenAi(path) => openai::answer(path, call).await,
        Route::Ollama(path) => ollama::answer(path, call).await,
        Route::Anthropic(path) => anthropic::answer(path, call).await,
        Route::LlamaCpp(path) => llama_cpp::answer(path, call).await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_ids() {
        let found = |path: &str| Found::new(path).map(|f| (f.pattern, f.id));
        assert_eq!(found("/v1/models"), Some(("/v1/models", String::new())));
        assert_eq!(
            found("/v1/models/hf.co/a%2Fb"),
            Some(("/v1/models/{id}", "hf.co/a/b".to_owned()))
        );
        assert_eq!(found("/v1/models/"), None);
        assert_eq!(found("/v1/chat/completions/"), None);
        assert_eq!(matched("/a/{id}/b", "/a/x/b"), Some("x"));
        assert_eq!(matched("/a/{id}/b", "/a/x/y/b"), None);
        assert_eq!(matched("/a/{id}/b", "/a/b"), None);
    }

    #[test]
    fn methods() {
        let found = Found::new("/v1/models").unwrap();
        assert_eq!(found.allow(), "GET, HEAD, OPTIONS");
        let models = Some(Route::OpenAi(openai::Path::Models));
        assert_eq!(found.route(&Method::HEAD), models);
        assert_eq!(found.route(&Method::POST), None);
    }
}
