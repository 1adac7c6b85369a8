//! Attributes and items: what `a.b` and `a['b']` mean in the immutable sandbox of Jinja2.
use super::error::{Run, failed};
use super::meter::Meter;
use super::ops;
use super::value::{Key, Loop, Value};

const STR_METHODS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const DICT_METHODS: &[&str] = &["copy", "get", "items", "keys", "values"];
const SEQ_METHODS: &[&str] = &["copy", "count", "index"];

/// Methods that change their object: they exist, and the sandbox does not give them out.
const DICT_UNSAFE: &[&str] = &["clear", "pop", "popitem", "setdefault", "update"];
const LIST_UNSAFE: &[&str] = &[
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
];

/// What the object itself has under the name, as Python's `getattr`: `None` when it has nothing, an
/// undefined value when the sandbox hides it.
fn own(meter: &mut Meter, value: &Value, name: &str) -> Run<Option<Value>> {
    const NONE: &[&str] = &[];
    let (methods, hidden): (&[&str], &[&str]) = match value {
        Value::Undefined(what) => return failed(format!("{what} is undefined")),
        Value::Str(_) => (STR_METHODS, NONE),
        Value::Dict(_) => (DICT_METHODS, DICT_UNSAFE),
        Value::List(_) => (SEQ_METHODS, LIST_UNSAFE),
        Value::Tuple(_) | Value::Range(_) => (&["count", "index"], NONE),
        Value::Function("dict") => (&["fromkeys"], NONE),
        Value::Namespace(ns) => {
            meter.steps(ns.attributes.borrow().len() / 8)?;
            return Ok(ns.get(name));
        }
        Value::Loop(state) => return loop_attribute(state, value, name),
        Value::Macro(closure) if name == "name" => {
            return meter.text(&closure.code.name).map(Some);
        }
        _ => return Ok(None),
    };
    Ok(if methods.contains(&name) {
        meter.items(1)?;
        Some(Value::Method((value.clone(), name.into()).into()))
    } else if hidden.contains(&name) || name.starts_with("__") {
        Some(Value::undefined(&format!("the attribute '{name}'")))
    } else {
        None
    })
}

fn loop_attribute(state: &Loop, value: &Value, name: &str) -> Run<Option<Value>> {
    let index = state.index.get();
    let length = state.items.len();
    let number = |value: usize| Some(Value::Int(i128::try_from(value).unwrap_or(i128::MAX)));
    let neighbour = |at: Option<usize>, what: &str| {
        let found = at.and_then(|at| state.items.get(at)).cloned();
        Some(found.unwrap_or_else(|| Value::undefined(what)))
    };
    Ok(match name {
        "index" => number(index.saturating_add(1)),
        "index0" => number(index),
        "revindex" => number(length.saturating_sub(index)),
        "revindex0" => number(length.saturating_sub(index).saturating_sub(1)),
        "first" => Some(Value::Bool(index == 0)),
        "last" => Some(Value::Bool(index.saturating_add(1) >= length)),
        "length" => number(length),
        "depth" => number(state.outer.saturating_add(1)),
        "depth0" => number(state.outer),
        "previtem" => neighbour(index.checked_sub(1), "the item before the first"),
        "nextitem" => neighbour(index.checked_add(1), "the item after the last"),
        "cycle" | "changed" => Some(Value::Method((value.clone(), name.into()).into())),
        _ => None,
    })
}

/// `value.name`: an attribute, else an item of that name.
pub(super) fn attribute(meter: &mut Meter, value: &Value, name: &str) -> Run<Value> {
    if let Some(found) = own(meter, value, name)? {
        return Ok(found);
    }
    if let Value::Dict(dict) = value
        && let Some(found) = dict.get_str(name)
    {
        return Ok(found.clone());
    }
    missing(value, name)
}

/// `value | attr(name)`: an attribute and never an item.
pub(super) fn only_attribute(meter: &mut Meter, value: &Value, name: &str) -> Run<Value> {
    match own(meter, value, name)? {
        Some(found) => Ok(found),
        None => missing(value, name),
    }
}

/// `value[key]`: an item, else an attribute of that name.
pub(super) fn item(meter: &mut Meter, value: &Value, key: &Value) -> Run<Value> {
    if let Value::Undefined(what) = value {
        return failed(format!("{what} is undefined"));
    }
    let found = match (value, key) {
        (Value::Dict(_), Value::List(_) | Value::Dict(_)) => None,
        (Value::Dict(dict), key) => dict.get(&Key::of(meter, key)?).cloned(),
        (_, key) => match key.as_int() {
            Some(index) => ops::at(meter, value, index)?,
            None => None,
        },
    };
    match (found, key) {
        (Some(found), _) => Ok(found),
        (None, Value::Str(name)) => match own(meter, value, name)? {
            Some(found) => Ok(found),
            None => missing(value, name),
        },
        (None, _) => missing(value, "that index"),
    }
}

fn missing(value: &Value, name: &str) -> Run<Value> {
    let shown: String = name.chars().take(60).collect();
    Ok(Value::undefined(&format!(
        "'{shown}' of a value of type '{}'",
        value.type_name()
    )))
}

/// The item at a dotted path such as `function.name`, as filters take it.
pub(super) fn path(meter: &mut Meter, value: &Value, path: &Value) -> Run<Value> {
    let Value::Str(text) = path else {
        return item(meter, value, path);
    };
    let mut here = value.clone();
    for part in text.split('.') {
        let key = match part.parse::<u32>() {
            Ok(index) => Value::Int(index.into()),
            Err(_) => Value::Str(part.into()),
        };
        here = item(meter, &here, &key)?;
    }
    Ok(here)
}
