//! Metadata values for people and for JSON. A vocabulary of 150,000 pieces is shown by its first few.

use crate::out;
use ingle::formats::gguf::{Array, Value};
use serde_json::json;

/// Elements of an array that are shown.
const SHOWN: usize = 6;
/// Characters of a text that are shown to people; JSON has all of them.
const WIDTH: usize = 100;

/// One line for people.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => shorten(text),
        Value::Array(array) => {
            let rest = if array.len() > SHOWN { ", ..." } else { "" };
            let shown: Vec<String> = first(array)
                .iter()
                .map(|v| shorten(&v.to_string()))
                .collect();
            format!("{} values: {}{rest}", array.len(), shown.join(", "))
        }
        scalar => json(scalar).to_string(),
    }
}

/// The value; of an array its length and first elements.
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => shortest(*v),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Array(array) => json!({ "length": array.len(), "first": first(array) }),
    }
}

fn first(array: &Array) -> Vec<serde_json::Value> {
    fn some<T: serde::Serialize>(values: &[T]) -> Vec<serde_json::Value> {
        values.iter().take(SHOWN).map(|v| json!(v)).collect()
    }
    match array {
        Array::U8(v) => some(v),
        Array::I8(v) => some(v),
        Array::U16(v) => some(v),
        Array::I16(v) => some(v),
        Array::U32(v) => some(v),
        Array::I32(v) => some(v),
        Array::F32(v) => v.iter().take(SHOWN).map(|v| shortest(*v)).collect(),
        Array::Bool(v) => some(v),
        Array::U64(v) => some(v),
        Array::I64(v) => some(v),
        Array::F64(v) => some(v),
        Array::Strings(v) => v.iter().take(SHOWN).map(|s| json!(s)).collect(),
        Array::Arrays(v) => v
            .iter()
            .take(SHOWN)
            .map(|a| json!({ "length": a.len() }))
            .collect(),
    }
}

/// Through text: 1e-5 stays 1e-5 and does not become the f64 nearest to it.
fn shortest(v: f32) -> serde_json::Value {
    v.to_string().parse().unwrap_or(serde_json::Value::Null)
}

fn shorten(text: &str) -> String {
    let mut line: String = out::plain(text).chars().take(WIDTH).collect();
    if text.chars().count() > WIDTH {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_shown_short() {
        assert_eq!(text(&"a\nb\u{1b}[2J".into()), "a\\nb\\u{1b}[2J");
        assert_eq!(text(&"x".repeat(200).into()).len(), WIDTH + 3);
        assert_eq!(text(&1e-5_f32.into()), "0.00001");
        let pieces: Vec<String> = (0..9).map(|i| format!("p{i}")).collect();
        let pieces = Value::from(pieces);
        assert_eq!(
            text(&pieces),
            r#"9 values: "p0", "p1", "p2", "p3", "p4", "p5", ..."#
        );
        assert_eq!(json(&pieces)["length"], 9);
        assert_eq!(
            json(&vec![1_u32, 2].into()),
            json!({ "length": 2, "first": [1, 2] })
        );
    }
}
