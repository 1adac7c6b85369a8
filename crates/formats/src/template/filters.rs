//! The filters of Jinja2 that make sense for text, with `tojson` as transformers sets it.
//!
//! Source: the Jinja2 documentation, "List of Builtin Filters".
use super::access;
use super::call::{self, Args};
use super::checks;
use super::error::{Run, failed};
use super::json::{self, Style};
use super::meter::{Meter, Text};
use super::methods;
use super::number::int_to_float;
use super::ops;
use super::sequences;
use super::text;
use super::value::Value;

/// `value | name(args)`.
pub(super) fn call(meter: &mut Meter, name: &str, value: &Value, args: Args) -> Run<Value> {
    meter.enter()?;
    let result = match name {
        "tojson" => to_json(meter, value, args),
        "default" | "d" => default(value, args),
        "length" | "count" => length(meter, value, args),
        "int" | "float" | "abs" | "round" => numeric(meter, name, value, args),
        "attr" => {
            let [name] = args.bind("attr", ["name"])?;
            let name = name.unwrap_or(Value::None);
            access::only_attribute(meter, value, call::text(&name)?)
        }
        "string" | "safe" | "upper" | "lower" | "capitalize" | "title" | "trim" | "replace"
        | "indent" | "center" | "truncate" | "wordcount" | "format" | "escape" | "e"
        | "forceescape" | "urlencode" | "striptags" => textual(meter, name, value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => select(meter, name, value, args),
        "map" => map(meter, value, args),
        _ => sequences::call(meter, name, value, args),
    };
    meter.leave();
    result
}

fn to_json(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = args.bind("tojson", names)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text.to_string()),
        other => {
            let width = call::size_or(other, 0)?;
            let mut out = Text::new(meter);
            out.repeat(" ", width)?;
            Some(out.finish())
        }
    };
    let between = if indent.is_some() { "," } else { ", " };
    let separators = match separators {
        None | Some(Value::None) => (between.to_owned(), ": ".to_owned()),
        Some(value) => match value.items(meter)?.as_slice() {
            [Value::Str(items), Value::Str(keys)] => (items.to_string(), keys.to_string()),
            _ => return failed("separators must be two strings"),
        },
    };
    let style = Style {
        ensure_ascii: call::flag_or(ensure_ascii, false),
        indent,
        separators,
        sort_keys: call::flag_or(sort_keys, false),
    };
    json::to_json(meter, value, &style)
}

fn default(value: &Value, args: Args) -> Run<Value> {
    let [default, falsy] = args.bind("default", ["default_value", "boolean"])?;
    let replaced =
        matches!(value, Value::Undefined(_)) || (call::flag_or(falsy, false) && !value.is_true());
    Ok(match replaced {
        true => default.unwrap_or_else(|| Value::Str("".into())),
        false => value.clone(),
    })
}

fn length(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [] = args.bind("length", [])?;
    match value.len(meter)? {
        Some(length) => Ok(Value::Int(i128::try_from(length).unwrap_or(i128::MAX))),
        None => failed(format!(
            "object of type '{}' has no len()",
            value.type_name()
        )),
    }
}

fn numeric(meter: &mut Meter, name: &str, value: &Value, args: Args) -> Run<Value> {
    if let Value::Undefined(what) = value {
        return failed(format!("{what} is undefined"));
    }
    if let Value::Str(text) = value {
        meter.memory(text.len())?;
    }
    match name {
        "int" => {
            let [default, base] = args.bind("int", ["default", "base"])?;
            let base = u32::try_from(call::int_or(base, 10)?).ok();
            let Some(base) = base.filter(|base| (2..=36).contains(base)) else {
                return failed("int base must be from 2 to 36");
            };
            Ok(ops::to_int(value, base).map_or(default.unwrap_or(Value::Int(0)), Value::Int))
        }
        "float" => {
            let [default] = args.bind("float", ["default"])?;
            Ok(ops::to_float(value).map_or(default.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        "abs" => {
            let [] = args.bind("abs", [])?;
            match (value, value.as_int()) {
                (Value::Float(value), _) => Ok(Value::Float(value.abs())),
                (_, Some(int)) => Ok(Value::Int(int.saturating_abs())),
                _ => failed(format!(
                    "bad operand type for abs(): '{}'",
                    value.type_name()
                )),
            }
        }
        _ => round(value, args),
    }
}

fn round(value: &Value, args: Args) -> Run<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = call::int_or(precision, 0)?.clamp(-300, 300);
    let method = method.unwrap_or_else(|| Value::Str("common".into()));
    let Some(float) = value.as_float() else {
        return failed(format!(
            "a value of type '{}' cannot be rounded",
            value.type_name()
        ));
    };
    let scale = 10f64.powf(int_to_float(precision));
    let rounded = match call::text(&method)? {
        "ceil" => (float * scale).ceil() / scale,
        "floor" => (float * scale).floor() / scale,
        "common" => match usize::try_from(precision) {
            // The formatter rounds the exact value, ties to even, as Python does.
            Ok(places) => format!("{float:.places$}").parse().unwrap_or(float),
            Err(_) => (float * scale).round_ties_even() / scale,
        },
        _ => return failed("method must be common, ceil or floor"),
    };
    match (value.as_int(), call::text(&method)?) {
        (Some(int), "common") if precision >= 0 => Ok(Value::Int(int)),
        (Some(_), "common") => {
            Ok(ops::to_int(&Value::Float(rounded), 10).map_or(Value::None, Value::Int))
        }
        _ => Ok(Value::Float(rounded)),
    }
}

fn textual(meter: &mut Meter, name: &str, value: &Value, args: Args) -> Run<Value> {
    if name == "format" {
        let pattern = methods::text_of(meter, value)?;
        let right = match args.named.is_empty() {
            true => Value::tuple(meter, args.positional)?,
            false => {
                let pairs = args
                    .named
                    .into_iter()
                    .map(|(name, value)| (Value::Str(name.as_ref().into()), value));
                Value::Dict(super::value::Dict::new(meter, pairs)?)
            }
        };
        return super::format::percent(meter, &pattern, &right);
    }
    if name == "indent" {
        call::text(value)?;
    }
    let s = methods::text_of(meter, value)?;
    match name {
        "trim" => {
            let (name, value) = ("strip", Value::Str(s.into()));
            methods::call(meter, &value, name, args)
        }
        "replace" => {
            let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
            let (Some(old), Some(new)) = (old, new) else {
                return failed("replace expects two strings");
            };
            let (old, new) = (
                methods::text_of(meter, &old)?,
                methods::text_of(meter, &new)?,
            );
            let count = usize::try_from(call::int_or(count, -1)?).ok();
            text::replace(meter, &s, &old, &new, count)
        }
        "indent" => indent(meter, &s, args),
        "truncate" => truncate(meter, value, &s, args),
        "center" => {
            let [width] = args.bind("center", ["width"])?;
            let width = width.unwrap_or(Value::Int(80));
            let args = Args {
                positional: vec![width],
                named: Vec::new(),
            };
            methods::call(meter, &Value::Str(s.into()), "center", args)
        }
        _ => {
            let [] = args.bind(name, [])?;
            plain_text(meter, name, &s)
        }
    }
}

/// The filters of text without arguments.
fn plain_text(meter: &mut Meter, name: &str, s: &str) -> Run<Value> {
    match name {
        "upper" => meter.text(&s.to_uppercase()),
        "lower" => meter.text(&s.to_lowercase()),
        "capitalize" => meter.text(&text::capitalized(s)),
        "title" => meter.text(&title(s)),
        "wordcount" => {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let count = s
                .split(|c| !word(c))
                .filter(|word| !word.is_empty())
                .count();
            Ok(Value::Int(i128::try_from(count).unwrap_or(i128::MAX)))
        }
        "escape" | "e" | "forceescape" => {
            let mut out = Text::new(meter);
            for c in s.chars() {
                match c {
                    '&' => out.push("&amp;")?,
                    '<' => out.push("&lt;")?,
                    '>' => out.push("&gt;")?,
                    '\'' => out.push("&#39;")?,
                    '"' => out.push("&#34;")?,
                    c => out.push_char(c)?,
                }
            }
            Ok(Value::Str(out.finish().into()))
        }
        "urlencode" => {
            let mut out = Text::new(meter);
            for byte in s.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                        out.push_char(char::from(byte))?;
                    }
                    byte => out.push(&format!("%{byte:02X}"))?,
                }
            }
            Ok(Value::Str(out.finish().into()))
        }
        "striptags" => failed("the filter 'striptags' is not for prompts"),
        _ => meter.text(s),
    }
}

/// Words in lower case with their first letter in upper case; a word ends at a space, a hyphen or an
/// opening bracket.
fn title(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut starts = true;
    for c in s.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = c == '-' || super::lexer::is_space(c) || "({[<".contains(c);
    }
    out
}

fn indent(meter: &mut Meter, s: &str, args: Args) -> Run<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let mut out = Text::new(meter);
    let prefix = match width {
        Some(Value::Str(text)) => text.to_string(),
        other => {
            let width = call::size_or(other, 4)?;
            out.meter.memory(width)?;
            " ".repeat(width)
        }
    };
    let blank = call::flag_or(blank, false);
    if call::flag_or(first, false) {
        out.push(&prefix)?;
    }
    // One line break more than the text has, as Jinja2 does it, so that a last empty line counts.
    let with_end = format!("{s}\n");
    for (index, line) in text::lines(&with_end, false).into_iter().enumerate() {
        if index > 0 {
            out.push("\n")?;
            if blank || !line.is_empty() {
                out.push(&prefix)?;
            }
        }
        out.push(line)?;
    }
    Ok(Value::Str(out.finish().into()))
}

fn truncate(meter: &mut Meter, value: &Value, s: &str, args: Args) -> Run<Value> {
    let names = ["length", "killwords", "end", "leeway"];
    let [length, kill_words, end, leeway] = args.bind("truncate", names)?;
    let length = call::size_or(length, 255)?;
    let leeway = call::size_or(leeway, 5)?;
    let end = call::text_or(meter, end, "...")?;
    let end_length = end.chars().count();
    if length < end_length {
        return failed("truncate: the length is smaller than the end");
    }
    match value.len(meter)? {
        Some(count) if count <= length.saturating_add(leeway) => return Ok(value.clone()),
        _ => call::text(value)?,
    };
    let kept: String = s.chars().take(length.saturating_sub(end_length)).collect();
    let kept = match call::flag_or(kill_words, false) {
        true => kept.as_str(),
        false => kept
            .rsplit_once(' ')
            .map_or(kept.as_str(), |(kept, _)| kept),
    };
    meter.text(&format!("{kept}{end}"))
}

/// The items of a value; none for one that is false, such as `none`.
fn items_if_any(meter: &mut Meter, value: &Value) -> Run<Vec<Value>> {
    if value.is_true() {
        value.items(meter)
    } else {
        Ok(Vec::new())
    }
}

/// `select`, `reject`, `selectattr` and `rejectattr`.
fn select(meter: &mut Meter, name: &str, value: &Value, mut args: Args) -> Run<Value> {
    let by_attribute = name.ends_with("attr");
    let wanted = name.starts_with("select");
    let attribute = match by_attribute {
        true if args.positional.is_empty() => {
            return failed(format!("{name} expects the name of an attribute"));
        }
        true => Some(args.positional.remove(0)),
        false => None,
    };
    let test = match args.positional.is_empty() {
        true => None,
        false => Some(args.positional.remove(0)),
    };
    let mut kept = Vec::new();
    for item in items_if_any(meter, value)? {
        let looked_at = match &attribute {
            Some(attribute) => access::path(meter, &item, attribute)?,
            None => item.clone(),
        };
        let holds = match &test {
            Some(test) => checks::call(meter, call::text(test)?, &looked_at, &args.positional)?,
            None => looked_at.is_true(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    Value::iter(meter, kept)
}

/// `map('filter', ...)` or `map(attribute='name', default=...)`.
fn map(meter: &mut Meter, value: &Value, mut args: Args) -> Run<Value> {
    let items = items_if_any(meter, value)?;
    let mut mapped = Vec::new();
    if args.positional.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let Some(attribute) = attribute else {
            return failed("map requires a filter argument");
        };
        for item in items {
            let found = access::path(meter, &item, &attribute)?;
            mapped.push(match (&found, &default) {
                (Value::Undefined(_), Some(default)) => default.clone(),
                _ => found,
            });
        }
    } else {
        let filter = args.positional.remove(0);
        for item in items {
            let args = Args {
                positional: args.positional.clone(),
                named: args.named.clone(),
            };
            mapped.push(call(meter, call::text(&filter)?, &item, args)?);
        }
    }
    Value::iter(meter, mapped)
}
