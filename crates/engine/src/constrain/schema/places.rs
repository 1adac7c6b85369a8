//! What references lead to: identifiers and anchors of schemas inside a schema.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// The most schemas that are looked at for identifiers.
const MAX_SCHEMAS: usize = 20_000;

/// Keywords whose values are no schemas, whatever stands in them.
const DATA: [&str; 6] = [
    "const",
    "enum",
    "default",
    "examples",
    "required",
    "$vocabulary",
];

/// Where identified schemas are.
#[derive(Default)]
pub(super) struct Places {
    /// JSON pointers by URI, anchors included.
    by_uri: HashMap<String, String>,
    /// Base URIs by the pointers of the schemas that set them.
    bases: HashMap<String, String>,
}

impl Places {
    /// Those of a whole schema. `old`: identifiers are those of drafts up to 7, where `#name` is an
    /// anchor and what stands beside a reference is ignored; `key` is what they are called.
    pub fn new(root: &Value, key: &str, old: bool) -> Self {
        let mut places = Self::default();
        let mut todo = vec![(String::new(), String::new(), root)];
        let mut left = MAX_SCHEMAS;
        while let Some((pointer, base, value)) = todo.pop() {
            left = left.saturating_sub(1);
            let Some(map) = value.as_object().filter(|_| left > 0) else {
                continue;
            };
            let base = places.note(map, &pointer, base, key, old);
            for (name, inner) in map {
                if DATA.contains(&name.as_str()) {
                    continue;
                }
                let at = super::at(&pointer, name);
                match inner {
                    Value::Object(inside) if SCHEMAS_BY_NAME.contains(&name.as_str()) => {
                        let each = inside.iter();
                        todo.extend(each.map(|(n, v)| (super::at(&at, n), base.clone(), v)));
                    }
                    Value::Object(_) if SCHEMAS.contains(&name.as_str()) => {
                        todo.push((at, base.clone(), inner));
                    }
                    Value::Array(list) if SCHEMAS.contains(&name.as_str()) => {
                        let each = list.iter().enumerate();
                        todo.extend(
                            each.map(|(i, v)| (super::at(&at, &i.to_string()), base.clone(), v)),
                        );
                    }
                    _ => {}
                }
            }
        }
        places
    }

    /// Takes note of one schema, and answers its base.
    fn note(
        &mut self,
        map: &Map<String, Value>,
        pointer: &str,
        base: String,
        key: &str,
        old: bool,
    ) -> String {
        let mut base = base;
        let beside = old && map.contains_key("$ref");
        if let Some(Value::String(id)) = map.get(key).filter(|_| !beside) {
            match id.strip_prefix('#') {
                Some(anchor) if old => self.name(format!("{base}#{anchor}"), pointer),
                Some(_) => {}
                None => {
                    base = resolved(&base, id.trim_end_matches('#'));
                    self.name(base.clone(), pointer);
                    self.bases.insert(pointer.to_owned(), base.clone());
                }
            }
        }
        if pointer.is_empty() {
            self.name(base.clone(), pointer);
        }
        if let Some(Value::String(anchor)) = map.get("$anchor") {
            self.name(format!("{base}#{anchor}"), pointer);
        }
        base
    }

    /// The first of a name counts.
    fn name(&mut self, uri: String, pointer: &str) {
        self.by_uri.entry(uri).or_insert_with(|| pointer.to_owned());
    }

    /// The pointer that a reference at `from` leads to; `None`: it leads out of this schema.
    pub fn find(&self, from: &str, reference: &str) -> Option<String> {
        // The base is that of the nearest schema around it that sets one.
        let mut around = from;
        let base = loop {
            if let Some(base) = self.bases.get(around) {
                break base.as_str();
            }
            match around.rfind('/') {
                Some(at) => around = &around[..at],
                None => break "",
            }
        };
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let uri = match uri {
            "" => base.to_owned(),
            uri => resolved(base, uri),
        };
        let fragment = decoded(fragment);
        if fragment.is_empty() || fragment.starts_with('/') {
            return Some(self.by_uri.get(&uri)?.clone() + &fragment);
        }
        self.by_uri.get(&format!("{uri}#{fragment}")).cloned()
    }
}

/// Keywords with schemas by name.
const SCHEMAS_BY_NAME: [&str; 6] = [
    "$defs",
    "definitions",
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
];
/// Keywords with a schema, or a list of them.
const SCHEMAS: [&str; 17] = [
    "items",
    "prefixItems",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "propertyNames",
    "contains",
    "contentSchema",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "extends",
];

/// A reference as an absolute URI (RFC 3986, section 5.2), where the base is one.
fn resolved(base: &str, reference: &str) -> String {
    let has_scheme = |uri: &str| {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
        scheme.is_some_and(|s| {
            s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        })
    };
    if has_scheme(reference) {
        return reference.to_owned();
    }
    let (head, path) = match base.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.find('/').unwrap_or(rest.len());
            (&base[..scheme.len() + 3 + host], &rest[host..])
        }
        None if has_scheme(base) => return reference.to_owned(), // a URN has no parts
        None => ("", base),
    };
    let joined = match (reference.strip_prefix('/'), path.rfind('/')) {
        (Some(_), _) => reference.to_owned(),
        (None, Some(at)) => format!("{}{reference}", &path[..=at]),
        (None, None) if head.is_empty() => reference.to_owned(),
        (None, None) => format!("/{reference}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "." => {}
            ".." if parts.len() > 1 => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{head}{}", parts.join("/"))
}

/// Percent-encoded characters of a fragment.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = fragment.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let byte = hex.and_then(|d| u8::from_str_radix(d, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_resolved_as_uris() {
        let cases = [
            ("http://a.b/c/d.json", "e.json", "http://a.b/c/e.json"),
            ("http://a.b/c/d.json", "/e.json", "http://a.b/e.json"),
            ("http://a.b/c/d.json", "../e", "http://a.b/e"),
            ("http://a.b", "e", "http://a.b/e"),
            ("http://a.b/c", "urn:x:y", "urn:x:y"),
            ("", "e.json", "e.json"),
            ("x/y", "./z", "x/z"),
        ];
        for (base, reference, want) in cases {
            assert_eq!(resolved(base, reference), want, "{reference} at {base}");
        }
    }

    #[test]
    fn identifiers_are_found_where_schemas_are() {
        let schema = json!({
            "$id": "http://a.b/root.json",
            "$defs": {
                "x": { "$id": "x.json", "$defs": { "y": { "$anchor": "here" } } },
                "z": { "enum": [{ "$id": "http://a.b/no.json" }] },
            },
        });
        let places = Places::new(&schema, "$id", false);
        let find = |from: &str, to: &str| places.find(from, to);
        assert_eq!(find("/properties/a", "x.json"), Some("/$defs/x".into()));
        assert_eq!(find("", "x.json#/$defs/y"), Some("/$defs/x/$defs/y".into()));
        assert_eq!(
            find("/$defs/x/$defs/y", "#here"),
            Some("/$defs/x/$defs/y".into())
        );
        assert_eq!(find("", "#here"), None);
        assert_eq!(find("", "no.json"), None);
        assert_eq!(find("/$defs/x", "#"), Some("/$defs/x".into()));
        assert_eq!(find("/$defs/z", "#/$defs/x"), Some("/$defs/x".into()));
    }
}
