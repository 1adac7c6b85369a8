//! Numbers as Python has them: conversions, and how a float is written.

/// The nearest float.
pub(super) fn int_to_float(value: i128) -> f64 {
    match i32::try_from(value) {
        Ok(small) => f64::from(small),
        // Decimal text is rounded to the nearest float by the parser.
        Err(_) => value.to_string().parse().unwrap_or(f64::INFINITY),
    }
}

/// The integer part of a float, if it is finite and not huge.
pub(super) fn float_to_int(value: f64) -> Option<i128> {
    if !value.is_finite() || value.abs() >= 1e37 {
        return None;
    }
    format!("{:.0}", value.trunc()).parse().ok()
}

/// A float as part of a key: an integer if it is one, else its bits.
pub(super) fn float_key(value: f64) -> Result<i128, u64> {
    match float_to_int(value) {
        Some(int) if value.fract() == 0.0 => Ok(int),
        _ => Err(value.to_bits()),
    }
}

/// A float as Python's `repr` writes it: the shortest digits that give the same float, with an
/// exponent below 1e-4 and from 1e16 on.
pub(super) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_in_python() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (123456.789, "123456.789"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(float_repr(value), text);
        }
    }

    #[test]
    fn conversions_round_trip() {
        assert_eq!(int_to_float(1 << 60), 1152921504606846976.0);
        assert_eq!(float_to_int(-2.9), Some(-2));
        assert_eq!(float_to_int(1e300), None);
        assert_eq!(float_key(3.0), Ok(3));
        assert!(float_key(3.5).is_err());
    }
}
