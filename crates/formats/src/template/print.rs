//! How values look as text: Python's `str` and `repr`.
use super::error::Run;
use super::meter::{Meter, Text};
use super::number::float_repr;
use super::value::{Seq, Value};

/// `str(value)`.
pub(super) fn to_text(meter: &mut Meter, value: &Value) -> Run<String> {
    let mut out = Text::new(meter);
    write_text(&mut out, value)?;
    Ok(out.finish())
}

/// Appends `str(value)`.
pub(super) fn write_text(out: &mut Text<'_>, value: &Value) -> Run<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) => out.push(text),
        other => write_repr(out, other),
    }
}

/// Appends `repr(value)`.
pub(super) fn write_repr(out: &mut Text<'_>, value: &Value) -> Run<()> {
    out.meter.enter()?;
    match value {
        Value::Undefined(_) => out.push("Undefined")?,
        Value::None => out.push("None")?,
        Value::Bool(true) => out.push("True")?,
        Value::Bool(false) => out.push("False")?,
        Value::Int(value) => out.push(&value.to_string())?,
        Value::Float(value) => out.push(&float_repr(*value))?,
        Value::Str(text) => write_quoted(out, text)?,
        Value::List(seq) => write_items(out, "[", seq, "]")?,
        Value::Tuple(seq) => {
            let end = if seq.items.len() == 1 { ",)" } else { ")" };
            write_items(out, "(", seq, end)?;
        }
        Value::View(kind, seq) => {
            out.push(kind)?;
            write_items(out, "([", seq, "])")?;
        }
        Value::Dict(dict) => write_pairs(out, dict.entries().iter().map(|(k, v)| (k, v)))?,
        Value::Range(range) if range.step == 1 => {
            out.push(&format!("range({}, {})", range.start, range.stop))?;
        }
        Value::Range(range) => {
            out.push(&format!(
                "range({}, {}, {})",
                range.start, range.stop, range.step
            ))?;
        }
        Value::Namespace(ns) => {
            out.push("<Namespace ")?;
            let attributes = ns.attributes.borrow();
            let pairs: Vec<_> = attributes
                .iter()
                .map(|(k, v)| (Value::Str(k.clone()), v.clone()))
                .collect();
            drop(attributes);
            write_pairs(out, pairs.iter().map(|(k, v)| (k, v)))?;
            out.push(">")?;
        }
        Value::Macro(closure) => out.push(&format!("<Macro '{}'>", closure.code.name))?,
        Value::Iter(_) | Value::Loop(_) | Value::Function(_) | Value::Method(_) => {
            out.push(&format!("<{}>", value.type_name()))?;
        }
    }
    out.meter.leave();
    Ok(())
}

fn write_items(out: &mut Text<'_>, begin: &str, seq: &Seq, end: &str) -> Run<()> {
    out.push(begin)?;
    for (index, item) in seq.items.iter().enumerate() {
        if index > 0 {
            out.push(", ")?;
        }
        write_repr(out, item)?;
    }
    out.push(end)
}

fn write_pairs<'v>(
    out: &mut Text<'_>,
    pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
) -> Run<()> {
    out.push("{")?;
    for (index, (key, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(", ")?;
        }
        write_repr(out, key)?;
        out.push(": ")?;
        write_repr(out, value)?;
    }
    out.push("}")
}

/// A string literal of Python: single quotes unless the text has those and no double ones.
fn write_quoted(out: &mut Text<'_>, text: &str) -> Run<()> {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\\' => out.push("\\\\")?,
            c if c == quote => {
                out.push("\\")?;
                out.push_char(c)?;
            }
            c if is_printable(c) => out.push_char(c)?,
            c => {
                let code = u32::from(c);
                out.push(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                })?;
            }
        }
    }
    out.push_char(quote)
}

/// Whether Python prints the character as it is: not a control, a separator but the space, a format
/// character or one of private use. (Code points not yet assigned are printed here.)
fn is_printable(c: char) -> bool {
    let hidden = c.is_control()
        || (c != ' ' && c.is_whitespace())
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{e0001}' | '\u{e0020}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}');
    !hidden
}
