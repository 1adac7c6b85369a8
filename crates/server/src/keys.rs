//! Keys: who asks, and how much they may.
//!
//! A key is 256 random bits; only its SHA-256 is kept, and all that are kept are compared, each in
//! constant time, so that the time an answer takes tells nothing of them.

use crate::error::ApiError;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// What somebody with a key may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Key {
    /// Whose it is: shown in the log and in metrics.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Requests in a minute; `None`: as many as there is room for.
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, of prompts and answers.
    pub tokens_per_minute: Option<u32>,
    /// Requests at the same time.
    pub concurrent: Option<u32>,
    /// Models that may be asked, as `qwen3:4b` or `qwen3*`; empty: all.
    pub models: Vec<String>,
    /// Beginnings of texts may be kept on disk, encrypted, to be continued sooner.
    pub keeps_prefixes: bool,
    /// May load, unload, pull and delete models, and end the server.
    pub admin: bool,
}

impl Key {
    /// Where what is computed for this key is kept: nobody else finds it there.
    pub fn namespace(&self) -> u64 {
        let hash = Sha256::digest(self.hash);
        hash.first_chunk::<8>()
            .copied()
            .map_or(0, u64::from_le_bytes)
    }

    /// SHA-256 of a key.
    pub fn hash_of(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }
}

/// Who asks.
pub struct Caller {
    /// Only what was computed for requests of the same number is used again: one that only this key has.
    pub namespace: u64,
    key: Option<Key>,
    /// The one on whose machine this is, through the socket that only they can open.
    owner: bool,
    use_: Mutex<Use>,
}

/// How much somebody has asked lately.
#[derive(Debug, Default)]
struct Use {
    running: u32,
    requests: Bucket,
    tokens: Bucket,
}

/// What is used of an allowance that comes back evenly over a minute.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    used: f64,
    at: Option<Instant>,
}

const MINUTE: f64 = 60.0;

impl Bucket {
    /// Lets time pass.
    fn at(&mut self, now: Instant, per_minute: u32) {
        if let Some(before) = self.at.replace(now) {
            let time = now.saturating_duration_since(before).as_secs_f64();
            self.used = (self.used - time * f64::from(per_minute) / MINUTE).max(0.0);
        }
    }

    /// Seconds until `wanted` more fit; 0: now.
    fn wait(&self, per_minute: u32, wanted: f64) -> u32 {
        let over = self.used + wanted - f64::from(per_minute);
        if over <= 0.0 {
            return 0;
        }
        let seconds = over * MINUTE / f64::from(per_minute.max(1));
        // At most what is used can come back.
        (seconds.ceil() as u32).clamp(1, 24 * 3600)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Caller {
    /// Somebody without a key, where none is needed.
    pub(crate) fn anybody() -> Arc<Self> {
        Arc::new(Self::new(None, false))
    }

    /// The one on whose machine this is.
    pub(crate) fn owner() -> Arc<Self> {
        Arc::new(Self::new(None, true))
    }

    fn new(key: Option<Key>, owner: bool) -> Self {
        Self {
            namespace: key.as_ref().map_or(0, Key::namespace),
            key,
            owner,
            use_: Mutex::default(),
        }
    }

    /// For the log: the name of the key.
    pub fn name(&self) -> &str {
        match &self.key {
            Some(key) => &key.name,
            None if self.owner => "owner",
            None => "-",
        }
    }

    /// Whether beginnings of this caller's texts may be kept on disk.
    pub fn keeps_prefixes(&self) -> bool {
        self.key.as_ref().is_none_or(|key| key.keeps_prefixes)
    }

    /// Whether models may be loaded, unloaded, pulled and deleted for them.
    pub fn is_admin(&self) -> bool {
        self.key.as_ref().is_none_or(|key| key.admin)
    }

    /// Whether it is the one on whose machine this is.
    pub fn is_owner(&self) -> bool {
        self.owner
    }

    /// Whether a model of this name may be asked.
    pub fn may_use(&self, model: &str) -> bool {
        let Some(key) = &self.key else {
            return true;
        };
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => model == pattern,
        };
        key.models.is_empty() || key.models.iter().any(fits)
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        self.use_.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more request of theirs.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Result<Turn, ApiError> {
        let mut used = self.lock();
        if let Some(key) = &self.key {
            if let Some(most) = key.concurrent
                && used.running >= most
            {
                let message = format!("this key may have {most} requests at the same time");
                return Err(limited("too_many_at_once", message, 1));
            }
            if let Some(most) = key.tokens_per_minute {
                used.tokens.at(now, most);
                let wait = used.tokens.wait(most, 1.0);
                if wait > 0 {
                    let message = format!("this key may use {most} tokens in a minute");
                    return Err(limited("tokens_per_minute", message, wait));
                }
            }
            if let Some(most) = key.requests_per_minute {
                used.requests.at(now, most);
                let wait = used.requests.wait(most, 1.0);
                if wait > 0 {
                    let message = format!("this key may ask {most} times in a minute");
                    return Err(limited("requests_per_minute", message, wait));
                }
                used.requests.used += 1.0;
            }
        }
        used.running += 1;
        Ok(Turn(Arc::clone(self)))
    }

    /// So many tokens were computed for them.
    pub(crate) fn used(&self, tokens: u64, now: Instant) {
        if let Some(most) = self.key.as_ref().and_then(|key| key.tokens_per_minute) {
            let mut used = self.lock();
            used.tokens.at(now, most);
            used.tokens.used += tokens as f64;
        }
    }
}

fn limited(code: &'static str, message: String, seconds: u32) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, message).retry_after(seconds)
}

/// A request of a caller that is there; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Caller>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut used = self.0.lock();
        used.running = used.running.saturating_sub(1);
    }
}

/// All keys that are known now. Changing them takes effect with the next request.
#[derive(Debug)]
pub struct Keys {
    callers: RwLock<Vec<Arc<Caller>>>,
    need: Need,
    anybody: Arc<Caller>,
    owner: Arc<Caller>,
}

/// Whether a key is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Always: this server is reached from other machines.
    Always,
    /// Where there are any.
    IfThereAre,
    /// Never: whoever started the server said so.
    Never,
}

impl Keys {
    /// No keys yet.
    pub fn new(need: Need) -> Self {
        Self {
            callers: RwLock::default(),
            need,
            anybody: Caller::anybody(),
            owner: Caller::owner(),
        }
    }

    /// Knows these from now on. Who had a key before keeps what they have used up.
    pub fn set(&self, keys: Vec<Key>) {
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        let known = |key: &Key| {
            let same = |caller: &&Arc<Caller>| caller.key.as_ref() == Some(key);
            callers.iter().find(same).cloned()
        };
        let next = keys.into_iter().map(|key| match known(&key) {
            Some(caller) => caller,
            None => Arc::new(Caller::new(Some(key), false)),
        });
        *callers = next.collect();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        callers.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who asks, by the headers of a request; `owner`: through the owner's socket.
    ///
    /// # Errors
    /// 401: a key is needed and there is none, or it is not known.
    pub(crate) fn who(&self, headers: &HeaderMap, owner: bool) -> Result<Arc<Caller>, ApiError> {
        if owner {
            return Ok(Arc::clone(&self.owner));
        }
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        let needed = match self.need {
            Need::Always => true,
            Need::IfThereAre => !callers.is_empty(),
            Need::Never => false,
        };
        if !needed {
            return Ok(Arc::clone(&self.anybody));
        }
        let Some(secret) = secret(headers) else {
            return Err(unknown(
                "a key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`; `ingle key add NAME` makes one",
            ));
        };
        let hash = Key::hash_of(secret);
        let mut found = None;
        for caller in callers.iter() {
            let Some(key) = &caller.key else { continue };
            if bool::from(key.hash.ct_eq(&hash)) {
                found = Some(Arc::clone(caller));
            }
        }
        found.ok_or_else(|| {
            unknown("this key is not known here, or was revoked; `ingle key list` shows which there are")
        })
    }
}

fn unknown(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
}

/// The key that a request carries.
fn secret(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret)
    });
    let secret = bearer.or_else(|| text("x-api-key"))?.trim();
    (!secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::Duration;

    fn key(name: &str, secret: &str) -> Key {
        Key {
            name: name.into(),
            hash: Key::hash_of(secret),
            ..Key::default()
        }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap();
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value)])
    }

    #[test]
    fn who_asks_is_known_by_the_key() {
        let keys = Keys::new(Need::IfThereAre);
        let none = HeaderMap::new();
        assert_eq!(keys.who(&none, false).unwrap().name(), "-");
        keys.set(vec![key("ann", "ingle-a"), key("bob", "ingle-b")]);
        let who = |headers: &HeaderMap| keys.who(headers, false).map(|c| c.name().to_owned());
        for (name, value, want) in [
            ("authorization", "Bearer ingle-a", Some("ann")),
            ("authorization", "bearer  ingle-b ", Some("bob")),
            ("x-api-key", "ingle-b", Some("bob")),
            ("authorization", "Basic ingle-a", None),
            ("authorization", "ingle-a", None),
            ("authorization", "Bearer ingle-A", None),
            ("authorization", "Bearer ", None),
            ("x-api-key", "", None),
        ] {
            let got = who(&headers(name, value));
            assert_eq!(got.as_deref().ok(), want, "{name}: {value}");
            assert!(want.is_some() || got.unwrap_err().status == StatusCode::UNAUTHORIZED);
        }
        assert!(who(&none).is_err());
        assert_eq!(keys.who(&none, true).unwrap().name(), "owner");
        keys.set(vec![key("bob", "ingle-b")]);
        assert!(who(&headers("x-api-key", "ingle-a")).is_err(), "revoked");
    }

    #[test]
    fn beyond_this_machine_nobody_gets_in_without_a_key_although_there_is_none() {
        assert!(
            Keys::new(Need::Always)
                .who(&HeaderMap::new(), false)
                .is_err()
        );
        let open = Keys::new(Need::Never);
        open.set(vec![key("ann", "a")]);
        assert!(open.who(&HeaderMap::new(), false).is_ok());
    }

    #[test]
    fn names_are_apart() {
        let space = |secret| Caller::new(Some(key("k", secret)), false).namespace;
        assert_ne!(space("a"), space("b"));
        assert_eq!(Caller::anybody().namespace, 0);
    }

    #[test]
    fn models_may_be_chosen() {
        let caller = |models: &[&str]| {
            let models = models.iter().map(ToString::to_string).collect();
            Caller::new(
                Some(Key {
                    models,
                    ..key("a", "a")
                }),
                false,
            )
        };
        assert!(caller(&[]).may_use("any"));
        let some = caller(&["qwen3*", "mini"]);
        for (model, may) in [
            ("qwen3:4b", true),
            ("mini", true),
            ("mini2", false),
            ("", false),
        ] {
            assert_eq!(some.may_use(model), may, "{model}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limits_hold_and_come_back() {
        let caller = Arc::new(Caller::new(
            Some(Key {
                requests_per_minute: Some(3),
                tokens_per_minute: Some(60),
                concurrent: Some(2),
                ..key("a", "a")
            }),
            false,
        ));
        let begin = || caller.begin(Instant::now());
        let code = |r: Result<Turn, ApiError>| {
            let error = r.unwrap_err();
            assert_eq!(error.status, StatusCode::TOO_MANY_REQUESTS);
            (error.code.unwrap(), error.retry_after.unwrap())
        };
        let (one, two) = (begin().unwrap(), begin().unwrap());
        assert_eq!(code(begin()), ("too_many_at_once", 1));
        drop((one, two));
        drop(begin().unwrap());
        assert_eq!(code(begin()), ("requests_per_minute", 20));
        tokio::time::advance(Duration::from_secs(20)).await;
        drop(begin().unwrap());
        tokio::time::advance(Duration::from_secs(20)).await;
        caller.used(90, Instant::now());
        assert_eq!(code(begin()), ("tokens_per_minute", 31));
        tokio::time::advance(Duration::from_secs(31)).await;
        drop(begin().unwrap());
    }
}
