//! `GET /v1/models` and `GET /v1/models/{id}`, for clients that send `anthropic-version`.

use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::room::Offer;
use crate::time::rfc3339;
use http::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// Models on a page, where nobody says how many.
const USUAL: usize = 20;
/// The most models on a page.
const MOST: usize = 1000;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    limit: usize,
    after: Option<String>,
    before: Option<String>,
}

impl Page {
    fn read(call: &Call) -> Result<Self, ApiError> {
        let limit = match call.parameter("limit") {
            None => USUAL,
            Some(text) => match text.parse() {
                Ok(n) if (1..=MOST).contains(&n) => n,
                _ => {
                    let message = format!("`limit` must be a whole number from 1 to {MOST}");
                    return Err(ApiError::invalid("limit", message));
                }
            },
        };
        Ok(Self {
            limit,
            after: call.parameter("after_id"),
            before: call.parameter("before_id"),
        })
    }

    /// What is on it, and whether there is more on that side.
    fn cut<'o>(&self, offers: &'o [Offer]) -> (&'o [Offer], bool) {
        let at = |id: &String| offers.iter().position(|offer| offer.id == *id);
        let from = self.after.as_ref().and_then(at).map_or(0, |at| at + 1);
        let to = self.before.as_ref().and_then(at).unwrap_or(offers.len());
        let between = offers.get(from..to).unwrap_or_default();
        let more = between.len() > self.limit;
        let cut = match (more, self.before.is_some()) {
            (false, _) => between,
            (true, false) => between.get(..self.limit).unwrap_or_default(),
            (true, true) => between
                .get(between.len() - self.limit..)
                .unwrap_or_default(),
        };
        (cut, more)
    }
}

/// Lists of models are read from disk: not where connections are served.
async fn aside(
    call: Arc<Call>,
    look: fn(&Call) -> Result<Response<Body>, ApiError>,
) -> Result<Response<Body>, ApiError> {
    let done = tokio::task::spawn_blocking(move || look(&call)).await;
    done.map_err(|_| ApiError::internal("a fault in Ingle"))?
}

/// All of them.
pub(super) async fn list(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    aside(call, listed).await
}

/// One of them.
pub(super) async fn one(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    aside(call, found).await
}

fn listed(call: &Call) -> Result<Response<Body>, ApiError> {
    let page = Page::read(call)?;
    let mut offers = offers(call);
    offers.retain(|offer| call.model_id(Some(&offer.id)).is_ok());
    let (shown, has_more) = page.cut(&offers);
    let data: Vec<Value> = shown.iter().map(one_json).collect();
    let id = |offer: Option<&Offer>| offer.map(|offer| offer.id.clone());
    Ok(json(&json!({
        "data": data, "has_more": has_more, "first_id": id(shown.first()),
        "last_id": id(shown.last()),
    })))
}

fn found(call: &Call) -> Result<Response<Body>, ApiError> {
    let id = call.model_id(Some(&call.id))?;
    let offer = offers(call).into_iter().find(|offer| offer.id == id);
    Ok(json(&one_json(&offer.unwrap_or(Offer {
        id,
        ..Offer::default()
    }))))
}

/// All models. One that was loaded for less than it was trained for takes no more.
fn offers(call: &Call) -> Vec<Offer> {
    let mut offers = call.app.models.list();
    for loaded in call.app.models.loaded() {
        if let Some(offer) = offers.iter_mut().find(|offer| offer.id == loaded.id) {
            offer.trained_context = offer.trained_context.min(loaded.context);
        }
    }
    offers
}

fn one_json(offer: &Offer) -> Value {
    json!({
        "type": "model", "id": offer.id, "display_name": offer.id, "lifecycle": "active",
        "created_at": rfc3339(offer.modified), "max_input_tokens": offer.trained_context,
        "max_tokens": offer.trained_context,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let offers: Vec<Offer> = ["a", "b", "c", "d"]
            .map(|id| Offer {
                id: id.into(),
                ..Offer::default()
            })
            .into();
        let page = |limit, after: Option<&str>, before: Option<&str>| {
            let page = Page {
                limit,
                after: after.map(str::to_owned),
                before: before.map(str::to_owned),
            };
            let (shown, more) = page.cut(&offers);
            let ids: String = shown.iter().map(|offer| offer.id.as_str()).collect();
            (ids, more)
        };
        assert_eq!(page(20, None, None), ("abcd".into(), false));
        assert_eq!(page(2, None, None), ("ab".into(), true));
        assert_eq!(page(2, Some("b"), None), ("cd".into(), false));
        assert_eq!(page(2, None, Some("d")), ("bc".into(), true));
        assert_eq!(page(2, Some("d"), None), (String::new(), false));
        assert_eq!(page(2, Some("c"), Some("b")), (String::new(), false));
        let shown = one_json(&Offer {
            id: "qwen3:4b".into(),
            modified: 1_795_269_780,
            trained_context: 40_960,
            ..Offer::default()
        });
        assert_eq!(
            shown.to_string(),
            r#"{"type":"model","id":"qwen3:4b","display_name":"qwen3:4b","lifecycle":"active","created_at":"2026-11-21T14:03:00Z","max_input_tokens":40960,"max_tokens":40960}"#
        );
    }
}
