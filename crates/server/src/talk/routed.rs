//! Handing a request to the gateway, which decides who answers.

use super::answers::{Answers, News};
use super::ask::submit;
use super::computed::Computed;
use super::leaving::{only_here, request};
use super::names::Names;
use super::prepare::{Ready, prepare};
use super::read;
use super::wanted::{Input, Wanted};
use crate::call::{Call, Meant};
use crate::error::ApiError;
use crate::fields::Fields;
use http::StatusCode;
use ingle_engine::sampler::Sampling;
use ingle_gateway::chat::Leave;
use ingle_gateway::confidence::AGREEMENT_TEMPERATURE;
use ingle_gateway::decide::{Ask, Asked, Denied, Gateway, Hearth, Refusal, Routed, Unable};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tracing::Span;

/// The longest name of a session or a label.
const LONGEST: usize = 200;

/// Reads the body of `call` with `read` and has it answered here or elsewhere.
///
/// # Errors
/// As [`super::ask`]; nobody may or can answer.
pub(super) async fn routed<T: Send + 'static>(
    call: &Arc<Call>,
    names: &'static Names,
    gateway: &Arc<Gateway>,
    read: impl FnOnce(&Call) -> Result<(Wanted, T), ApiError> + Send + 'static,
) -> Result<(Answers, T), ApiError> {
    let (asked, since) = (Instant::now(), gateway.since());
    let begun = {
        let (call, gateway, span) = (Arc::clone(call), Arc::clone(gateway), Span::current());
        let read = move || {
            let _in = span.enter();
            let (mut wanted, rest) = read(&call)?;
            let ask = ask_of(&call, &gateway, &mut wanted)?;
            // Where this machine is asked first, what it will need is made here: on a machine that computes, each
            // change of the thread may wait for a core.
            let ready = gateway
                .begins_at_home(&ask)
                .then(|| prepare(&call, &wanted, names));
            Ok::<_, ApiError>((wanted, ask, rest, ready))
        };
        tokio::task::spawn_blocking(read).await
    };
    let (wanted, ask, rest, ready) =
        begun.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    let hearth = AtServer {
        model: call.model_id(wanted.model.as_deref()).ok(),
        call: Arc::clone(call),
        wanted: Arc::new(wanted),
        ready: Mutex::new(ready),
        names,
        asked,
    };
    let answers = match gateway.route(since, ask, &hearth).await {
        Ok(Routed::Home(answer)) => Answers::home(call, answer),
        Ok(Routed::Cloud(answer)) => Answers::cloud(call, *answer, asked),
        Err(denied) => return Err(refused(call, denied)),
    };
    Ok((answers, rest))
}

/// What the gateway is asked. A name that says only where to answer is no model's.
fn ask_of(call: &Call, gateway: &Gateway, wanted: &mut Wanted) -> Result<Ask, ApiError> {
    house(call, wanted);
    let mut request = request(&call.name, wanted);
    request.user = call.caller.name().to_owned();
    request.path = call.path.to_owned();
    request.session = name(call, "x-ingle-session")?;
    request.label = name(call, "x-ingle-label")?;
    request.leave = match call.header("x-ingle-policy")? {
        None => None,
        Some(word) => Some(Leave::of_word(word).ok_or_else(|| {
            let message = "`x-ingle-policy` must be local-only, allow or prefer-cloud";
            ApiError::invalid("x-ingle-policy", message)
        })?),
    };
    let header = match call.header("x-ingle-route")? {
        None => None,
        Some(word) => Some(Asked::of_word(word).ok_or_else(|| {
            let message = "`x-ingle-route` must be local, auto or cloud";
            ApiError::invalid("x-ingle-route", message)
        })?),
    };
    // Where body and header disagree, less leaves.
    let mut asked = match (wanted.route, header) {
        (Some(body), Some(header)) => Some(body.min(header)),
        (body, header) => body.or(header),
    };
    let mut named = None;
    match call.meant(wanted.model.as_deref()) {
        // A model that there is not, or that this caller may not use, is nobody's to answer for.
        Meant::Model => drop(call.model_id(wanted.model.as_deref())?),
        Meant::Auto => {
            wanted.model = None;
            asked = asked.or(Some(Asked::Auto));
        }
        Meant::Provider(name) => named = Some(name),
    }
    let may = |name: &str| call.caller.may_use(name);
    let may_leave = may("auto") || named.as_deref().is_some_and(may);
    let shut = (!may_leave).then(|| "this key may use only some models of this machine".to_owned());
    let ruled = gateway.rule(&request);
    Ok(Ask {
        ruled,
        only_here: only_here(wanted).map(str::to_owned),
        streams: wanted.streams,
        request,
        asked,
        named,
        shut,
    })
}

/// What a preset says of sampling is how its model samples, and no wish of who asks: it keeps nothing here, and
/// is said to no other model.
fn house(call: &Call, wanted: &mut Wanted) {
    let name = wanted.model.as_deref().filter(|name| !name.is_empty());
    let model = match call.meant(name) {
        Meant::Model => name,
        Meant::Auto => None,
        // No preset was written into its request.
        Meant::Provider(_) => return,
    };
    let preset = call.app.models.name_of(model).ok();
    let Some(preset) = preset.and_then(|id| call.app.models.preset(&id)) else {
        return;
    };
    let parameters = Value::Object(preset.parameters);
    let usual = Fields::of_body(&parameters).and_then(|f| read::sampling(&f, wanted.usual.clone()));
    if let Ok((usual, _)) = usual {
        wanted.usual = usual;
        // Whether the client or the preset says what both would is not known any more.
        wanted.said.retain(|name| parameters.get(*name).is_none());
    }
}

/// A short name that a header gives.
fn name(call: &Call, header: &'static str) -> Result<Option<String>, ApiError> {
    let name = call.header(header)?.filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > LONGEST) {
        let message = format!("`{header}` has more than {LONGEST} bytes");
        return Err(ApiError::invalid(header, message));
    }
    Ok(name.map(str::to_owned))
}

/// Why nobody answers, as the client is told.
fn refused(call: &Call, denied: Denied<ApiError>) -> ApiError {
    let (error, note) = match denied {
        Denied::Home(error, note) => (error, note),
        Denied::Refused(refusal, note) => (refusal_of(refusal), note),
        Denied::Failed(why, note) => {
            let message = format!("the provider that the request names did not answer: {why}");
            let error = ApiError::new(StatusCode::BAD_GATEWAY, "provider_failed", message);
            (error, note)
        }
    };
    call.tell(*note);
    error
}

fn refusal_of(refusal: Refusal) -> ApiError {
    let (status, code, why) = match refusal {
        Refusal::Policy(why) => (StatusCode::FORBIDDEN, "stays_local", why),
        Refusal::Unable(why) => (StatusCode::BAD_REQUEST, "unsupported_value", why),
        Refusal::Budget(why) => (StatusCode::PAYMENT_REQUIRED, "budget_spent", why),
        Refusal::Home(why) => (StatusCode::BAD_REQUEST, "unsupported_value", why),
    };
    let message = format!("the request names a provider's model, and stays here: {why}");
    ApiError {
        param: Some("model".into()),
        ..ApiError::new(status, code, message)
    }
}

/// The models of this server.
struct AtServer {
    call: Arc<Call>,
    wanted: Arc<Wanted>,
    /// What the first answer needs, where it was made already.
    ready: Mutex<Option<Result<Ready, ApiError>>>,
    names: &'static Names,
    /// The model's name, where there is such a model.
    model: Option<String>,
    asked: Instant,
}

impl AtServer {
    fn made(&self) -> Option<Result<Ready, ApiError>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.take()
    }

    /// Rendering and tokenizing may take long: not where connections are served.
    async fn prepared(&self, wanted: &Arc<Wanted>) -> Result<Ready, ApiError> {
        let (call, wanted, names) = (Arc::clone(&self.call), Arc::clone(wanted), self.names);
        let ready = tokio::task::spawn_blocking(move || prepare(&call, &wanted, names)).await;
        ready.map_err(|_| ApiError::internal("a fault in Ingle"))?
    }
}

impl Hearth for AtServer {
    type Answer = Computed;
    type Error = ApiError;

    fn model(&self) -> String {
        self.model.clone().unwrap_or_default()
    }

    fn identity(&self) -> Option<String> {
        let loaded = self.call.app.models.engines();
        let model = loaded
            .iter()
            .find(|model| Some(&model.id) == self.model.as_ref());
        model.map(|model| model.identity.clone())
    }

    async fn begin(&self, looked_at: bool) -> Result<Computed, Unable<ApiError>> {
        let made = self.made();
        let ready = match made {
            Some(ready) => ready.map_err(unable)?,
            None => self.prepared(&self.wanted).await.map_err(unable)?,
        };
        let signals = looked_at && matches!(self.wanted.input, Input::Chat(_));
        let (call, names, asked) = (&self.call, self.names, self.asked);
        let computed = submit(call, &self.wanted, ready, names, signals, asked).await;
        computed.map_err(unable)
    }

    async fn again(&self, n: u32) -> Vec<String> {
        let wanted = Arc::new(Wanted {
            sampling: Sampling {
                temperature: AGREEMENT_TEMPERATURE,
                seed: 1,
                ..Sampling::default()
            },
            seeded: true,
            n,
            ..(*self.wanted).clone()
        });
        let Ok(ready) = self.prepared(&wanted).await else {
            return Vec::new();
        };
        let computed = submit(&self.call, &wanted, ready, self.names, false, self.asked).await;
        let Ok(mut computed) = computed else {
            return Vec::new();
        };
        let mut texts = vec![String::new(); n as usize];
        while let Some(heard) = computed.next().await {
            let Some(text) = texts.get_mut(heard.choice) else {
                continue;
            };
            for news in heard.news {
                match news {
                    News::Content(more) => text.push_str(&more),
                    News::Failed(_) => return Vec::new(),
                    _ => {}
                }
            }
        }
        texts
    }
}

/// Whether somebody else could do what this machine does not.
fn unable(error: ApiError) -> Unable<ApiError> {
    match error.code {
        Some("context_length_exceeded" | "unsupported_value" | "model_does_not_fit") => {
            Unable::Cannot {
                why: format!("the model at home cannot: {}", error.message),
                error,
            }
        }
        _ => Unable::Wrong(error),
    }
}
