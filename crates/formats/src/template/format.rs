//! Python's two ways to format: `'%s' % value` and `'{}'.format(value)`.
//!
//! Source: the Python library reference, "printf-style String Formatting" and "Format Specification
//! Mini-Language".
use std::iter::Peekable;
use std::str::Chars;

use super::call::Args;
use super::error::{Run, failed};
use super::meter::{Meter, Text};
use super::number::{float_repr, int_to_float};
use super::print;
use super::value::{Key, Value};

/// How one value is to be written.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    /// The character between thousands.
    group: Option<char>,
    precision: Option<usize>,
    /// The conversion, such as `d` or `s`.
    kind: Option<char>,
}

/// Digits after the point that Rust prints; more has no use.
const PRECISION: usize = 400;

/// `pattern % right`.
pub(super) fn percent(meter: &mut Meter, pattern: &str, right: &Value) -> Run<Value> {
    let mut values: Vec<Value> = match right {
        Value::Tuple(tuple) => tuple.items.clone(),
        other => vec![other.clone()],
    };
    values.reverse();
    let mut used = false;
    let mut out = Text::new(meter);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push_char(c)?;
            continue;
        }
        let mut mapped = None;
        if chars.next_if_eq(&'(').is_some() {
            let name: String = chars.by_ref().take_while(|c| *c != ')').collect();
            let Value::Dict(dict) = right else {
                return failed("format requires a mapping");
            };
            mapped = Some(match dict.get_str(&name) {
                Some(value) => value.clone(),
                None => return failed(format!("no value for %({name})")),
            });
            used = true;
        }
        let mut next = || values.pop();
        let spec = percent_spec(&mut chars, &mut next)?;
        if spec.kind == Some('%') {
            out.push("%")?;
            continue;
        }
        let Some(value) = mapped.or_else(next) else {
            return failed("not enough arguments for format string");
        };
        percent_value(&mut out, &value, spec)?;
    }
    if !values.is_empty()
        && !used
        && !matches!(
            right,
            Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_)
        )
    {
        return failed("not all arguments converted during string formatting");
    }
    Ok(Value::Str(out.finish().into()))
}

fn percent_spec(
    chars: &mut Peekable<Chars<'_>>,
    next: &mut impl FnMut() -> Option<Value>,
) -> Run<Spec> {
    let mut spec = Spec {
        align: Some('>'),
        ..Spec::default()
    };
    while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
        match flag {
            '-' => spec.align = Some('<'),
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '#' => spec.alternate = true,
            _ => spec.zero = true,
        }
    }
    if chars.next_if_eq(&'*').is_some() {
        let width = next().and_then(|value| value.as_int()).unwrap_or(0);
        if width < 0 {
            spec.align = Some('<');
        }
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    } else {
        spec.width = digits(chars).unwrap_or(0);
    }
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(digits(chars).unwrap_or(0));
    }
    chars.next_if(|c| "hlL".contains(*c));
    spec.kind = chars.next();
    if spec.kind.is_none() {
        return failed("incomplete format");
    }
    Ok(spec)
}

fn digits(chars: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let mut text = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        text.push(digit);
    }
    // A number too large to read is a width that no budget allows.
    (!text.is_empty()).then(|| text.parse().unwrap_or(usize::MAX))
}

fn percent_value(out: &mut Text<'_>, value: &Value, mut spec: Spec) -> Run<()> {
    let Some(kind) = spec.kind else { return Ok(()) };
    match kind {
        's' | 'r' | 'a' => {
            let text = if kind == 's' {
                print::to_text(out.meter, value)?
            } else {
                repr(out, value)?
            };
            spec.zero = false;
            pad(out, "", &cut(&text, spec.precision), &spec)
        }
        'c' => {
            let text = match value {
                Value::Str(text) if text.chars().count() == 1 => text.to_string(),
                other => character(other)?,
            };
            pad(out, "", &text, &spec)
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let int = match value {
                Value::Float(_) if "diu".contains(kind) => super::ops::to_int(value, 10),
                other => other.as_int(),
            };
            let Some(int) = int else {
                let name = value.type_name();
                return failed(format!("%{kind} format: a number is required, not {name}"));
            };
            let (prefix, mut text) = int_text(int, kind, spec.alternate);
            if let Some(precision) = spec.precision {
                let zeros = precision.saturating_sub(text.len());
                out.meter.memory(zeros)?;
                text = format!("{}{text}", "0".repeat(zeros));
                spec.zero = false;
            }
            pad(
                out,
                &format!("{}{prefix}", sign(int < 0, &spec)),
                &text,
                &spec,
            )
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let Some(float) = value.as_float() else {
                return failed(format!("must be real number, not {}", value.type_name()));
            };
            let text = float_text(
                float.abs(),
                kind,
                spec.precision.unwrap_or(6),
                spec.alternate,
            );
            pad(out, sign(float.is_sign_negative(), &spec), &text, &spec)
        }
        other => failed(format!("unsupported format character '{other}'")),
    }
}

fn repr(out: &mut Text<'_>, value: &Value) -> Run<String> {
    let mut inner = Text::new(out.meter);
    print::write_repr(&mut inner, value)?;
    Ok(inner.finish())
}

fn character(value: &Value) -> Run<String> {
    let code = value.as_int().and_then(|int| u32::try_from(int).ok());
    match code.and_then(char::from_u32) {
        Some(c) => Ok(c.to_string()),
        None => failed("%c requires an int in range(0x110000) or a single character"),
    }
}

fn sign(negative: bool, spec: &Spec) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

/// The prefix and the digits of an integer without its sign.
fn int_text(int: i128, kind: char, alternate: bool) -> (&'static str, String) {
    let int = int.unsigned_abs();
    let (prefix, text) = match kind {
        'x' => ("0x", format!("{int:x}")),
        'X' => ("0X", format!("{int:X}")),
        'o' => ("0o", format!("{int:o}")),
        'b' => ("0b", format!("{int:b}")),
        _ => ("", int.to_string()),
    };
    (if alternate { prefix } else { "" }, text)
}

/// A float that is not negative, by `e`, `f`, `g` or `%`.
fn float_text(value: f64, kind: char, precision: usize, alternate: bool) -> String {
    let precision = precision.min(PRECISION);
    if !value.is_finite() {
        return if value.is_nan() { "nan" } else { "inf" }.to_owned();
    }
    let text = match kind.to_ascii_lowercase() {
        'e' => exponent_text(value, precision),
        'g' => general_text(value, precision.max(1), alternate),
        '%' => format!("{:.precision$}%", value * 100.0),
        _ => format!("{value:.precision$}"),
    };
    if kind.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    }
}

/// `1.5e+03`: at least two digits of exponent, with a sign.
fn exponent_text(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

fn general_text(value: f64, precision: usize, alternate: bool) -> String {
    let scientific = exponent_text(value, precision.saturating_sub(1));
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let digits_wanted = i64::try_from(precision).unwrap_or(i64::MAX);
    let trim = |text: &str| match text.contains('.') && !alternate {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits_wanted {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(digits), exponent.unsigned_abs());
    }
    let after = digits_wanted.saturating_sub(1).saturating_sub(exponent);
    let after = usize::try_from(after).unwrap_or(0);
    trim(&format!("{value:.after$}"))
}

fn cut(text: &str, precision: Option<usize>) -> String {
    match precision {
        Some(length) => text.chars().take(length).collect(),
        None => text.to_owned(),
    }
}

/// Appends sign and text, filled up to the width.
fn pad(out: &mut Text<'_>, sign: &str, text: &str, spec: &Spec) -> Run<()> {
    let length = sign.chars().count().saturating_add(text.chars().count());
    let missing = spec.width.saturating_sub(length);
    let zero = spec.zero && spec.align != Some('<') && spec.fill.is_none();
    let fill = spec
        .fill
        .unwrap_or(if zero { '0' } else { ' ' })
        .to_string();
    let align = if zero { '=' } else { spec.align.unwrap_or('<') };
    let (before, inside, after) = match align {
        '>' => (missing, 0, 0),
        '=' => (0, missing, 0),
        '^' => (missing / 2, 0, missing.saturating_sub(missing / 2)),
        _ => (0, 0, missing),
    };
    out.repeat(&fill, before)?;
    out.push(sign)?;
    out.repeat(&fill, inside)?;
    out.push(text)?;
    out.repeat(&fill, after)
}

/// `pattern.format(...)`.
pub(super) fn braces(meter: &mut Meter, pattern: &str, args: &Args) -> Run<Value> {
    let mut out = Text::new(meter);
    let mut next_index = 0usize;
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push(text)?;
        if let Some(after) = tail.strip_prefix("{{") {
            out.push("{")?;
            rest = after;
        } else if let Some(after) = tail.strip_prefix("}}") {
            out.push("}")?;
            rest = after;
        } else if let Some(field) = tail.strip_prefix('{') {
            let Some((field, after)) = field_end(field) else {
                return failed("expected '}' before end of string");
            };
            write_field(&mut out, field, args, &mut next_index)?;
            rest = after;
        } else {
            return failed("Single '}' encountered in format string");
        }
    }
    out.push(rest)?;
    Ok(Value::Str(out.finish().into()))
}

/// Splits at the bracket that ends the field; a specification may hold fields of its own.
fn field_end(text: &str) -> Option<(&str, &str)> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open = open.saturating_add(1),
            '}' if open == 0 => return Some((text.get(..at)?, text.get(at.checked_add(1)?..)?)),
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn write_field(out: &mut Text<'_>, field: &str, args: &Args, next_index: &mut usize) -> Run<()> {
    let (name, spec) = field.split_once(':').unwrap_or((field, ""));
    let (name, conversion) = name.split_once('!').unwrap_or((name, ""));
    let mut value = lookup(out.meter, name, args, next_index)?;
    // A field inside the specification: `{:{width}}`.
    let mut spec = spec.to_owned();
    if let Some(inner) = spec
        .split_once('{')
        .and_then(|(_, inner)| inner.split_once('}'))
    {
        let width = lookup(out.meter, inner.0, args, next_index)?;
        let width = print::to_text(out.meter, &width)?;
        spec = spec.replacen(&format!("{{{}}}", inner.0), &width, 1);
    }
    match conversion {
        "" => {}
        "s" => value = Value::Str(print::to_text(out.meter, &value)?.into()),
        "r" | "a" => value = Value::Str(repr(out, &value)?.into()),
        other => return failed(format!("Unknown conversion specifier {other}")),
    }
    let spec = brace_spec(&spec)?;
    brace_value(out, &value, spec)
}

/// `0`, `name`, `name.attribute` or `name[item]`.
fn lookup(meter: &mut Meter, name: &str, args: &Args, next_index: &mut usize) -> Run<Value> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut path) = name.split_at_checked(end).unwrap_or((name, ""));
    let mut value = if first.is_empty() {
        let value = args.positional.get(*next_index).cloned();
        *next_index = next_index.saturating_add(1);
        value
    } else if let Ok(index) = first.parse::<usize>() {
        args.positional.get(index).cloned()
    } else {
        args.named
            .iter()
            .find(|(known, _)| **known == *first)
            .map(|(_, value)| value.clone())
    };
    while let (Some(here), false) = (&value, path.is_empty()) {
        let (key, after) = match path.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or((inside, "")),
            None => {
                let inside = path.strip_prefix('.').unwrap_or(path);
                let end = inside.find(['.', '[']).unwrap_or(inside.len());
                inside.split_at_checked(end).unwrap_or((inside, ""))
            }
        };
        value = match (here, key.parse::<i128>()) {
            (Value::Dict(dict), Ok(index)) => dict
                .get(&Key::Int(index))
                .or_else(|| dict.get_str(key))
                .cloned(),
            (Value::Dict(dict), Err(_)) => dict.get_str(key).cloned(),
            (other, Ok(index)) => super::ops::at(meter, other, index)?,
            _ => None,
        };
        path = after;
    }
    match value {
        Some(value) => Ok(value),
        None => failed(format!("no value for the field '{{{name}}}'")),
    }
}

fn brace_spec(text: &str) -> Run<Spec> {
    let mut spec = Spec::default();
    let mut chars = text.chars().peekable();
    let mut ahead = chars.clone();
    match (ahead.next(), ahead.next()) {
        (Some(fill), Some(align)) if "<>^=".contains(align) => {
            spec.fill = Some(fill);
            spec.align = Some(align);
            chars = ahead;
        }
        (Some(align), _) if "<>^=".contains(align) => {
            spec.align = Some(align);
            chars.next();
        }
        _ => {}
    }
    match chars.next_if(|c| "+- ".contains(*c)) {
        Some('+') => spec.plus = true,
        Some(' ') => spec.space = true,
        _ => {}
    }
    spec.alternate = chars.next_if_eq(&'#').is_some();
    spec.zero = chars.next_if_eq(&'0').is_some();
    spec.width = digits(&mut chars).unwrap_or(0);
    spec.group = chars.next_if(|c| ",_".contains(*c));
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(digits(&mut chars).unwrap_or(0));
    }
    spec.kind = chars.next();
    if chars.next().is_some() {
        return failed("Invalid format specifier");
    }
    Ok(spec)
}

fn brace_value(out: &mut Text<'_>, value: &Value, mut spec: Spec) -> Run<()> {
    let int = value
        .as_int()
        .filter(|_| spec.kind.is_some() || !matches!(value, Value::Bool(_)));
    let kind = spec.kind;
    match (int, value) {
        (Some(int), _) if kind.is_none_or(|kind| "bcdoxXn".contains(kind)) => {
            spec.align = spec.align.or(Some('>'));
            if kind == Some('c') {
                return pad(out, "", &character(value)?, &spec);
            }
            let (prefix, text) = int_text(int, kind.unwrap_or('d'), spec.alternate);
            let text = grouped(&text, spec.group);
            pad(
                out,
                &format!("{}{prefix}", sign(int < 0, &spec)),
                &text,
                &spec,
            )
        }
        (Some(_), _) | (_, Value::Float(_))
            if kind.is_none_or(|kind| "eEfFgGn%".contains(kind)) =>
        {
            spec.align = spec.align.or(Some('>'));
            let float = match value {
                Value::Float(float) => *float,
                _ => int_to_float(int.unwrap_or(0)),
            };
            let text = match (kind, spec.precision) {
                (None, None) => float_repr(float.abs()),
                (kind, precision) => float_text(
                    float.abs(),
                    kind.unwrap_or('g'),
                    precision.unwrap_or(6),
                    spec.alternate,
                ),
            };
            let text = grouped(&text, spec.group);
            pad(out, sign(float.is_sign_negative(), &spec), &text, &spec)
        }
        (_, Value::Str(text)) if kind.is_none_or(|kind| kind == 's') => {
            spec.zero = false;
            pad(out, "", &cut(text, spec.precision), &spec)
        }
        (_, other) if kind.is_none() && spec.width == 0 && spec.precision.is_none() => {
            let text = print::to_text(out.meter, other)?;
            out.push(&text)
        }
        (_, other) => failed(format!(
            "format code '{}' is not for an object of type '{}'",
            kind.unwrap_or(' '),
            other.type_name()
        )),
    }
}

/// The digits before the point with a separator between thousands.
fn grouped(text: &str, group: Option<char>) -> String {
    let Some(separator) = group else {
        return text.to_owned();
    };
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    out + rest
}
