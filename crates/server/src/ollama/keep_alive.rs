//! How long a model stays in memory: `keep_alive`, in the durations of Go.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::served::Served;
use serde_json::Value;
use std::time::Duration;

/// How long a model stays in memory after its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long; nothing: it goes at once.
    For(Duration),
    /// Until the server ends, or somebody else needs the room.
    Forever,
}

impl KeepAlive {
    /// Not at all.
    pub const NOT: Self = Self::For(Duration::ZERO);

    /// Of a text: a duration as `5m` or `1h30m`, or seconds as `300`; anything negative is forever.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let nanos = match text.parse::<u64>() {
            Ok(seconds) => u128::from(seconds) * 1_000_000_000,
            Err(_) => nanoseconds(text)?,
        };
        Some(match (negative, nanos) {
            (_, 0) => Self::For(Duration::ZERO),
            (true, _) => Self::Forever,
            (false, nanos) => u64::try_from(nanos).map_or(Self::Forever, |nanos| {
                Self::For(Duration::from_nanos(nanos))
            }),
        })
    }

    /// From now on the model stays so long, if a request says how long.
    pub fn apply(wanted: Option<Self>, model: &Served) {
        match wanted {
            None => {}
            Some(Self::For(time)) => model.keep_alive.set(Some(time)),
            Some(Self::Forever) => model.keep_alive.set(None),
        }
    }

    fn of_seconds(seconds: f64) -> Self {
        if seconds < 0.0 {
            return Self::Forever;
        }
        Duration::try_from_secs_f64(seconds).map_or(Self::Forever, Self::For)
    }

    /// The field of a request: a number of seconds or a text.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Option<Self>, ApiError> {
        let what = "a number of seconds or a duration, as 300, \"5m\", 0 or -1";
        let Some(value) = fields.get("keep_alive") else {
            return Ok(None);
        };
        let read = match value {
            Value::Number(number) => number.as_f64().map(Self::of_seconds),
            Value::String(text) => Self::parse(text),
            _ => None,
        };
        read.map(Some)
            .ok_or_else(|| wrong("keep_alive", what, value))
    }
}

/// The sum of numbers with units, as `1h2.5s`.
fn nanoseconds(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (mut rest, mut sum) = (text, 0_u128);
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(times(number, *unit)?)?;
        rest = after;
    }
    Some(sum)
}

/// A decimal number of units; what is smaller than a nanosecond is cut.
fn times(number: &str, unit: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let read = |digits: &str| match digits {
        "" => Some(0),
        digits => digits.parse::<u64>().ok().map(u128::from),
    };
    let part = part.get(..part.len().min(18))?;
    let power = u32::try_from(part.len()).ok()?;
    let whole = read(whole)?.checked_mul(unit)?;
    whole.checked_add(read(part)?.checked_mul(unit)? / 10_u128.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn durations_are_those_of_go() {
        let ms = |n| Some(KeepAlive::For(Duration::from_millis(n)));
        let cases = [
            ("5m", ms(300_000)),
            ("1h30m", ms(5_400_000)),
            ("1.5h", ms(5_400_000)),
            ("300ms", ms(300)),
            (".5s", ms(500)),
            ("1m2.250s", ms(62_250)),
            ("0", ms(0)),
            ("-0s", ms(0)),
            ("0s", ms(0)),
            ("+3s", ms(3000)),
            ("300", ms(300_000)),
            ("-1", Some(KeepAlive::Forever)),
            ("-1s", Some(KeepAlive::Forever)),
            ("9999999999h", Some(KeepAlive::Forever)),
            ("", None),
            ("-", None),
            ("m", None),
            (".s", None),
            ("5 m", None),
            ("5x", None),
            ("1h5", None),
            ("1..5s", None),
        ];
        for (text, want) in cases {
            assert_eq!(KeepAlive::parse(text), want, "{text}");
        }
    }

    #[test]
    fn the_field_is_a_number_or_a_text() {
        let read = |value: Value| {
            let body = json!({ "keep_alive": value });
            KeepAlive::read(&Fields::of_body(&body).unwrap()).map_err(|e| e.param.unwrap())
        };
        let seconds = |n| Ok(Some(KeepAlive::For(Duration::from_secs_f64(n))));
        assert_eq!(read(json!(null)), Ok(None));
        assert_eq!(read(json!(0)), seconds(0.0));
        assert_eq!(read(json!(2.5)), seconds(2.5));
        assert_eq!(read(json!(-1)), Ok(Some(KeepAlive::Forever)));
        assert_eq!(read(json!(1e300)), Ok(Some(KeepAlive::Forever)));
        assert_eq!(read(json!("10m")), seconds(600.0));
        for bad in [json!("soon"), json!(true), json!([1])] {
            assert_eq!(read(bad), Err("keep_alive".to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.hmsnuµ ]{0,12}") {
            let _ = KeepAlive::parse(&text);
        }

        #[test]
        fn sums_add_up(h in 0_u64..100, m in 0_u64..100, s in 0_u64..100) {
            let want = Duration::from_secs(h * 3600 + m * 60 + s);
            prop_assert_eq!(KeepAlive::parse(&format!("{h}h{m}m{s}s")), Some(KeepAlive::For(want)));
        }
    }
}
