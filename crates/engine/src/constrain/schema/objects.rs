//! Keywords about the properties of objects.

use super::super::ConstraintError;
use super::walk::{ANNOTATIONS, Made, Walk};
use super::{at, numbers, pattern, refuse};
use serde_json::{Map, Value, json};

/// Names of properties, each once.
pub(super) fn names(value: &Value, path: &str) -> Result<Vec<String>, ConstraintError> {
    let list = value.as_array().map(|list| list.iter().map(Value::as_str));
    let list: Option<Vec<&str>> = list.and_then(Iterator::collect);
    let Some(list) = list else {
        return Err(refuse(path, "it must be a list of names"));
    };
    let mut all: Vec<String> = Vec::new();
    for name in list {
        if !all.iter().any(|other| other == name) {
            all.push(name.to_owned());
        }
    }
    Ok(all)
}

/// Names of properties as expressions.
pub(super) fn patterns(
    map: Map<String, Value>,
    path: &str,
) -> Result<Map<String, Value>, ConstraintError> {
    let one = |(name, schema): (String, Value)| {
        Ok((pattern::translated(&name, &at(path, &name))?, schema))
    };
    map.into_iter().map(one).collect()
}

/// Names that are not declared may come twice, which a reader counts as one: so only what declared
/// ones make sure of is kept to.
pub(super) fn min_properties(
    map: &Map<String, Value>,
    value: &Value,
    path: &str,
    made: &mut Made,
) -> Result<(), ConstraintError> {
    let least = numbers::count(value, path)?;
    let required = map.get("required").map(|r| names(r, path)).transpose()?;
    if least <= required.map_or(0, |r| r.len() as u64) {
        return Ok(());
    }
    let closed = map.get("additionalProperties") == Some(&Value::Bool(false));
    if least > 0 && (!closed || map.contains_key("patternProperties")) {
        let why = "so many properties are only sure to come where they are declared; use `required`, or `additionalProperties`: false";
        return Err(refuse(path, why));
    }
    if least > 0 {
        made.set("minProperties", least.into());
    }
    Ok(())
}

/// What names of properties must be.
pub(super) fn property_names(
    value: &Value,
    path: &str,
    made: &mut Made,
) -> Result<(), ConstraintError> {
    let none = json!({ "additionalProperties": false });
    let map = match value {
        Value::Bool(true) => return Ok(()),
        Value::Bool(false) => {
            made.and(none);
            return Ok(());
        }
        Value::Object(map) => map,
        _ => return Err(refuse(path, "a schema must be an object, true or false")),
    };
    let says = |key: &&String| !ANNOTATIONS.contains(&key.as_str()) && *key != "type";
    if map.get("type").is_some_and(|t| t != "string") {
        return Err(refuse(&at(path, "type"), "names are strings"));
    }
    let (mut least, mut most, mut patterns) = (0, None, Vec::new());
    for key in map.keys().filter(says) {
        let here = at(path, key);
        let value = &map[key];
        match key.as_str() {
            "pattern" => patterns.push(pattern::checked(value, &here)?),
            "minLength" => least = numbers::count(value, &here)?,
            "maxLength" => most = Some(numbers::count(value, &here)?),
            "enum" | "const" if map.keys().filter(says).count() == 1 => {
                let values = match value {
                    Value::Array(values) if key == "enum" => values.clone(),
                    other => vec![other.clone()],
                };
                let names = values.iter().filter_map(Value::as_str);
                let all: Map<String, Value> = names.map(|n| (n.to_owned(), true.into())).collect();
                made.and(json!({ "properties": all, "additionalProperties": false }));
                return Ok(());
            }
            _ => {
                return Err(refuse(
                    &here,
                    "names can only be kept to `pattern`, `enum`, `const` and lengths",
                ));
            }
        }
    }
    if least > 0 || most.is_some() {
        let most = most.map(|n| n.to_string()).unwrap_or_default();
        patterns.push(format!("^(?s:.{{{least},{most}}})$").into());
    }
    for pattern in patterns {
        let pattern = pattern.as_str().unwrap_or_default();
        made.and(json!({ "patternProperties": { pattern: true }, "additionalProperties": false }));
    }
    Ok(())
}

/// What a property asks of the others.
pub(super) fn dependent(
    walk: &mut Walk<'_>,
    value: &Value,
    path: &str,
    depth: usize,
    made: &mut Made,
) -> Result<(), ConstraintError> {
    let Value::Object(map) = value else {
        return Err(refuse(path, "it must be an object"));
    };
    for (name, wants) in map {
        let here = at(path, name);
        let absent = json!({ "properties": { name.as_str(): false } });
        let present = match wants {
            Value::Array(_) | Value::String(_) => {
                let list = match wants {
                    Value::String(one) => json!([one]),
                    list => list.clone(),
                };
                let mut all = names(&list, &here)?;
                if all.is_empty() {
                    continue;
                }
                all.insert(0, name.clone());
                json!({ "required": names(&all.into(), &here)? })
            }
            schema => {
                let schema = walk.schema(schema, &here, depth + 1)?;
                json!({ "allOf": [{ "required": [name] }, schema] })
            }
        };
        made.and(json!({ "anyOf": [absent, present] }));
    }
    Ok(())
}

/// Keywords by which other schemas speak of the same object or list.
const ELSEWHERE: [&str; 10] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "dependentSchemas",
    "contains",
];

/// What is true of properties and items of which nothing else speaks.
pub(super) fn unevaluated(
    walk: &mut Walk<'_>,
    map: &Map<String, Value>,
    keyword: &str,
    value: &Value,
    path: &str,
    depth: usize,
    made: &mut Made,
) -> Result<(), ConstraintError> {
    if value == &Value::Bool(true) || value == &json!({}) {
        return Ok(());
    }
    let schema = walk.schema(value, path, depth + 1)?;
    let elsewhere = ELSEWHERE.iter().any(|word| map.contains_key(*word));
    let why = format!(
        "`{keyword}` beside schemas that depend on the value cannot be kept to while an answer is written; use `{}`",
        keyword
            .replace("unevaluated", "additional")
            .replace("additionalItems", "items")
    );
    if keyword == "unevaluatedItems" {
        let list = map.get("items").is_some_and(Value::is_array);
        if map.contains_key("items") && !list || list && map.contains_key("additionalItems") {
            return Ok(());
        }
        if elsewhere {
            return Err(refuse(path, &why));
        }
        let prefix = map
            .get("prefixItems")
            .or(map.get("items"))
            .and_then(Value::as_array);
        let prefix = vec![true; prefix.map_or(0, Vec::len)];
        made.and(json!({ "prefixItems": prefix, "items": schema }));
        return Ok(());
    }
    if map.contains_key("additionalProperties") {
        return Ok(());
    }
    let mut known = Map::new();
    if !said(walk, map, path, 0, &mut known) {
        return Err(refuse(path, &why));
    }
    let mut rest = json!({ "properties": known, "additionalProperties": schema });
    if let Some(Value::Object(all)) = map.get("patternProperties") {
        let all: Map<String, Value> = all.keys().map(|k| (k.clone(), true.into())).collect();
        rest["patternProperties"] = patterns(all, &at(path, "patternProperties"))?.into();
    }
    made.and(rest);
    Ok(())
}

/// Collects the properties that a schema always speaks of; false where that depends on the value.
fn said(
    walk: &Walk<'_>,
    map: &Map<String, Value>,
    path: &str,
    depth: usize,
    known: &mut Map<String, Value>,
) -> bool {
    if depth > 8 {
        return false;
    }
    let mut inner = |schema: &Value, path: &str| match schema {
        Value::Object(map) => {
            let open = [
                "patternProperties",
                "additionalProperties",
                "unevaluatedProperties",
            ];
            let plain = !open.iter().any(|word| map.contains_key(*word));
            plain && said(walk, map, path, depth + 1, known)
        }
        _ => true,
    };
    for (word, value) in map {
        let plain = match word.as_str() {
            "allOf" => {
                let all = value.as_array();
                all.is_some_and(|all| all.iter().all(|schema| inner(schema, path)))
            }
            "$ref" => {
                let pointer = walk.pointer(value, path).ok();
                let target = pointer.and_then(|p| Some((walk.target(&p)?, p)));
                target.is_some_and(|(schema, pointer)| inner(schema, &pointer))
            }
            word => word == "contains" || word == "not" || !ELSEWHERE.contains(&word),
        };
        if !plain {
            return false;
        }
    }
    if let Some(Value::Object(properties)) = map.get("properties") {
        known.extend(properties.keys().map(|name| (name.clone(), true.into())));
    }
    true
}
