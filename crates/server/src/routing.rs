//! What answers say of who gave them: headers, and an object in the body where those come too early.

use http::{HeaderMap, HeaderName, HeaderValue};
use ingle_gateway::decide::Note;
use serde_json::{Value, json};

/// Bytes of a header at most.
const LONGEST: usize = 400;

/// Says in headers where an answer comes from, why, how sure the local one was, and what it cost.
pub(crate) fn headers(note: &Note, headers: &mut HeaderMap) {
    let mut set = |name: &'static str, value: &str| {
        // Whatever words have come from elsewhere, a header is one line of plain text.
        let plain = value
            .chars()
            .map(|c| if matches!(c, ' '..='~') { c } else { '?' });
        let plain: String = plain.take(LONGEST).collect();
        if let Ok(value) = HeaderValue::from_str(plain.trim()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-ingle-route", note.route.word());
    if !note.model.is_empty() {
        set("x-ingle-model", &note.model);
    }
    if !note.reason.is_empty() {
        set("x-ingle-reason", &note.reason);
    }
    if note.fallback {
        set("x-ingle-fallback", "true");
    }
    if let Some(confidence) = confidence(note) {
        set("x-ingle-confidence", &confidence);
    }
    if let Some(cost) = &note.cost {
        set("x-ingle-cost", &cost.to_string());
    }
}

/// The probability, or that there is none.
fn confidence(note: &Note) -> Option<String> {
    let confidence = note.confidence.as_ref()?;
    Some(match confidence.calibrated {
        true => format!("{:.3}", confidence.probability),
        false => "uncalibrated".into(),
    })
}

/// The same for the end of an answer that is streamed, where a client's dialect lets other fields be.
pub(crate) fn told(note: &Note, request: &str) -> Value {
    json!({
        "request": request, "route": note.route.word(), "model": note.model, "reason": note.reason,
        "fallback": note.fallback, "confidence": note.confidence.as_ref().map(|confidence| json!({
            "probability": confidence.probability, "calibrated": confidence.calibrated,
            "outcomes": confidence.sample_size, "error": confidence.error,
        })),
        "cost": note.cost.as_ref().map(|cost| cost.decimal()),
        "currency": note.cost.as_ref().map(|cost| cost.currency.code()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_gateway::confidence::Confidence;
    use ingle_gateway::ledger::{Currency, Money, Route};

    #[test]
    fn a_header_is_one_plain_line() {
        let note = Note {
            route: Route::Local,
            model: "m".into(),
            reason: "failed:\r\nset-cookie: a=\u{e9}".into(),
            fallback: true,
            confidence: Some(Confidence::uncalibrated(0.3)),
            cost: Some(Money::zero(Currency::USD)),
        };
        let mut map = HeaderMap::new();
        headers(&note, &mut map);
        assert_eq!(map["x-ingle-reason"], "failed:??set-cookie: a=?");
        assert_eq!(map["x-ingle-confidence"], "uncalibrated");
        assert_eq!(map["x-ingle-cost"], "0.00 USD");
        assert_eq!(map["x-ingle-fallback"], "true");
        assert!(!map.contains_key("set-cookie"));
    }
}
