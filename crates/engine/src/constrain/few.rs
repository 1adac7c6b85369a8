//! Schemas that allow few answers.

use serde_json::{Map, Value};

/// Objects within objects that are looked into.
const MAX_DEPTH: u32 = 4;

/// All values that a schema allows, where it names them one by one: strings, numbers and truths, and objects of such
/// with every property that there is. None: they are more than `most`, or it cannot be told.
///
/// Keywords beside those that name the values may allow fewer of them.
pub fn few(schema: &Value, most: usize) -> Option<Vec<Value>> {
    values(schema, 0, most).filter(|all| all.len() <= most)
}

fn values(schema: &Value, depth: u32, most: usize) -> Option<Vec<Value>> {
    let object = schema.as_object().filter(|_| depth < MAX_DEPTH)?;
    if let Some(one) = object.get("const") {
        return Some(vec![one.clone()]);
    }
    if let Some(several) = object.get("enum") {
        return several.as_array().cloned();
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(several) = object.get(word) {
            let each = several
                .as_array()?
                .iter()
                .map(|s| values(s, depth + 1, most));
            return Some(each.collect::<Option<Vec<_>>>()?.concat());
        }
    }
    match object.get("type")?.as_str()? {
        "boolean" => Some(vec![Value::Bool(false), Value::Bool(true)]),
        "null" => Some(vec![Value::Null]),
        "object" => objects(object, depth, most),
        _ => None,
    }
}

/// All objects with every property that there is.
fn objects(schema: &Map<String, Value>, depth: u32, most: usize) -> Option<Vec<Value>> {
    let properties = schema.get("properties")?.as_object()?;
    let required = schema.get("required")?.as_array()?;
    let must = |name: &String| required.iter().any(|r| r.as_str() == Some(name));
    if schema.get("additionalProperties") != Some(&Value::Bool(false))
        || !properties.keys().all(must)
    {
        return None;
    }
    let mut all = vec![Map::new()];
    for (name, schema) in properties {
        let each = values(schema, depth + 1, most)?;
        if all.len().saturating_mul(each.len()) > most {
            return None;
        }
        let with = |object: &Map<String, Value>| {
            let with = |value: &Value| {
                let mut object = object.clone();
                object.insert(name.clone(), value.clone());
                object
            };
            each.iter().map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    Some(all.into_iter().map(Value::Object).collect())
}
