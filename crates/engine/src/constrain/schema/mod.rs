//! JSON schemas: what is kept to, what is written another way first, and what is refused.
//!
//! llguidance leaves out, or takes for another thing, some of what a schema may say. So a schema is
//! read here first, keyword by keyword, and written again with those alone that are kept to; every
//! other one that could change what is valid is refused with its path. Where nothing says otherwise
//! a schema is one of draft 2020-12 (<https://json-schema.org/draft/2020-12>).

mod blame;
mod formats;
mod lists;
mod logic;
mod numbers;
mod objects;
mod pattern;
mod places;
mod walk;

pub(super) use blame::blamed;

use super::ConstraintError;
use serde_json::{Map, Value, json};
use walk::Walk;

/// White space that an answer may have between two parts of its JSON: enough for any layout, and
/// not without end.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,40}";

/// How the JSON of all schemas is written.
fn options() -> Value {
    json!({ "whitespace_pattern": WHITE_SPACE })
}

/// A schema that llguidance keeps to, made of one that somebody gave.
pub(super) fn checked(schema: &Value) -> Result<Value, ConstraintError> {
    let (checked, defs) = embedded(schema, "d", false)?;
    Ok(whole(checked, defs))
}

/// A schema with its definitions.
pub(crate) fn whole(schema: Value, defs: Map<String, Value>) -> Value {
    let mut all = match schema {
        Value::Object(map) => map,
        Value::Bool(true) => Map::new(),
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    if !defs.is_empty() {
        all.insert("$defs".into(), defs.into());
    }
    all.insert("x-guidance".into(), options());
    all.into()
}

/// As [`checked`], for a part of a larger schema: the definitions that it refers to are to stand in
/// `$defs` of that one; their names begin with `prefix`. Where it is `lenient`, keywords that cannot be
/// kept to are left out.
pub(crate) fn embedded(
    schema: &Value,
    prefix: &str,
    lenient: bool,
) -> Result<(Value, Map<String, Value>), ConstraintError> {
    let bytes = schema.to_string().len();
    super::bounded("schema", bytes)?;
    let mut walk = Walk::new(schema, prefix, lenient)?;
    let checked = walk.schema(schema, "", 0)?;
    let defs = walk.definitions()?;
    Ok((checked, defs))
}

/// Schemas inside a grammar that somebody gave are read as others are.
pub(super) fn check_lark(lark: &str) -> Result<(), ConstraintError> {
    for (at, _) in lark.match_indices("%json") {
        let rest = &lark[at + "%json".len()..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(schema)) = values.next() else {
            continue; // llguidance says what is wrong
        };
        let plain = checked(&schema)?;
        let mut given = schema.clone();
        let mut made = plain.clone();
        for value in [&mut given, &mut made] {
            if let Value::Object(map) = value {
                map.retain(|key, _| {
                    !walk::ANNOTATIONS.contains(&key.as_str()) && key != "x-guidance"
                });
            }
        }
        if given != made {
            let why = "this schema inside a grammar is not one that can be kept to as it stands; give it by itself, or write the rule in Lark";
            return Err(refuse("", why));
        }
    }
    Ok(())
}

pub(super) fn refuse(path: &str, why: &str) -> ConstraintError {
    ConstraintError::Schema {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// `path` and one more step, as a JSON pointer.
fn at(path: &str, step: &str) -> String {
    format!("{path}/{}", step.replace('~', "~0").replace('/', "~1"))
}
