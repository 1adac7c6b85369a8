//! `not`, `oneOf` and `if`: as alternatives that are written out.

use super::walk::{ANNOTATIONS, Checked, Walk};
use super::{at, pattern, refuse};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The deepest that a schema is turned round.
const MAX_TURN: usize = 12;
/// The most schemas of a `oneOf` that is written out.
const MAX_ONE_OF: usize = 12;

/// What is valid where `schema` is not; `None`: that cannot be written.
pub(super) fn negated(walk: &Walk<'_>, schema: &Value, path: &str, depth: usize) -> Option<Value> {
    let map = match schema {
        Value::Bool(valid) => return Some((!valid).into()),
        Value::Object(map) if depth < MAX_TURN => map,
        _ => return None,
    };
    let mut any = Vec::new();
    for (keyword, value) in map {
        if ANNOTATIONS.contains(&keyword.as_str()) {
            continue;
        }
        match negated_keyword(walk, map, keyword, (value, path), depth)? {
            Value::Bool(false) => {}
            other => any.push(other),
        }
    }
    Some(either(any))
}

fn either(mut any: Vec<Value>) -> Value {
    match any.len() {
        0 => false.into(),
        1 => any.swap_remove(0),
        _ => json!({ "anyOf": any }),
    }
}

fn negated_keyword(
    walk: &Walk<'_>,
    map: &Map<String, Value>,
    keyword: &str,
    (value, path): (&Value, &str),
    depth: usize,
) -> Option<Value> {
    let all = |values: &Value| -> Option<Vec<Value>> {
        let each = values.as_array()?.iter();
        each.map(|schema| negated(walk, schema, path, depth + 1))
            .collect()
    };
    let count = || {
        value
            .as_f64()
            .filter(|n| n.fract() == 0.0)
            .map(|n| n as i64)
    };
    let less = |kind: &str, word: &str| {
        count().map(|n| match n {
            0 => Value::Bool(false),
            n => json!({ "type": kind, word: n - 1 }),
        })
    };
    let more = |kind: &str, word: &str| count().map(|n| json!({ "type": kind, word: n + 1 }));
    Some(match keyword {
        "type" => return other_types(value),
        "not" => value.clone(),
        "anyOf" => json!({ "allOf": all(value)? }),
        "allOf" => either(all(value)?),
        "const" => other_values(std::slice::from_ref(value))?,
        "enum" => other_values(value.as_array()?)?,
        "required" => {
            let names = value.as_array()?.iter().map(Value::as_str);
            let absent = |name: Option<&str>| {
                Some(json!({ "type": "object", "properties": { name?: false } }))
            };
            either(names.map(absent).collect::<Option<_>>()?)
        }
        "properties" => {
            let mut any = Vec::new();
            for (name, schema) in value.as_object()? {
                let other = negated(walk, schema, path, depth + 1)?;
                if other != Value::Bool(false) {
                    any.push(json!({
                        "type": "object", "required": [name], "properties": { name.as_str(): other },
                    }));
                }
            }
            either(any)
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            if map.values().any(Value::is_boolean) || !value.is_number() {
                return None; // draft 4
            }
            let word = match keyword {
                "minimum" => "exclusiveMaximum",
                "maximum" => "exclusiveMinimum",
                "exclusiveMinimum" => "maximum",
                _ => "minimum",
            };
            json!({ "type": "number", word: value })
        }
        "minLength" => less("string", "maxLength")?,
        "maxLength" => more("string", "minLength")?,
        "minItems" => less("array", "maxItems")?,
        "maxItems" => more("array", "minItems")?,
        "minProperties" => less("object", "maxProperties")?,
        "$ref" if map.len() == 1 => {
            let pointer = walk.pointer(value, path).ok()?;
            negated(walk, walk.target(&pointer)?, &pointer, depth + 1)?
        }
        _ => return None,
    })
}

fn other_types(value: &Value) -> Option<Value> {
    let named: Vec<&str> = match value {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    if named.contains(&"integer") && !named.contains(&"number") {
        return None; // numbers that are no integers have no name
    }
    let mut others = vec!["null", "boolean", "number", "string", "array", "object"];
    others.retain(|name| !named.contains(name));
    Some(match others.is_empty() {
        true => false.into(),
        false => json!({ "type": others }),
    })
}

/// Everything but these values, which are no lists and objects.
fn other_values(values: &[Value]) -> Option<Value> {
    let mut any = vec![json!({ "type": ["array", "object"] })];
    let has = |value: Value| values.contains(&value);
    if !has(Value::Null) {
        any.push(json!({ "type": "null" }));
    }
    match (has(true.into()), has(false.into())) {
        (false, false) => any.push(json!({ "type": "boolean" })),
        (true, true) => {}
        (given, _) => any.push(json!({ "const": !given })),
    }
    let mut numbers: Vec<&Value> = Vec::new();
    let mut texts = Vec::new();
    for value in values {
        match value {
            Value::Number(_) => numbers.push(value),
            Value::String(text) => texts.push(text.as_str()),
            Value::Array(_) | Value::Object(_) => return None,
            _ => {}
        }
    }
    let beside =
        |n: &&Value| json!({ "anyOf": [{ "exclusiveMaximum": n }, { "exclusiveMinimum": n }] });
    let beside: Vec<Value> = numbers.iter().map(beside).collect();
    let mut number = json!({ "type": "number" });
    if !beside.is_empty() {
        number["allOf"] = beside.into();
    }
    any.push(number);
    any.push(match texts.is_empty() {
        true => json!({ "type": "string" }),
        false => json!({ "type": "string", "pattern": other_texts(&texts)? }),
    });
    Some(json!({ "anyOf": any }))
}

/// Characters in the texts of an `enum` that is turned round, at most.
const MAX_TEXTS: usize = 4096;

#[derive(Default)]
struct Node {
    ends: bool,
    next: BTreeMap<char, Node>,
}

/// An expression for every text but these.
fn other_texts(texts: &[&str]) -> Option<String> {
    if texts.iter().map(|t| t.len()).sum::<usize>() > MAX_TEXTS
        || texts.iter().any(|t| t.len() > 100)
    {
        return None;
    }
    let mut root = Node::default();
    for text in texts {
        let mut node = &mut root;
        for c in text.chars() {
            node = node.next.entry(c).or_default();
        }
        node.ends = true;
    }
    fn write(node: &Node, out: &mut String) {
        out.push_str("(?:");
        let mut others = String::new();
        for (c, next) in &node.next {
            let c = pattern::escaped(*c);
            others.push_str(&c);
            out.push_str(&c);
            write(next, out);
            out.push('|');
        }
        match others.is_empty() {
            true => out.push_str("[\\s\\S]+"),
            false => out.push_str(&format!("[^{others}][\\s\\S]*")),
        }
        out.push_str(if node.ends { ")" } else { "|)" });
    }
    let mut out = "^".to_owned();
    write(&root, &mut out);
    out.push('$');
    Some(out)
}

/// `not`.
pub(super) fn not(walk: &mut Walk<'_>, value: &Value, path: &str, depth: usize) -> Checked {
    match negated(walk, value, path, 0) {
        Some(other) => walk.schema(&other, path, depth + 1),
        None => Err(refuse(
            path,
            "what is not of this form cannot be written as a grammar; say what is valid instead",
        )),
    }
}

/// `if`, with what stands beside it.
pub(super) fn conditional(
    walk: &mut Walk<'_>,
    map: &Map<String, Value>,
    path: &str,
    depth: usize,
) -> Checked {
    let whether = map.get("if").unwrap_or(&Value::Bool(true));
    if !map.contains_key("then") && !map.contains_key("else") {
        return Ok(true.into());
    }
    let Some(other) = negated(walk, whether, path, 0) else {
        let why = "whether this holds cannot be told while an answer is written; write the alternatives with `anyOf`";
        return Err(refuse(path, why));
    };
    let parent = path.trim_end_matches("/if");
    let mut branch = |word: &str| match map.get(word) {
        Some(schema) => walk.schema(schema, &at(parent, word), depth + 1),
        None => Ok(true.into()),
    };
    let (then, or_else) = (branch("then")?, branch("else")?);
    let whether = walk.schema(whether, path, depth + 1)?;
    let other = walk.schema(&other, path, depth + 1)?;
    Ok(json!({ "anyOf": [{ "allOf": [whether, then] }, { "allOf": [other, or_else] }] }))
}

/// `oneOf`: alternatives that exclude one another.
pub(super) fn one_of(walk: &mut Walk<'_>, value: &Value, path: &str, depth: usize) -> Checked {
    let all = walk.list(value, path, depth)?;
    let given = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let meant: Vec<&Value> = given.iter().map(|s| followed(walk, s, path)).collect();
    if all.len() == 1 || apart(&meant) {
        return Ok(json!({ "anyOf": all }));
    }
    if let Some(name) = tag(&meant) {
        // With the property that tells them apart each of them excludes the others.
        let with = |schema| json!({ "allOf": [{ "type": "object", "required": [name] }, schema] });
        let all: Vec<Value> = all.into_iter().map(with).collect();
        return Ok(json!({ "anyOf": all }));
    }
    // Where all are of one type, the others are of it too: only the rest need be turned round.
    let kind = meant.first().and_then(|s| s.get("type"));
    let shared = kind.is_some() && meant.iter().all(|s| s.get("type") == kind);
    let turn = |schema: &Value| {
        let mut schema = schema.clone();
        if let Value::Object(map) = &mut schema
            && shared
        {
            map.shift_remove("type");
        }
        negated(walk, &schema, path, 0)
    };
    let others: Option<Vec<Value>> = match shared {
        true => meant.iter().map(|s| turn(s)).collect(),
        false => given.iter().map(turn).collect(),
    };
    let Some(others) = others.filter(|o| o.len() <= MAX_ONE_OF) else {
        return Ok(json!({ "oneOf": all })); // llguidance may see that they exclude one another
    };
    let mut turned = Vec::new();
    for other in &others {
        turned.push(walk.schema(other, path, depth + 1)?);
    }
    let mut any = Vec::new();
    for (i, schema) in all.iter().enumerate() {
        let mut parts = vec![schema.clone()];
        let rest = turned.iter().enumerate().filter(|(j, _)| *j != i);
        parts.extend(rest.map(|(_, other)| other.clone()));
        any.push(json!({ "allOf": parts }));
    }
    Ok(json!({ "anyOf": any }))
}

/// The schema that a reference leads to, or the one that is given.
fn followed<'a>(walk: &Walk<'a>, schema: &'a Value, path: &str) -> &'a Value {
    let reference = schema.get("$ref");
    let pointer = reference.and_then(|r| walk.pointer(r, path).ok());
    pointer.and_then(|p| walk.target(&p)).unwrap_or(schema)
}

/// A property of which all these objects have other values, where they have it.
fn tag<'a>(schemas: &[&'a Value]) -> Option<&'a String> {
    let values = |schema: &Value, name: &str| -> Option<Vec<Value>> {
        let property = schema.get("properties")?.get(name)?;
        let values = match property.get("const") {
            Some(value) => vec![value.clone()],
            None => property.get("enum")?.as_array()?.clone(),
        };
        let plain = values
            .iter()
            .all(|v| v.is_string() || v.is_boolean() || v.is_null());
        plain.then_some(values)
    };
    let names = schemas.first()?.get("properties")?.as_object()?.keys();
    let mut names = names.filter(|name| {
        let all: Option<Vec<Vec<Value>>> = schemas.iter().map(|s| values(s, name)).collect();
        let all = all.unwrap_or_default().concat();
        let once = |(i, v): (usize, &Value)| !all[i + 1..].contains(v);
        !all.is_empty() && all.iter().enumerate().all(once)
    });
    names.next()
}

/// Whether it is plain that no value is valid by two of these.
fn apart(schemas: &[&Value]) -> bool {
    let pairs = schemas.iter().enumerate();
    pairs
        .into_iter()
        .all(|(i, a)| schemas[i + 1..].iter().all(|b| excludes(a, b, 0)))
}

fn excludes(a: &Value, b: &Value, depth: usize) -> bool {
    if depth > 4 || a == &Value::Bool(false) || b == &Value::Bool(false) {
        return depth <= 4;
    }
    let kinds = |schema: &Value| -> Option<Vec<String>> {
        let name = |v: &Value| {
            v.as_str()
                .map(|n| if n == "integer" { "number" } else { n }.to_owned())
        };
        match schema.get("type")? {
            Value::Array(list) => list.iter().map(name).collect(),
            one => name(one).map(|n| vec![n]),
        }
    };
    let values = |schema: &Value| match schema.get("const") {
        Some(value) => Some(vec![value.clone()]),
        None => schema.get("enum").and_then(Value::as_array).cloned(),
    };
    let scalar = |all: &[Value]| {
        all.iter()
            .all(|v| v.is_string() || v.is_boolean() || v.is_null())
    };
    if let (Some(a), Some(b)) = (kinds(a), kinds(b))
        && !a.iter().any(|kind| b.contains(kind))
    {
        return true;
    }
    if let (Some(a), Some(b)) = (values(a), values(b))
        && scalar(&a)
        && !a.iter().any(|value| b.contains(value))
    {
        return true;
    }
    // Both are objects of which a property that must be there is of different values.
    let is_object = |s: &Value| s.get("type").is_some_and(|t| t == "object");
    let needs = |s: &Value, name: &str| {
        s.get("required")
            .and_then(Value::as_array)
            .is_some_and(|r| r.iter().any(|n| n == name))
    };
    let shared = |name: &String, mine: &Value| {
        let other = b.get("properties").and_then(|p| p.get(name));
        (needs(a, name) || needs(b, name)) && other.is_some_and(|o| excludes(mine, o, depth + 1))
    };
    let mine = a.get("properties").and_then(Value::as_object);
    is_object(a) && is_object(b) && mine.is_some_and(|p| p.iter().any(|(name, s)| shared(name, s)))
}
