//! Models that come and go: `/api/pull`, `/api/copy`, `/api/delete`.

use super::aside;
use super::names::{id, not_found, ways};
use super::request::model;
use crate::body::{Body, full, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::room::Progress;
use crate::stream::{Events, SILENCE, pieces};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Lines that wait for a client that reads slowly.
const WAITING: usize = 64;

/// What comes of a download, one after the other; the last is how it ended.
type News = Result<Value, ApiError>;

/// `POST /api/pull`: gets a model, and tells how far it is.
pub(super) async fn pull(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    call.may_manage()?;
    let body = parse(&call.body)?;
    let fields = Fields::of_body(&body)?;
    let no = |v: &Value| v.as_bool() == Some(false);
    fields.refuse("insecure", no, "a download without a check is not done")?;
    let empty = |v: &Value| v.as_str() == Some("");
    for field in ["username", "password"] {
        fields.refuse(field, empty, "set HF_TOKEN where the server is started")?;
    }
    let stream = fields.bool("stream")?.unwrap_or(true);
    let name = model(&fields)?;
    let (told, news) = mpsc::channel(WAITING);
    let app = Arc::clone(&call.app);
    tokio::task::spawn_blocking(move || {
        let watcher = told.clone();
        let watch = move |progress| watcher.blocking_send(Ok(line(&progress))).is_ok();
        let done = app.models.pull(&name, Box::new(watch));
        // Whoever has gone does not hear it.
        let _ = told.blocking_send(done.map(|()| json!({ "status": "success" })));
    });
    let mut pulling = Pulling { news, over: false };
    // What is refused at once has a status of its own.
    let first = pulling.news.recv().await.unwrap_or_else(lost)?;
    if !stream {
        let mut last = first;
        while let Some(news) = pulling.news.recv().await {
            last = news?;
        }
        return Ok(json(&last));
    }
    let pulling = Told {
        first: Some(first),
        rest: pulling,
    };
    Ok(pieces("application/x-ndjson", None, SILENCE, pulling))
}

fn lost() -> News {
    Err(ApiError::internal("the download ended without a word"))
}

/// A line, as Ollama writes it: a digest where there is one.
fn line(progress: &Progress) -> Value {
    let mut line = Map::new();
    line.insert("status".into(), progress.status.as_str().into());
    if let Some(file) = &progress.file {
        line.insert("digest".into(), file.as_str().into());
    }
    for (name, bytes) in [("total", progress.total), ("completed", progress.completed)] {
        if let Some(bytes) = bytes {
            line.insert(name.into(), bytes.into());
        }
    }
    Value::Object(line)
}

struct Pulling {
    news: mpsc::Receiver<News>,
    over: bool,
}

/// What was heard first, and the rest.
struct Told {
    first: Option<Value>,
    rest: Pulling,
}

impl Events for Told {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(format!("{first}\n"));
        }
        if self.rest.over {
            return None;
        }
        match self.rest.news.recv().await? {
            Ok(line) => Some(format!("{line}\n")),
            Err(error) => {
                self.rest.over = true;
                Some(format!("{}\n", super::error(&error)))
            }
        }
    }
}

/// Two hundred, and nothing to say.
fn done() -> Response<Body> {
    Response::new(full(""))
}

/// `POST /api/copy`: another name for a model.
pub(super) async fn copy(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    call.may_manage()?;
    aside(call, |call| {
        let body = parse(&call.body)?;
        let fields = Fields::of_body(&body)?;
        let given = |name: &str| match fields.str(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(ApiError::invalid(name, format!("`{name}` is required"))),
        };
        let (source, destination) = (given("source")?, given("destination")?);
        call.app.models.copy(&id(call, source)?, destination)
    })
    .await?;
    Ok(done())
}

/// `DELETE /api/delete`: a name less.
pub(super) async fn delete(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    call.may_manage()?;
    aside(call, |call| {
        let body = parse(&call.body)?;
        let name = model(&Fields::of_body(&body)?)?;
        let mut refused = None;
        // A name that was given is deleted, and not the model that it stands for.
        for way in ways(&name) {
            match call.app.models.delete(&way) {
                Ok(()) => return Ok(()),
                Err(error) if error.status == StatusCode::NOT_FOUND => {
                    refused = refused.or(Some(not_found(&name, &error)));
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| ApiError::invalid("model", "`model` is required")))
    })
    .await?;
    Ok(done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_looks_like_ollamas() {
        let begun = Progress {
            status: "pulling manifest".into(),
            file: None,
            total: None,
            completed: None,
        };
        assert_eq!(line(&begun).to_string(), r#"{"status":"pulling manifest"}"#);
        let half = Progress {
            status: "pulling abc".into(),
            file: Some("sha256:abc".into()),
            total: Some(10),
            completed: Some(5),
        };
        assert_eq!(
            line(&half).to_string(),
            r#"{"status":"pulling abc","digest":"sha256:abc","total":10,"completed":5}"#
        );
    }
}
