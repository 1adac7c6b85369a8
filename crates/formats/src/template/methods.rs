//! The methods of Python's strings, dictionaries and lists that change nothing.
use super::call::{self, Args};
use super::error::{Run, failed};
use super::format;
use super::lexer::is_space;
use super::meter::{Meter, Text};
use super::ops;
use super::print;
use super::text;
use super::value::{Dict, Value};

/// `value.name(args)`.
pub(super) fn call(meter: &mut Meter, value: &Value, name: &str, args: Args) -> Run<Value> {
    match value {
        Value::Str(text) => {
            meter.scan(text.len())?;
            str_method(meter, value, text, name, args)
        }
        Value::Dict(dict) => dict_method(meter, dict, name, args),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => seq_method(meter, value, name, args),
        Value::Function(_) => from_keys(meter, args),
        Value::Loop(state) if name == "cycle" => {
            let count = args.positional.len();
            match state
                .index
                .get()
                .checked_rem(count)
                .and_then(|at| args.positional.get(at))
            {
                Some(value) => Ok(value.clone()),
                None => failed("no items for cycling given"),
            }
        }
        Value::Loop(state) => {
            let last = state.last.replace(Some(args.positional.clone()));
            let now = Value::tuple(meter, args.positional)?;
            let last = match last {
                Some(last) => Value::tuple(meter, last)?,
                None => return Ok(Value::Bool(true)),
            };
            Ok(Value::Bool(!ops::equal(meter, &last, &now)?))
        }
        other => failed(format!("'{}' has no method '{name}'", other.type_name())),
    }
}

fn dict_method(meter: &mut Meter, dict: &Dict, name: &str, args: Args) -> Run<Value> {
    if name == "get" {
        let [key, default] = args.bind("get", ["key", "default"])?;
        let Some(key) = key else {
            return failed("get expected at least 1 argument");
        };
        let key = super::value::Key::of(meter, &key)?;
        return Ok(dict
            .get(&key)
            .cloned()
            .unwrap_or(default.unwrap_or(Value::None)));
    }
    let [] = args.bind(name, [])?;
    meter.items(dict.entries().len())?;
    let entries = dict.entries().iter().cloned();
    match name {
        "keys" => Value::view(meter, "dict_keys", entries.map(|(key, _)| key)),
        "values" => Value::view(meter, "dict_values", entries.map(|(_, value)| value)),
        "items" => pairs(meter, dict),
        _ => Dict::new(meter, entries).map(Value::Dict),
    }
}

/// `dict.items()`.
pub(super) fn pairs(meter: &mut Meter, dict: &Dict) -> Run<Value> {
    let pairs = dict.entries().iter();
    let pairs: Run<Vec<Value>> = pairs
        .map(|(key, value)| Value::tuple(meter, vec![key.clone(), value.clone()]))
        .collect();
    Value::view(meter, "dict_items", pairs?)
}

/// `dict.fromkeys(keys, value)`.
fn from_keys(meter: &mut Meter, args: Args) -> Run<Value> {
    let [keys, value] = args.bind("fromkeys", ["iterable", "value"])?;
    let Some(keys) = keys else {
        return failed("fromkeys expected at least 1 argument");
    };
    let value = value.unwrap_or(Value::None);
    let keys = keys.items(meter)?;
    Dict::new(meter, keys.into_iter().map(|key| (key, value.clone()))).map(Value::Dict)
}

fn seq_method(meter: &mut Meter, value: &Value, name: &str, args: Args) -> Run<Value> {
    if name == "copy" {
        return Ok(value.clone());
    }
    let [wanted] = args.bind(name, ["value"])?;
    let Some(wanted) = wanted else {
        return failed(format!("{name} expected 1 argument"));
    };
    let mut count = 0i128;
    for (index, item) in value.items(meter)?.iter().enumerate() {
        if ops::equal(meter, item, &wanted)? {
            if name == "index" {
                return Ok(Value::Int(i128::try_from(index).unwrap_or(i128::MAX)));
            }
            count = count.saturating_add(1);
        }
    }
    if name == "index" {
        failed("the value is not in the list")
    } else {
        Ok(Value::Int(count))
    }
}

fn str_method(meter: &mut Meter, value: &Value, s: &str, name: &str, args: Args) -> Run<Value> {
    match name {
        "format" => return format::braces(meter, s, &args),
        "join" => {
            let [items] = args.bind("join", ["iterable"])?;
            return join(meter, s, &items.unwrap_or(Value::None));
        }
        "replace" => {
            let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
            let (Some(Value::Str(old)), Some(Value::Str(new))) = (old, new) else {
                return failed("replace expects two strings");
            };
            let count = call::int_or(count, -1)?;
            return text::replace(meter, s, &old, &new, usize::try_from(count).ok());
        }
        "split" | "rsplit" => return split(meter, s, name == "rsplit", args),
        "splitlines" => {
            let [keep] = args.bind("splitlines", ["keepends"])?;
            let lines = text::lines(s, call::flag_or(keep, false));
            return text::list(meter, lines);
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            return strip(meter, s, name, chars);
        }
        "startswith" | "endswith" => return affix(meter, s, name, args),
        "find" | "index" | "rfind" | "rindex" | "count" => return find(s, name, args),
        "partition" | "rpartition" => return partition(meter, s, name, args),
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(name, ["affix"])?;
            let affix = affix.unwrap_or(Value::None);
            let affix = call::text(&affix)?;
            let rest = if name == "removeprefix" {
                s.strip_prefix(affix)
            } else {
                s.strip_suffix(affix)
            };
            return meter.text(rest.unwrap_or(s));
        }
        "center" | "ljust" | "rjust" | "zfill" => return fill(meter, s, name, args),
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            return expand_tabs(meter, s, call::size_or(size, 8)?);
        }
        _ => {}
    }
    let [] = args.bind(name, [])?;
    if let Some(answer) = text::property(s, name) {
        return Ok(Value::Bool(answer));
    }
    match name {
        "upper" => meter.text(&s.to_uppercase()),
        "lower" | "casefold" => meter.text(&s.to_lowercase()),
        "capitalize" => meter.text(&text::capitalized(s)),
        "title" => meter.text(&text::titled(s)),
        "swapcase" => meter.text(&text::swapped(s)),
        _ => failed(format!("'{}' has no method '{name}'", value.type_name())),
    }
}

fn join(meter: &mut Meter, separator: &str, items: &Value) -> Run<Value> {
    let items = items.items(meter)?;
    let mut out = Text::new(meter);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(separator)?;
        }
        match item {
            Value::Str(text) => out.push(text)?,
            other => {
                let name = other.type_name();
                return failed(format!(
                    "sequence item {index}: expected str instance, {name} found"
                ));
            }
        }
    }
    Ok(Value::Str(out.finish().into()))
}

fn split(meter: &mut Meter, s: &str, from_end: bool, args: Args) -> Run<Value> {
    let [separator, count] = args.bind("split", ["sep", "maxsplit"])?;
    let count = usize::try_from(call::int_or(count, -1)?).ok();
    let parts: Vec<&str> = match &separator {
        None | Some(Value::None) => text::words(s, count, from_end),
        Some(separator) => {
            let separator = call::text(separator)?;
            if separator.is_empty() {
                return failed("empty separator");
            }
            let limit = count.map_or(usize::MAX, |count| count.saturating_add(1));
            match from_end {
                false => s.splitn(limit, separator).collect(),
                true => {
                    let mut parts: Vec<&str> = s.rsplitn(limit, separator).collect();
                    parts.reverse();
                    parts
                }
            }
        }
    };
    text::list(meter, parts)
}

fn strip(meter: &mut Meter, s: &str, name: &str, chars: Option<Value>) -> Run<Value> {
    let chars = match &chars {
        None | Some(Value::None) => None,
        Some(chars) => Some(call::text(chars)?),
    };
    if let Some(chars) = chars {
        // Each character of the text may be compared with each of the set.
        meter.scan(s.len().saturating_mul(chars.len()))?;
    }
    let strips = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let mut rest = s;
    if name != "rstrip" {
        rest = rest.trim_start_matches(strips);
    }
    if name != "lstrip" {
        rest = rest.trim_end_matches(strips);
    }
    meter.text(rest)
}

/// The part of the text between two positions, as the optional arguments of `find` give them.
fn part(s: &str, start: Option<Value>, end: Option<Value>) -> Run<(usize, &str)> {
    let length = i128::try_from(s.chars().count()).unwrap_or(i128::MAX);
    let clamp = |at: i128| {
        if at < 0 {
            at.saturating_add(length).max(0)
        } else {
            at.min(length)
        }
    };
    let from = clamp(call::int_or(start, 0)?);
    let to = clamp(call::int_or(end, length)?);
    let byte = |at: i128| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        s.char_indices().nth(at).map_or(s.len(), |(byte, _)| byte)
    };
    let skipped = usize::try_from(from).unwrap_or(usize::MAX);
    Ok((skipped, s.get(byte(from)..byte(to)).unwrap_or("")))
}

fn affix(meter: &mut Meter, s: &str, name: &str, args: Args) -> Run<Value> {
    let [affix, start, end] = args.bind(name, ["affix", "start", "end"])?;
    let (_, s) = part(s, start, end)?;
    let affixes = match affix {
        Some(Value::Tuple(tuple)) => tuple.items.clone(),
        Some(one) => vec![one],
        None => return failed(format!("{name} expected at least 1 argument")),
    };
    meter.steps(affixes.len())?;
    for affix in &affixes {
        let affix = call::text(affix)?;
        if if name == "startswith" {
            s.starts_with(affix)
        } else {
            s.ends_with(affix)
        } {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn find(s: &str, name: &str, args: Args) -> Run<Value> {
    let [wanted, start, end] = args.bind(name, ["sub", "start", "end"])?;
    let wanted = wanted.unwrap_or(Value::None);
    let wanted = call::text(&wanted)?;
    let (skipped, s) = part(s, start, end)?;
    if name == "count" {
        let count = match wanted.is_empty() {
            true => s.chars().count().saturating_add(1),
            false => s.matches(wanted).count(),
        };
        return Ok(Value::Int(i128::try_from(count).unwrap_or(i128::MAX)));
    }
    let found = if name.starts_with('r') {
        s.rfind(wanted)
    } else {
        s.find(wanted)
    };
    match found {
        Some(byte) => {
            let before = s.get(..byte).map_or(0, |before| before.chars().count());
            let at = before.saturating_add(skipped);
            Ok(Value::Int(i128::try_from(at).unwrap_or(i128::MAX)))
        }
        None if name.ends_with("index") => failed("substring not found"),
        None => Ok(Value::Int(-1)),
    }
}

fn partition(meter: &mut Meter, s: &str, name: &str, args: Args) -> Run<Value> {
    let [separator] = args.bind(name, ["sep"])?;
    let separator = separator.unwrap_or(Value::None);
    let separator = call::text(&separator)?;
    if separator.is_empty() {
        return failed("empty separator");
    }
    let parts = match name {
        "partition" => match s.split_once(separator) {
            Some((before, after)) => [before, separator, after],
            None => [s, "", ""],
        },
        _ => match s.rsplit_once(separator) {
            Some((before, after)) => [before, separator, after],
            None => ["", "", s],
        },
    };
    let parts: Run<Vec<Value>> = parts.into_iter().map(|part| meter.text(part)).collect();
    Value::tuple(meter, parts?)
}

fn fill(meter: &mut Meter, s: &str, name: &str, args: Args) -> Run<Value> {
    let [width, fill] = args.bind(name, ["width", "fillchar"])?;
    let width = call::size_or(width, 0)?;
    let fill = call::text_or(meter, fill, if name == "zfill" { "0" } else { " " })?;
    let missing = width.saturating_sub(s.chars().count());
    let mut out = Text::new(meter);
    let (sign, digits) = match s
        .get(..1)
        .filter(|c| name == "zfill" && ["+", "-"].contains(c))
    {
        Some(sign) => (sign, s.get(1..).unwrap_or("")),
        None => ("", s),
    };
    let before = match name {
        "ljust" => 0,
        // Python puts the odd one on the left when the width is odd.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    out.push(sign)?;
    out.repeat(&fill, before)?;
    out.push(digits)?;
    out.repeat(&fill, missing.saturating_sub(before))?;
    Ok(Value::Str(out.finish().into()))
}

fn expand_tabs(meter: &mut Meter, s: &str, size: usize) -> Run<Value> {
    let mut out = Text::new(meter);
    let mut column = 0usize;
    for c in s.chars() {
        match c {
            '\t' => {
                let spaces = column
                    .checked_rem(size)
                    .map_or(0, |over| size.saturating_sub(over));
                out.repeat(" ", spaces)?;
                column = column.saturating_add(spaces);
            }
            '\n' | '\r' => {
                out.push_char(c)?;
                column = 0;
            }
            c => {
                out.push_char(c)?;
                column = column.saturating_add(1);
            }
        }
    }
    Ok(Value::Str(out.finish().into()))
}

/// The text of a value, for a filter that takes any.
pub(super) fn text_of(meter: &mut Meter, value: &Value) -> Run<String> {
    let text = print::to_text(meter, value)?;
    meter.scan(text.len())?;
    Ok(text)
}
