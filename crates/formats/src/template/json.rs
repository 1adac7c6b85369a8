//! JSON in, and JSON out as Python's `json.dumps` writes it.
use std::sync::Arc;

use serde_json::Value as Json;

use super::error::{Run, failed};
use super::meter::{Meter, Text};
use super::number::float_repr;
use super::ops::sorted;
use super::value::{Dict, Value};

/// A parsed JSON value as a value of the template; objects keep their order.
pub(super) fn from_json(meter: &mut Meter, json: &Json) -> Run<Value> {
    meter.enter()?;
    let value = match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Value::Int(value.into()),
            (_, Some(value), _) => Value::Int(value.into()),
            (.., Some(value)) => Value::Float(value),
            _ => Value::None,
        },
        Json::String(text) => meter.text(text)?,
        Json::Array(items) => {
            let items: Run<Vec<Value>> = items.iter().map(|item| from_json(meter, item)).collect();
            Value::list(meter, items?)?
        }
        Json::Object(entries) => {
            let mut items = Vec::new();
            for (key, item) in entries {
                items.push((Value::Str(Arc::from(key.as_str())), from_json(meter, item)?));
            }
            Value::Dict(Dict::new(meter, items)?)
        }
    };
    meter.leave();
    Ok(value)
}

/// How many bytes of text the JSON value holds, roughly.
pub(super) fn size(json: &Json) -> u64 {
    match json {
        Json::String(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        Json::Array(items) => items.iter().map(size).fold(8, u64::saturating_add),
        Json::Object(entries) => entries
            .iter()
            .map(|(key, item)| size(item).saturating_add(u64::try_from(key.len()).unwrap_or(0)))
            .fold(8, u64::saturating_add),
        _ => 8,
    }
}

/// The options of `tojson`.
pub(super) struct Style {
    pub(super) ensure_ascii: bool,
    /// What one level of indentation is; on one line when absent.
    pub(super) indent: Option<String>,
    /// Between items, and between key and value.
    pub(super) separators: (String, String),
    pub(super) sort_keys: bool,
}

/// `json.dumps(value)`.
pub(super) fn to_json(meter: &mut Meter, value: &Value, style: &Style) -> Run<Value> {
    let mut out = Text::new(meter);
    write(&mut out, value, style, 0)?;
    Ok(Value::Str(Arc::from(out.finish())))
}

fn write(out: &mut Text<'_>, value: &Value, style: &Style, level: usize) -> Run<()> {
    out.meter.enter()?;
    match value {
        Value::None => out.push("null")?,
        Value::Bool(true) => out.push("true")?,
        Value::Bool(false) => out.push("false")?,
        Value::Int(value) => out.push(&value.to_string())?,
        Value::Float(value) => out.push(&float(*value))?,
        Value::Str(text) => write_string(out, text, style.ensure_ascii)?,
        Value::List(seq) | Value::Tuple(seq) => {
            let inside = level.saturating_add(1);
            for (index, item) in seq.items.iter().enumerate() {
                out.push(if index == 0 { "[" } else { &style.separators.0 })?;
                line(out, style, inside)?;
                write(out, item, style, inside)?;
            }
            close(out, style, level, seq.items.is_empty(), ["[", "]"])?;
        }
        Value::Dict(dict) => {
            let mut entries = dict.entries().to_vec();
            if style.sort_keys {
                entries = sorted(out.meter, entries, |entry| Ok(entry.0.clone()), false)?;
            }
            let inside = level.saturating_add(1);
            for (index, (key, item)) in entries.iter().enumerate() {
                out.push(if index == 0 { "{" } else { &style.separators.0 })?;
                line(out, style, inside)?;
                write_string(out, &key_text(key)?, style.ensure_ascii)?;
                out.push(&style.separators.1)?;
                write(out, item, style, inside)?;
            }
            close(out, style, level, entries.is_empty(), ["{", "}"])?;
        }
        other => {
            return failed(format!(
                "Object of type {} is not JSON serializable",
                other.type_name()
            ));
        }
    }
    out.meter.leave();
    Ok(())
}

/// A line break and the indentation of `level`, where there is an indentation.
fn line(out: &mut Text<'_>, style: &Style, level: usize) -> Run<()> {
    match &style.indent {
        Some(indent) => {
            out.push("\n")?;
            out.repeat(indent, level)
        }
        None => Ok(()),
    }
}

fn close(
    out: &mut Text<'_>,
    style: &Style,
    level: usize,
    empty: bool,
    [begin, end]: [&str; 2],
) -> Run<()> {
    match empty {
        true => out.push(begin)?,
        false => line(out, style, level)?,
    }
    out.push(end)
}

fn float(value: f64) -> String {
    match float_repr(value).as_str() {
        "nan" => "NaN".to_owned(),
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        text => text.to_owned(),
    }
}

fn key_text(key: &Value) -> Run<Arc<str>> {
    Ok(match key {
        Value::Str(text) => Arc::clone(text),
        Value::None => Arc::from("null"),
        Value::Bool(true) => Arc::from("true"),
        Value::Bool(false) => Arc::from("false"),
        Value::Int(value) => Arc::from(value.to_string()),
        Value::Float(value) => Arc::from(float(*value)),
        other => {
            let name = other.type_name();
            return failed(format!(
                "keys must be str, int, float, bool or None, not {name}"
            ));
        }
    })
}

fn write_string(out: &mut Text<'_>, text: &str, ensure_ascii: bool) -> Run<()> {
    out.push("\"")?;
    for c in text.chars() {
        match c {
            '"' => out.push("\\\"")?,
            '\\' => out.push("\\\\")?,
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\u{8}' => out.push("\\b")?,
            '\u{c}' => out.push("\\f")?,
            c if c < ' ' => out.push(&format!("\\u{:04x}", u32::from(c)))?,
            c if ensure_ascii && (c > '~') => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push(&format!("\\u{unit:04x}"))?;
                }
            }
            c => out.push_char(c)?,
        }
    }
    out.push("\"")
}
