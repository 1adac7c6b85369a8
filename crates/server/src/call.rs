//! A request on its way to a dialect.

use crate::App;
use crate::error::ApiError;
use crate::keys::{Caller, Turn};
use crate::metrics::Outcome;
use crate::reply::Reply;
use crate::served::Served;
use http::{HeaderMap, StatusCode, header};
use ingle_engine::{Asked, Refusal};
use ingle_gateway::decide::Note;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A request that found its path. Models are asked through it, so that whatever a client speaks, the
/// same limits hold and the same things are counted.
#[derive(Debug)]
pub(crate) struct Call {
    pub app: Arc<App>,
    /// Its name, under which the log tells of it.
    pub name: Arc<str>,
    pub caller: Arc<Caller>,
    /// The path, as this server knows it.
    pub path: &'static str,
    /// What stands in the path where its pattern has `{id}`.
    pub id: String,
    /// Behind the question mark.
    pub query: String,
    pub headers: HeaderMap,
    /// Empty for methods that send none.
    pub body: Vec<u8>,
    /// When it came.
    pub begun: Instant,
    /// What its end depends on, and what it holds until then.
    pub held: Held,
    /// How it was decided who answers, where anybody decides.
    pub note: Mutex<Option<Note>>,
}

/// What a model's name says of where it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meant {
    /// A model of this server.
    Model,
    /// The usual model, or a provider's.
    Auto,
    /// A provider's model, as `PROVIDER/MODEL`.
    Provider(String),
}

/// What a request holds until it is over.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "given back when they are dropped")]
pub(crate) struct Held {
    /// How its answers ended; the worst counts.
    pub ended: Arc<Mutex<Option<Outcome>>>,
    pub turn: Option<Turn>,
    pub place: Option<OwnedSemaphorePermit>,
    pub room: Option<OwnedSemaphorePermit>,
}

impl Call {
    /// The [`Served::id`] that a name stands for, if this caller may ask it; of the usual model where
    /// there is no name, or an empty one, as editors send it. Nothing is loaded.
    ///
    /// # Errors
    /// 404 `model_not_found`; 403 `model_not_allowed`.
    pub fn model_id(&self, name: Option<&str>) -> Result<String, ApiError> {
        let name = name.filter(|name| !name.is_empty());
        let id = self.app.models.name_of(name)?;
        if self.caller.may_use(&id) || name.is_some_and(|name| self.caller.may_use(name)) {
            return Ok(id);
        }
        let message = "this key may not use that model; `/v1/models` shows those that it may use";
        Err(ApiError {
            param: Some("model".into()),
            ..ApiError::new(StatusCode::FORBIDDEN, "model_not_allowed", message)
        })
    }

    /// What a name in a request stands for. A model of this server goes before.
    pub fn meant(&self, name: Option<&str>) -> Meant {
        let name = name.filter(|name| !name.is_empty());
        let Some((name, gateway)) = name.zip(self.app.gateway.as_ref()) else {
            return Meant::Model;
        };
        if !gateway.has_cloud() || self.app.models.name_of(Some(name)).is_ok() {
            return Meant::Model;
        }
        // Ollama's clients put a tag behind every name.
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        if bare == "auto" {
            return Meant::Auto;
        }
        let named = [name, bare]
            .into_iter()
            .find(|name| gateway.cloud.has(name));
        named.map_or(Meant::Model, |name| Meant::Provider(name.to_owned()))
    }

    /// How it was decided who answers: for headers.
    pub fn tell(&self, note: Note) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
    }

    /// What headers say of how it was decided who answers.
    pub fn told(&self) -> Option<Note> {
        let note = self.note.lock();
        note.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A header that is there once, as text.
    ///
    /// # Errors
    /// 400: it is no text, or there several times.
    pub fn header(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        match (value.to_str(), values.next()) {
            (Ok(text), None) => Ok(Some(text.trim())),
            _ => Err(ApiError::invalid(
                name,
                format!("send one header `{name}` with plain text"),
            )),
        }
    }

    /// Whether the caller may load, unload, pull and delete models, and end the server.
    ///
    /// # Errors
    /// 403 `not_admin`.
    pub fn may_manage(&self) -> Result<(), ApiError> {
        if self.caller.is_admin() {
            return Ok(());
        }
        let message = "this key may not do that; `ingle key add NAME --admin` makes one that may";
        Err(ApiError::new(StatusCode::FORBIDDEN, "not_admin", message))
    }

    /// The model that a request names, loaded if it is not. Hold it until the answer is over.
    ///
    /// # Errors
    /// As [`Self::model_id`] and [`crate::Room::open`].
    pub async fn model(&self, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
        let id = self.model_id(name)?;
        self.app.models.open(&id).await
    }

    /// [`Self::model`] on a thread that may wait.
    ///
    /// # Errors
    /// As there.
    pub fn model_blocking(&self, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
        Handle::current().block_on(self.model(name))
    }

    /// Hands something to a model's engine, in the caller's own namespace, and counts what comes of it.
    ///
    /// # Errors
    /// As [`ingle_engine::EngineHandle::submit`].
    pub fn submit(&self, model: &Arc<Served>, asked: impl Into<Asked>) -> Result<Reply, Refusal> {
        let mut asked = asked.into();
        if let Asked::Text(request) = &mut asked {
            request.namespace = self.caller.namespace;
            request.user = self.caller.namespace;
            request.store = self.keeps_prefixes();
        }
        Reply::submit(self, model, asked)
    }

    /// Whether the beginnings of its texts may be kept on disk: the key may, and the request does not
    /// say `Cache-Control: no-store`.
    pub fn keeps_prefixes(&self) -> bool {
        self.caller.keeps_prefixes() && !says_no_store(&self.headers)
    }
}

/// The worst of several ends counts.
pub(crate) fn end(ended: &Mutex<Option<Outcome>>, outcome: Outcome) {
    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    *ended = Some(ended.map_or(outcome, |before| before.max(outcome)));
}

/// `Cache-Control: no-store`: nothing of this request is kept.
fn says_no_store(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let mut words = values
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case("no-store"))
}

impl Call {
    /// A parameter behind the question mark.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(key) == name).then(|| unescaped(&value.replace('+', " ")))
        });
        pairs.into_iter().next()
    }
}

/// `%2F` and the like.
pub(crate) fn unescaped(text: &str) -> String {
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
    fn no_store_is_heard() {
        let says = |text: &str| {
            let value = http::HeaderValue::from_str(text).unwrap();
            says_no_store(&HeaderMap::from_iter([(header::CACHE_CONTROL, value)]))
        };
        assert!(says("no-store") && says("no-cache, No-Store"));
        assert!(!says("no-cache") && !says("no-storage") && !says_no_store(&HeaderMap::new()));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescaped("a%2Fb%zz%"), "a/b%zz%");
    }
}
