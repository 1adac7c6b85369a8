//! Constants, bounds and counts.

use super::super::ConstraintError;
use super::walk::{Checked, Made};
use super::{at, refuse};
use serde_json::{Map, Number, Value};

/// Up to here every integer is an f64.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The most that is counted to: a grammar grows with it.
const MAX_COUNT: u64 = 100_000;

/// A number that is computed with exactly.
fn exact(value: &Value, path: &str) -> Result<f64, ConstraintError> {
    let Some(number) = value.as_f64() else {
        return Err(refuse(path, "it must be a number"));
    };
    if number.abs() >= EXACT || (number != 0.0 && number.abs() < 1e-9) {
        let why = "this number has more digits than can be kept to exactly; use one between 1e-9 and 2^53";
        return Err(refuse(path, why));
    }
    Ok(number)
}

/// As an integer where it is one, as `2.0` is.
fn plain(number: f64) -> Value {
    match number.fract() == 0.0 {
        true => (number as i64).into(),
        false => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

/// `const` and `enum`.
pub(super) fn constant(keyword: &str, value: &Value, path: &str) -> Checked {
    if keyword == "const" {
        return same(value, path);
    }
    let Value::Array(values) = value else {
        return Err(refuse(path, "it must be a list of values"));
    };
    if values.is_empty() {
        return Err(refuse(path, "the list is empty, so nothing is valid"));
    }
    let one = |(i, value): (usize, &Value)| same(value, &at(path, &i.to_string()));
    let all: Result<Vec<Value>, _> = values.iter().enumerate().map(one).collect();
    all.map(Value::from)
}

/// A value that is to be written just so.
fn same(value: &Value, path: &str) -> Checked {
    Ok(match value {
        Value::Number(_) => plain(exact(value, path)?),
        Value::Array(items) => {
            let all: Result<Vec<Value>, _> = items.iter().map(|item| same(item, path)).collect();
            all?.into()
        }
        Value::Object(map) => {
            let one = |(k, v): (&String, &Value)| Ok((k.clone(), same(v, path)?));
            let all: Result<Map<String, Value>, _> = map.iter().map(one).collect();
            all?.into()
        }
        other => other.clone(),
    })
}

/// Bounds of numbers. Draft 4 has words where later ones have numbers.
pub(super) fn bound(
    map: &Map<String, Value>,
    keyword: &str,
    value: &Value,
    path: &str,
    made: &mut Made,
) -> Result<(), ConstraintError> {
    let strict = match keyword {
        "minimum" => map.get("exclusiveMinimum"),
        "maximum" => map.get("exclusiveMaximum"),
        _ => None,
    };
    let word = |name| match name {
        "minimum" => "exclusiveMinimum",
        _ => "exclusiveMaximum",
    };
    match value {
        Value::Bool(_) if keyword.starts_with("exclusive") => return Ok(()),
        _ => {}
    }
    let number = exact(value, path)?;
    if keyword == "multipleOf" && number <= 0.0 {
        return Err(refuse(path, "it must be more than 0"));
    }
    // Most validators divide in binary, where 8.7 is no multiple of 0.01.
    if keyword == "multipleOf" && (number * 1024.0).fract() != 0.0 {
        let why = "validators do not agree on multiples of this fraction; use a multiple of 1/1024, or count in the smallest unit";
        return Err(refuse(path, why));
    }
    let keyword = match strict {
        Some(Value::Bool(true)) => word(keyword),
        _ => keyword,
    };
    made.set(keyword, plain(number));
    Ok(())
}

/// How many.
pub(super) fn count(value: &Value, path: &str) -> Result<u64, ConstraintError> {
    let number = value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0);
    let Some(number) = number else {
        return Err(refuse(path, "it must be a number of 0, 1, 2 and so on"));
    };
    if number > MAX_COUNT as f64 {
        return Err(refuse(path, &format!("at most {MAX_COUNT} can be kept to")));
    }
    Ok(number as u64)
}
