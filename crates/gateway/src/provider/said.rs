//! What a provider says when it says no: for people to read, so never with the key in it.

use std::time::Duration;

use ingle_egress::Head;
use serde_json::Value;

use super::error::Fault;
use super::settings::{Key, Provider};
use super::wire::error_message;

/// Characters that are shown.
const SHOWN: usize = 300;
/// Characters of a key in a row that give something of it away.
const TELLING: usize = 8;

/// Without control characters, and cut where it is long.
pub(super) fn plain(text: &str) -> String {
    ingle_egress::plain(text, SHOWN)
}

/// What a status that says no means, with what stands behind it. `again`: it does not say that it would say so
/// again.
pub(super) fn no(
    status: u16,
    body: &[u8],
    provider: &Provider,
    after: Option<Duration>,
    again: bool,
) -> Fault {
    let (message, code) = message(body, provider);
    let spent = code.as_deref() == Some("insufficient_quota");
    let busy = match status {
        504 | 520 | 524 => true,
        408 | 429 | 500..=599 => again && !spent,
        _ => false,
    };
    match busy {
        true => Fault::Busy {
            status,
            after,
            message,
        },
        false => Fault::Refused { status, message },
    }
}

/// What a refusal that was recorded means.
pub fn refusal(status: u16, body: &[u8], provider: &Provider) -> Fault {
    match status {
        // What it says may hold the key.
        401 | 403 => Fault::KeyRefused { status },
        _ => no(status, body, provider, None, true),
    }
}

/// The message and the code of a refusal's body.
pub(super) fn message(body: &[u8], provider: &Provider) -> (String, Option<String>) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = body.get("error");
    let code = error
        .and_then(|error| error.get("code"))
        .and_then(Value::as_str);
    let message = error_message(&body).unwrap_or("it gives no reason");
    (clean(message, provider), code.map(str::to_owned))
}

/// A text of a provider, without its key.
pub(super) fn clean(text: &str, provider: &Provider) -> String {
    let text: String = text.chars().take(4 * SHOWN).collect();
    match &provider.settings.key {
        Key::Given(key) => plain(&without(&text, key.reveal())),
        Key::None | Key::Missing(_) => plain(&text),
    }
}

/// `text` with `[key]` where a good part of `key` stood.
fn without(text: &str, key: &str) -> String {
    let least = key.len().clamp(1, TELLING);
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let part = rest.get(..least).filter(|part| key.contains(part));
        match part {
            None => {
                kept.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
            Some(part) => {
                // As far as it goes on.
                let longer = (least..=key.len().min(rest.len()))
                    .rev()
                    .filter_map(|end| rest.get(..end))
                    .find(|part| key.contains(part));
                let length = longer.unwrap_or(part).len();
                kept.push_str("[key]");
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    kept
}

/// How long a server wants to be left alone: `Retry-After` in seconds or as a date (RFC 9110, section
/// 10.2.3; then counted from its own `Date`), or OpenAI's `retry-after-ms`.
pub(super) fn retry_after(head: &Head) -> Option<Duration> {
    let number = |text: &str, unit: f64| {
        let number: f64 = text.trim().parse().ok()?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    if let Some(millis) = head.header("retry-after-ms") {
        return number(millis, 0.001);
    }
    let said = head.header("retry-after")?;
    number(said, 1.0).or_else(|| {
        let (then, now) = (seconds(said)?, seconds(head.header("date")?)?);
        Some(Duration::from_secs(then.saturating_sub(now)))
    })
}

/// Seconds since 1970 of an HTTP date in its usual form: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.trim().split_once(", ")?;
    let rest = rest.strip_suffix(" GMT")?;
    let fields: Vec<&str> = rest.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second] = fields.as_slice() else {
        return None;
    };
    let month = MONTHS.iter().position(|name| name == month)? as u64 + 1;
    let number = |text: &str, most: u64| text.parse().ok().filter(|n: &u64| *n <= most);
    let (day, year) = (number(day, 31)?, number(year, 9999).filter(|y| *y >= 1970)?);
    let (hour, minute, second) = (number(hour, 23)?, number(minute, 59)?, number(second, 60)?);
    // Days from March on, so that the leap day is the last of its year.
    let (y, m) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day.checked_sub(1)?;
    let since = days.checked_sub(719_468)?;
    Some(since * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::settings::{Dialect, ProviderSettings, Secret};
    use crate::provider::tests::model;
    use proptest::prelude::*;

    fn provider(key: &str) -> Provider {
        let mut settings = ProviderSettings::new("p", Dialect::OpenAi, "https://cloud.example");
        settings.key = Key::Given(Secret::new(key));
        settings.models = vec![model("m")];
        Provider::new(settings).unwrap()
    }

    #[test]
    fn a_key_is_cut_out_of_whatever_a_server_says() {
        let provider = provider("sk-proj-abcdefghij0123456789");
        for (said, shown) in [
            ("bad key sk-proj-abcdefghij0123456789!", "bad key [key]!"),
            ("key ***ghij0123456789", "key ***[key]"),
            ("sk-proj-abc...", "[key]..."),
            ("sk-proj-sk-proj-a", "[key][key]"),
            ("nothing of it: sk-proj", "nothing of it: sk-proj"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            assert_eq!(clean(said, &provider), shown);
        }
        let body = br#"{"error": {"message": "no sk-proj-abcdefghij0123456789", "code": "c"}}"#;
        assert_eq!(
            message(body, &provider),
            ("no [key]".into(), Some("c".into()))
        );
        for body in [
            "{\"error\": \"why\"}",
            "{\"message\": \"why\"}",
            "{\"detail\": \"why\"}",
        ] {
            assert_eq!(message(body.as_bytes(), &provider).0, "why");
        }
        assert_eq!(message(b"<html>", &provider).0, "it gives no reason");
    }

    #[test]
    fn dates_are_seconds() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(
            seconds("Thu, 29 Feb 2024 23:59:59 GMT"),
            Some(1_709_251_199)
        );
        for wrong in [
            "",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 00 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_key_is_left(before: String, cut in 0_usize..20, after: String) {
            let key = "sk-0aZ9bY8cX7dW6eV5f";
            let told = format!("{before}{}{after}", &key[..cut]);
            let cleaned = clean(&told, &provider(key));
            for part in key.as_bytes().windows(TELLING) {
                prop_assert!(!cleaned.contains(std::str::from_utf8(part).unwrap()));
            }
        }

        #[test]
        fn any_date_is_read_or_refused(text: String) {
            let _ = seconds(&text);
        }
    }
}
