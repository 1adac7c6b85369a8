//! Where in a schema it is that llguidance cannot do.

use super::{ConstraintError, at, refuse};
use serde_json::Value;

/// A word of its message, the keyword that it is about, and what to tell people; empty: what it says.
const CAUSES: [(&str, &str, &str); 12] = [
    (
        "oneOf",
        "oneOf",
        "that only one of these is valid cannot be made sure of while an answer is written; use `anyOf`, or give each a property with another `const`",
    ),
    (
        "patternProperty",
        "patternProperties",
        "two of these expressions may match the same name; write them so that they exclude one another",
    ),
    (
        "min/maxProperties",
        "maxProperties",
        "the number of properties can only be bounded where all declared ones are required",
    ),
    (
        "min/maxProperties",
        "minProperties",
        "the number of properties can only be bounded where all declared ones are required",
    ),
    ("multipleOf", "multipleOf", ""),
    ("maximum", "maximum", ""),
    ("maximum", "exclusiveMaximum", ""),
    ("minItems", "minItems", ""),
    ("Regex", "pattern", ""),
    ("regex", "pattern", ""),
    (
        "circular",
        "$ref",
        "a schema that refers to itself cannot have other keywords beside the reference",
    ),
    ("required property", "required", ""),
];

/// The error for what llguidance said of `schema`.
pub(in super::super) fn blamed(schema: &Value, said: &str) -> ConstraintError {
    for (word, keyword, why) in CAUSES {
        if said.contains(word)
            && let Some(path) = find(schema, keyword, "", 0)
        {
            return refuse(&path, if why.is_empty() { said } else { why });
        }
    }
    refuse("", said)
}

/// Where a keyword stands first.
fn find(schema: &Value, keyword: &str, path: &str, depth: usize) -> Option<String> {
    if depth > 64 {
        return None;
    }
    match schema {
        Value::Object(map) => {
            if map.contains_key(keyword) {
                return Some(at(path, keyword));
            }
            let mut entries = map.iter();
            entries.find_map(|(key, value)| find(value, keyword, &at(path, key), depth + 1))
        }
        Value::Array(list) => {
            let mut items = list.iter().enumerate();
            items.find_map(|(i, item)| find(item, keyword, &at(path, &i.to_string()), depth + 1))
        }
        _ => None,
    }
}
