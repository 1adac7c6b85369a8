//! What models there are: `/api/tags`, `/api/ps`, `/api/show`.

use super::aside;
use super::names::{id, tagged};
use super::request::model;
use crate::body::{Body, json, with};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::room::{Details, InMemory, Offer};
use crate::time::rfc3339;
use http::Response;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// So long stays what stays until its memory is wanted: Go has no longer time.
const FOREVER: Duration = Duration::from_secs(292 * 31_556_952);

/// `GET /api/tags`: all that can be asked.
pub(super) async fn tags(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let models = aside(call, |call| {
        let offers = call.app.models.list();
        let allowed = offers
            .iter()
            .filter(|offer| call.model_id(Some(&offer.id)).is_ok());
        Ok(allowed.map(listed).collect::<Vec<Value>>())
    });
    Ok(json(&json!({ "models": models.await? })))
}

fn listed(offer: &Offer) -> Value {
    let name = tagged(&offer.id);
    json!({
        "name": name, "model": name, "modified_at": rfc3339(offer.modified), "size": offer.bytes,
        "digest": digest(offer), "details": details(offer),
    })
}

/// What a client compares to see that a model has changed: of its file where that is known, else of
/// what is known of it.
fn digest(offer: &Offer) -> String {
    if let Some(digest) = &offer.digest {
        return digest.trim_start_matches("sha256:").to_owned();
    }
    let known = format!("{} {} {}", offer.id, offer.bytes, offer.modified);
    let bytes = Sha256::digest(known.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn details(offer: &Offer) -> Value {
    let family: Vec<&str> = [offer.family.as_str()]
        .into_iter()
        .filter(|f| !f.is_empty())
        .collect();
    let mut details = json!({
        "parent_model": offer.base.as_deref().unwrap_or(""), "format": offer.format,
        "family": offer.family, "families": family, "parameter_size": count(offer.parameters),
        "quantization_level": offer.quantization,
    });
    if offer.trained_context > 0 {
        details = with(details, "context_length", offer.trained_context);
    }
    details
}

/// A number of parameters: `135.2M`, `4B`, `30.5B`.
fn count(n: u64) -> String {
    const UNITS: [(u64, &str, u64); 2] = [(1_000_000_000, "B", 10), (1_000_000, "M", 100)];
    for (unit, letter, steps) in UNITS {
        if n >= unit {
            // Rounded to as many places as the unit has.
            let scaled =
                (u128::from(n) * u128::from(steps) + u128::from(unit) / 2) / u128::from(unit);
            let (whole, part) = (scaled / u128::from(steps), scaled % u128::from(steps));
            return match (n.is_multiple_of(unit), steps) {
                (true, _) => format!("{whole}{letter}"),
                (false, 10) => format!("{whole}.{part}{letter}"),
                (false, _) => format!("{whole}.{part:02}{letter}"),
            };
        }
    }
    match n {
        1_000.. => format!("{}K", (n + 500) / 1_000),
        n => n.to_string(),
    }
}

/// `GET /api/ps`: all that are in memory.
pub(super) async fn ps(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let models = aside(call, |call| {
        let (offers, now) = (call.app.models.list(), (call.app.config.unix_time)());
        let loaded = call.app.models.loaded();
        let allowed = loaded
            .iter()
            .filter(|model| call.model_id(Some(&model.id)).is_ok());
        let shown = allowed.map(|model| {
            let offer = offers.iter().find(|offer| offer.id == model.id);
            running(model, &offer.cloned().unwrap_or_default(), now)
        });
        Ok(shown.collect::<Vec<Value>>())
    });
    Ok(json(&json!({ "models": models.await? })))
}

fn running(model: &InMemory, offer: &Offer, now: i64) -> Value {
    let name = tagged(&model.id);
    let seconds = model.expires_in.unwrap_or(FOREVER).as_secs();
    let until = now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    json!({
        "name": name, "model": name, "size": model.bytes, "digest": digest(offer),
        "details": details(offer), "expires_at": rfc3339(until), "size_vram": 0,
        "context_length": model.context,
    })
}

/// `POST /api/show`: one in all its details.
pub(super) async fn show(call: &Arc<Call>) -> Result<Response<Body>, ApiError> {
    let shown = aside(call, |call| {
        let body = parse(&call.body)?;
        let fields = Fields::of_body(&body)?;
        let no = |v: &Value| v.as_bool() == Some(false);
        let why = "lists of tensors and tokens are not sent; `ingle show` prints them";
        fields.refuse("verbose", no, why)?;
        let empty = |v: &Value| v.as_str() == Some("") || v.as_object().is_some_and(Map::is_empty);
        for name in ["system", "template", "options"] {
            fields.refuse(name, empty, "a model is shown as it is; leave it out")?;
        }
        let name = id(call, &model(&fields)?)?;
        let mut shown = call.app.models.show(&name)?;
        // Clients ask for no more than this, where a larger `num_ctx` would be refused.
        let loaded = call.app.models.loaded().into_iter().find(|m| m.id == name);
        if let Some(loaded) = loaded {
            shown.parameters.retain(|(name, _)| name != "num_ctx");
            let context = ("num_ctx".to_owned(), loaded.context.to_string());
            shown.parameters.push(context);
        }
        within_context(&mut shown);
        Ok((name, shown))
    });
    let (id, shown) = shown.await?;
    let parameters = shown.parameters.iter();
    let parameters: Vec<String> = parameters
        .map(|(name, value)| format!("{name:<30} {value}"))
        .collect();
    let metadata: Map<String, Value> = shown.metadata.into_iter().collect();
    let modelfile = format!(
        "# Made by Ingle of the model's own file\nFROM {}\n",
        tagged(&id)
    );
    let mut answer = json!({
        "modelfile": modelfile, "parameters": parameters.join("\n"),
        "template": shown.template.unwrap_or_default(), "details": details(&shown.offer),
        "model_info": metadata, "capabilities": shown.capabilities,
        "modified_at": rfc3339(shown.offer.modified),
    });
    for (name, text) in [("license", shown.license), ("system", shown.system)] {
        if let Some(text) = text {
            answer = with(answer, name, text);
        }
    }
    Ok(json(&answer))
}

/// The context that metadata tell, no longer than the one that is served: clients that read it there cut or
/// sum up a conversation before it is refused.
fn within_context(shown: &mut Details) {
    let served = shown.parameters.iter().find(|(name, _)| name == "num_ctx");
    let Some(served) = served.and_then(|(_, n)| n.parse::<u64>().ok()) else {
        return;
    };
    for (key, value) in &mut shown.metadata {
        let longer = value.as_u64().is_some_and(|trained| trained > served);
        if longer && key.ends_with(".context_length") {
            *value = served.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_as_ollama_counts() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (260_032, "260K"),
            (134_515_008, "134.52M"),
            (751_632_384, "751.63M"),
            (7_000_000_000, "7B"),
            (30_532_122_624, "30.5B"),
        ];
        for (n, want) in cases {
            assert_eq!(count(n), want);
        }
    }

    #[test]
    fn no_longer_context_is_shown_than_is_served() {
        let shown = |served: Option<&str>| {
            let served = served.map(|n| ("num_ctx".to_owned(), n.to_owned()));
            let numbers = [("qwen3.context_length", 40_960), ("qwen3.block_count", 36)];
            let mut shown = Details {
                parameters: served.into_iter().collect(),
                metadata: numbers.map(|(key, n)| (key.into(), n.into())).into(),
                ..Details::default()
            };
            within_context(&mut shown);
            let numbers = shown.metadata.iter().map(|(_, n)| n.as_u64().unwrap());
            numbers.collect::<Vec<u64>>()
        };
        for (served, want) in [
            (None, 40_960),
            (Some("8192"), 8_192),
            (Some("65536"), 40_960),
            (Some("x"), 40_960),
        ] {
            assert_eq!(shown(served), [want, 36], "{served:?}");
        }
    }

    #[test]
    fn lists_look_like_ollamas() {
        let offer = Offer {
            id: "qwen3:4b".into(),
            bytes: 2_497_293_931,
            modified: 1_795_269_780,
            format: "gguf",
            family: "qwen3".into(),
            parameters: 4_022_468_096,
            quantization: "Q4_K_M".into(),
            digest: Some(format!("sha256:{}", "a".repeat(64))),
            trained_context: 40_960,
            generates: true,
            ..Offer::default()
        };
        let loaded = InMemory {
            id: offer.id.clone(),
            aliases: Vec::new(),
            path: None,
            bytes: 3_000_000_000,
            context: 8192,
            users: 0,
            expires_in: Some(Duration::from_secs(300)),
            running: 0,
            live: 0,
        };
        let forever = InMemory {
            expires_in: None,
            ..loaded.clone()
        };
        let shown = [
            listed(&offer),
            running(&loaded, &offer, 1_795_269_780),
            running(&forever, &offer, 1_795_269_780),
        ];
        let [listed, loaded, forever] = shown;
        assert_eq!(
            (&listed["name"], &listed["digest"], &listed["size"]),
            (
                &"qwen3:4b".into(),
                &"a".repeat(64).into(),
                &2_497_293_931_u64.into()
            )
        );
        assert_eq!(
            listed["details"],
            json!({
                "parent_model": "", "format": "gguf", "family": "qwen3", "families": ["qwen3"],
                "parameter_size": "4.0B", "quantization_level": "Q4_K_M", "context_length": 40_960,
            })
        );
        assert_eq!(listed["modified_at"], "2026-11-21T14:03:00Z");
        assert_eq!(loaded["expires_at"], "2026-11-21T14:08:00Z");
        assert_eq!(
            (&loaded["size_vram"], &loaded["context_length"]),
            (&0.into(), &8192.into())
        );
        assert!(forever["expires_at"].as_str().unwrap().starts_with("23"));
        let unknown = digest(&Offer {
            digest: None,
            ..offer
        });
        assert!(unknown.len() == 64 && unknown.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
