//! From a path to who answers it.

use crate::body::{Body, Held as Read, give_up, json, read};
use crate::call::{Call, Held, unescaped};
use crate::ending::{Ending, until_over};
use crate::error::ApiError;
use crate::gate::{Origin, is_preflight, preflight, readable};
use crate::listen::{Incoming, Via};
use crate::{App, Side, anthropic, fields, llama_cpp, manage, ollama, openai, routing};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{Instrument, Span};

/// What there is. A dialect has its own list, `ROUTES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Health,
    Manage(manage::Path),
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
    let manage = manage::ROUTES.iter();
    let manage = manage.map(|&(method, path, route)| (method, path, Route::Manage(route)));
    let ollama = ollama::ROUTES.iter();
    let ollama = ollama.map(|&(method, path, route)| (method, path, Route::Ollama(route)));
    let anthropic = anthropic::ROUTES.iter();
    let anthropic = anthropic.map(|&(method, path, route)| (method, path, Route::Anthropic(route)));
    let llama_cpp = llama_cpp::ROUTES.iter();
    let llama_cpp = llama_cpp.map(|&(method, path, route)| (method, path, Route::LlamaCpp(route)));
    let others = ollama.chain(anthropic).chain(llama_cpp);
    let ours = health.into_iter().chain(manage);
    ours.chain(openai).chain(others)
}

impl Route {
    /// An error in the shape that clients of this path know.
    fn error(route: Option<Self>, error: &ApiError, name: &str) -> Value {
        match route {
            None | Some(Self::Manage(_) | Self::OpenAi(_)) => openai::error(error),
            Some(Self::Ollama(_)) => ollama::error(error),
            Some(Self::Anthropic(_)) => anthropic::error(error, name),
            Some(Self::Health | Self::LlamaCpp(_)) => llama_cpp::error(error),
        }
    }

    /// The dialect that a client speaks on a path which two have.
    fn meant(self, headers: &HeaderMap) -> Self {
        match self {
            Self::OpenAi(openai::Path::Models) if anthropic::is_meant(headers) => {
                Self::Anthropic(anthropic::Path::Models)
            }
            Self::OpenAi(openai::Path::Model) if anthropic::is_meant(headers) => {
                Self::Anthropic(anthropic::Path::Model)
            }
            route => route,
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

    fn is_health(&self) -> bool {
        self.methods
            .iter()
            .any(|(_, route)| *route == Route::Health)
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
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>, via: Via) -> Response<Body> {
    let found = Found::new(request.uri().path());
    let id = name_of(&app, request.headers());
    let route = found.as_ref().and_then(|found| {
        let first = found.methods.first().map(|(_, route)| *route);
        found.route(request.method()).or(first)
    });
    let route = route.map(|route| route.meant(request.headers()));
    // Whoever asks for a path that is not there still reads one dialect's errors.
    let ollamas = request.uri().path().starts_with("/api/");
    let route = route.or(ollamas.then_some(Route::Ollama(ollama::Path::Root)));
    let speaks_anthropic = matches!(route, Some(Route::Anthropic(_)));
    let mut ending = Ending::begin(&app, &id, request.method());
    ending.route = found.as_ref().map_or("-", |found| found.pattern);
    let let_in = app.config.allowed.check(request.headers());
    let origin: Origin = let_in.as_ref().ok().cloned().flatten();
    let done = match let_in {
        Err(error) => Err(error),
        Ok(_) if is_preflight(request.method(), request.headers()) => {
            Ok(preflight(request.headers()))
        }
        Ok(_) => {
            let span = ending.begin_span();
            let done = dispatch(&app, found, request, via, &mut ending).instrument(span);
            let done = AssertUnwindSafe(done).catch_unwind().await;
            done.unwrap_or_else(|_| {
                let message = "this is a fault in Ingle: report what was asked";
                Err(ApiError::internal(message))
            })
        }
    };
    let mut response = done.unwrap_or_else(|error| {
        app.metrics.refused(error.code.unwrap_or("unknown"));
        error.response(&Route::error(route, &error, &id))
    });
    readable(&mut response, origin);
    if let Some(note) = ending.call.as_ref().and_then(|call| call.told()) {
        routing::headers(&note, response.headers_mut());
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        if speaks_anthropic {
            response.headers_mut().insert("request-id", id.clone());
        }
        response.headers_mut().insert("x-request-id", id);
    }
    until_over(response, ending)
}

/// The request's name: the client's own where it is short and plain, else a new one.
fn name_of(app: &App, headers: &HeaderMap) -> Arc<str> {
    const MOST: usize = 64;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let theirs = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let fits = |id: &&str| (1..=MOST).contains(&id.len()) && id.bytes().all(plain);
    match theirs.filter(fits) {
        Some(id) => id.into(),
        None => format!("req_{:016x}", (app.config.random)()).into(),
    }
}

async fn dispatch(
    app: &Arc<App>,
    found: Option<Found>,
    request: Request<Incoming>,
    via: Via,
    ending: &mut Ending,
) -> Result<Response<Body>, ApiError> {
    // Whoever has no key learns nothing but that the server is there.
    let who = app.keys.who(request.headers(), via == Via::Owner);
    if found.as_ref().is_some_and(|found| found.is_health()) && who.is_err() {
        return health(app, false);
    }
    let caller = who?;
    ending.caller = caller.name().to_owned();
    Span::current().record("caller", caller.name());
    let (found, route) = find(found, request.method())?;
    let route = route.meant(request.headers());
    let sends = matches!(*request.method(), Method::POST | Method::DELETE);
    // Ollama's and llama.cpp's own examples send what curl sends.
    let untyped = matches!(route, Route::Ollama(_) | Route::LlamaCpp(_));
    // A model works for it: the caller's limits count, and it takes one of the places.
    let works = sends && !matches!(route, Route::Manage(_));
    let turn = match works {
        true => Some(caller.begin(Instant::now())?),
        false => None,
    };
    let (parts, body) = request.into_parts();
    if works && app.places.available_permits() == 0 {
        give_up(body);
        return Err(busy());
    }
    let body = match sends {
        true => {
            read(
                &parts.headers,
                body,
                &app.config.limits,
                &app.bodies,
                untyped,
            )
            .await?
        }
        false => Read::default(),
    };
    let place = match works {
        true => Some(place(app)?),
        false => None,
    };
    let path = parts.uri.path();
    if let Some(show) = &app.config.transcript {
        show(&ending.id, Side::Request, &body.bytes);
    }
    let call = Arc::new(Call {
        app: Arc::clone(app),
        name: Arc::clone(&ending.id),
        caller,
        path: found.pattern,
        id: found.id,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: with_preset(app, path, body.bytes),
        begun: ending.started,
        held: Held {
            ended: Arc::clone(&ending.ended),
            turn,
            place,
            room: body.room,
        },
        note: Mutex::default(),
    });
    ending.call = Some(Arc::clone(&call));
    match route {
        Route::Health => health(app, true),
        Route::Manage(path) => manage::answer(path, call).await,
        Route::OpenAi(path) => openai::answer(path, call).await,
        Route::Ollama(path) => ollama::answer(path, call).await,
        Route::Anthropic(path) => anthropic::answer(path, call).await,
        Route::LlamaCpp(path) => llama_cpp::answer(path, call).await,
    }
}

/// Who answers this method.
fn find(found: Option<Found>, method: &Method) -> Result<(Found, Route), ApiError> {
    let Some(found) = found else {
        let message = "there is no such path here; /v1/models shows what is served";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    if let Some(route) = found.route(method) {
        return Ok((found, route));
    }
    let allow = found.allow();
    let message = format!("this path answers {allow}");
    Err(ApiError {
        allow: Some(allow),
        ..ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    })
}

/// A body, with what the preset of its model says and it does not.
fn with_preset(app: &App, path: &str, bytes: Vec<u8>) -> Vec<u8> {
    if !app.models.has_presets() {
        return bytes;
    }
    // What cannot be read is for the dialect to refuse.
    let Ok(mut body) = fields::parse(&bytes) else {
        return bytes;
    };
    let name = body.get("model").and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty());
    let known = match path.starts_with("/api/") {
        true => ollama::meant(app, &body),
        false => app.models.name_of(name).ok(),
    };
    // What says only where to answer is no model's name: the usual one's preset counts.
    let auto = || name.is_some_and(|name| name == "auto" || name == "auto:latest");
    let routed = || app.gateway.is_some() && auto();
    let id = known.or_else(|| routed().then(|| app.models.name_of(None).ok())?);
    let Some(preset) = id.and_then(|id| app.models.preset(&id)) else {
        return bytes;
    };
    preset.fill(path, &mut body);
    body.to_string().into_bytes()
}

fn place(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    let place = Arc::clone(&app.places).try_acquire_owned();
    place.map_err(|_| busy())
}

/// As many requests are there as may be.
fn busy() -> ApiError {
    let message =
        "as many requests are being worked on or waiting as this server takes; try again soon";
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "server_busy", message);
    error.retry_after(1)
}

/// `full`: for those who may know more than that the server is there.
fn health(app: &App, full: bool) -> Result<Response<Body>, ApiError> {
    if !app.models.is_open() {
        let message = "the engine has stopped or is stopping";
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "server_stopping", message);
        return Err(error.retry_after(5));
    }
    if !full {
        return Ok(json(&json!({ "status": "ok" })));
    }
    let loaded = app.models.loaded();
    let (live, running) = loaded.iter().fold((0, 0), |(live, running), model| {
        (live + model.live, running + model.running)
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

    /// `src/openapi.json` is written by hand: what it describes is what there is, no more and no less.
    #[test]
    fn every_path_is_described_and_nothing_else() {
        let described: Value = serde_json::from_str(manage::OPENAPI).unwrap();
        let paths = described["paths"].as_object().unwrap();
        let described = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        let mut described: Vec<String> = described.collect();
        let mut there: Vec<String> = routes().map(|(m, path, _)| format!("{m} {path}")).collect();
        described.sort();
        there.sort();
        assert_eq!(
            described, there,
            "openapi.json and the lists of paths differ"
        );
    }

    #[test]
    fn what_openapi_json_refers_to_is_there() {
        let described: Value = serde_json::from_str(manage::OPENAPI).unwrap();
        let mut found = Vec::new();
        references(&described, &mut found);
        assert!(found.len() > 100);
        for place in found {
            let pointer = place.strip_prefix('#').unwrap();
            assert!(described.pointer(pointer).is_some(), "{place}");
        }
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                let place = map.get("$ref").and_then(Value::as_str);
                found.extend(place.map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
}
