//! Arguments that come one by one, as text whose type the tool's schema says.

use super::scan::escaped;
use super::{Piece, Tool, add};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What may be given for an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only text.
    Text,
    /// JSON that is no text.
    Json,
    /// JSON if it is, or else text.
    Either,
}

/// The types of the arguments of all tools.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types(Arc<HashMap<String, HashMap<String, Kind>>>);

impl Types {
    pub fn new(tools: &[Tool]) -> Self {
        let one = |tool: &Tool| {
            let properties = tool.parameters.as_ref().and_then(|p| p.get("properties"));
            let properties = properties.and_then(Value::as_object);
            let kinds = properties.into_iter().flatten();
            let kinds = kinds.map(|(name, schema)| (name.clone(), kind(schema)));
            (tool.name.clone(), kinds.collect())
        };
        Self(Arc::new(tools.iter().map(one).collect()))
    }

    /// Whether there is such a tool.
    pub fn has(&self, tool: &str) -> bool {
        self.0.contains_key(tool)
    }

    /// What may be given for an argument of a tool.
    pub fn of(&self, tool: &str, argument: &str) -> Kind {
        let kind = self.0.get(tool).and_then(|kinds| kinds.get(argument));
        kind.copied().unwrap_or(Kind::Either)
    }
}

/// What a schema allows, as far as its words tell.
pub(crate) fn kind(schema: &Value) -> Kind {
    let of_type = |name: &Value| match name.as_str() {
        Some("string") => Kind::Text,
        Some(_) => Kind::Json,
        None => Kind::Either,
    };
    let of_value = |value: &Value| match value {
        Value::String(_) => Kind::Text,
        _ => Kind::Json,
    };
    let join = |kinds: &mut dyn Iterator<Item = Kind>| {
        let joined = kinds.reduce(|a, b| if a == b { a } else { Kind::Either });
        joined.unwrap_or(Kind::Either)
    };
    match schema.get("type") {
        Some(Value::Array(types)) => return join(&mut types.iter().map(of_type)),
        Some(name) => return of_type(name),
        None => {}
    }
    if let Some(value) = schema.get("const") {
        return of_value(value);
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return join(&mut values.iter().map(of_value));
    }
    match schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        Some(Value::Array(schemas)) => join(&mut schemas.iter().map(kind)),
        _ => Kind::Either,
    }
}

/// Writes arguments that come one by one as one JSON object.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    any: bool,
    /// In a text, of which the end is to come.
    in_text: bool,
}

impl Arguments {
    /// The next argument begins.
    pub fn key(&mut self, key: &str, out: &mut Vec<Piece>) {
        let before = if self.any { ", " } else { "{" };
        self.any = true;
        add(
            out,
            Piece::CallArguments(format!("{before}\"{}\": ", escaped(key))),
        );
    }

    /// A part of a value that is text.
    pub fn text(&mut self, text: &str, out: &mut Vec<Piece>) {
        let quote = if self.in_text { "" } else { "\"" };
        self.in_text = true;
        add(
            out,
            Piece::CallArguments(format!("{quote}{}", escaped(text))),
        );
    }

    /// The end of such a value.
    pub fn text_end(&mut self, out: &mut Vec<Piece>) {
        let end = if self.in_text { "\"" } else { "\"\"" };
        self.in_text = false;
        add(out, Piece::CallArguments(end.to_owned()));
    }

    /// A value that came whole.
    pub fn value(&mut self, text: &str, kind: Kind, out: &mut Vec<Piece>) {
        let json: Option<Value> = match kind {
            Kind::Text => None,
            // Some models write values as Python does.
            _ => match text.trim() {
                "True" => Some(true.into()),
                "False" => Some(false.into()),
                "None" => Some(Value::Null),
                text => serde_json::from_str(text).ok(),
            },
        };
        let json = json.unwrap_or_else(|| text.into());
        add(out, Piece::CallArguments(json.to_string()));
    }

    /// All have come.
    pub fn end(&mut self, out: &mut Vec<Piece>) {
        let end = if self.any { "}" } else { "{}" };
        add(out, Piece::CallArguments(end.to_owned()));
    }
}
