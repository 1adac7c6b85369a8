//! How long a model stays loaded when nobody uses it, as people write it.

use std::time::Duration;

/// A time, or until its memory is wanted.
pub type KeepAlive = Option<Duration>;

/// The longest time that is not for ever.
const MOST: f64 = 365.0 * 86_400.0;

/// `90`, `90s`, `5m`, `1h30m`, `24h`; `forever` or a negative number: until its memory is wanted.
///
/// # Errors
/// What would be understood.
pub fn parse(text: &str) -> Result<KeepAlive, String> {
    let wrong =
        || format!("`{text}` is no time; write 90, 90s, 5m, 1h30m, 0 for not at all, or forever");
    let text = text.trim();
    if text == "forever" {
        return Ok(None);
    }
    if text.starts_with('-') {
        let rest = text.trim_start_matches('-');
        let number = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        return number.parse::<f64>().map(|_| None).map_err(|_| wrong());
    }
    let (mut seconds, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "" if after.is_empty() && rest == text => 1.0,
            "s" => 1.0,
            "ms" => 0.001,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        seconds += number.parse::<f64>().map_err(|_| wrong())? * unit;
        rest = after;
    }
    if text.is_empty() || !(0.0..=MOST).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Some(Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let seconds = |n| Ok(Some(Duration::from_secs(n)));
        assert_eq!(parse("90"), seconds(90));
        assert_eq!(parse("0"), seconds(0));
        assert_eq!(parse("1h30m"), seconds(5400));
        assert_eq!(parse("1.5m"), seconds(90));
        assert_eq!(parse("500ms"), Ok(Some(Duration::from_millis(500))));
        for forever in ["forever", "-1", "-1m"] {
            assert_eq!(parse(forever), Ok(None), "{forever}");
        }
        for wrong in [
            "", "m", "5x", "5m3", "-", "1e9d", "999999h", "5 m", "..", "é",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
