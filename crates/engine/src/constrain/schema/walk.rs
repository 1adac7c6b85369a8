//! From a schema to one that is kept to.

use super::super::ConstraintError;
use super::places::Places;
use super::{at, formats, lists, logic, numbers, objects, pattern, refuse};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The deepest nesting of schemas.
const MAX_SCHEMA_DEPTH: usize = 48;
/// The most schemas, those inside others included.
const MAX_SCHEMAS: usize = 20_000;

/// Keywords that say nothing about what is valid.
pub(super) const ANNOTATIONS: [&str; 16] = [
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "$anchor",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
];

/// Keywords that are known and not kept to.
const REFUSED: [&str; 6] = [
    "$dynamicRef",
    "$recursiveRef",
    "$vocabulary",
    "extends",
    "disallow",
    "divisibleBy",
];

/// The drafts that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Draft {
    D4,
    D6,
    D7,
    D2019,
    D2020,
}

pub(super) type Checked = Result<Value, ConstraintError>;

/// One walk through a schema.
pub(super) struct Walk<'a> {
    root: &'a Value,
    places: Places,
    pub draft: Draft,
    prefix: &'a str,
    /// Keywords that cannot be kept to are left out.
    lenient: bool,
    /// Names of definitions by the pointer that is referred to.
    names: HashMap<String, String>,
    /// Those of which the schema is still to be read.
    pending: Vec<(String, String)>,
    count: usize,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a Value, prefix: &'a str, lenient: bool) -> Result<Self, ConstraintError> {
        let draft = match root.get("$schema") {
            None => Draft::D2020,
            Some(Value::String(uri)) => match uri.trim_end_matches('#') {
                "http://json-schema.org/draft-04/schema" => Draft::D4,
                "http://json-schema.org/draft-06/schema" => Draft::D6,
                "http://json-schema.org/draft-07/schema" => Draft::D7,
                "https://json-schema.org/draft/2019-09/schema" => Draft::D2019,
                "https://json-schema.org/draft/2020-12/schema"
                | "http://json-schema.org/schema" => Draft::D2020,
                _ => {
                    let why =
                        "this dialect is not known; use a draft from 4 to 2020-12, or leave it out";
                    return Err(refuse("/$schema", why));
                }
            },
            Some(_) => return Err(refuse("/$schema", "it must be a string")),
        };
        let key = if draft == Draft::D4 { "id" } else { "$id" };
        Ok(Self {
            root,
            places: Places::new(root, key, draft <= Draft::D7),
            draft,
            prefix,
            lenient,
            names: HashMap::new(),
            pending: Vec::new(),
            count: 0,
        })
    }

    /// The definitions that what was read refers to.
    pub fn definitions(&mut self) -> Result<Map<String, Value>, ConstraintError> {
        let mut all = Map::new();
        while let Some((pointer, name)) = self.pending.pop() {
            let root = self.root;
            let target = root.pointer(&pointer);
            let target = target.ok_or_else(|| refuse(&pointer, "there is no such schema"))?;
            let schema = self.schema(target, &pointer, 0)?;
            all.insert(name, schema);
        }
        Ok(all)
    }

    /// A schema as it is kept to.
    pub fn schema(&mut self, schema: &Value, path: &str, depth: usize) -> Checked {
        self.count += 1;
        if depth > MAX_SCHEMA_DEPTH || self.count > MAX_SCHEMAS {
            let why = format!(
                "the schema is nested more than {MAX_SCHEMA_DEPTH} deep, or has more than {MAX_SCHEMAS} parts; make it smaller"
            );
            return Err(refuse(path, &why));
        }
        let map = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(map) => map,
            _ => return Err(refuse(path, "a schema must be an object, true or false")),
        };
        if depth > 0 && !self.lenient {
            self.one_dialect(map, path)?;
        }
        if let Some(reference) = map.get("$ref")
            && self.draft <= Draft::D7
        {
            return self.reference(reference, path); // what stands beside it is ignored
        }
        let mut made = Made::default();
        for (keyword, value) in map {
            let here = at(path, keyword);
            let read = self.keyword(map, keyword, value, &here, depth, &mut made);
            if !self.lenient || self.count > MAX_SCHEMAS {
                read?;
            }
        }
        Ok(made.finish())
    }

    /// Only the whole schema may have a dialect.
    fn one_dialect(&self, map: &Map<String, Value>, path: &str) -> Result<(), ConstraintError> {
        let whole = self.root.get("$schema");
        match map.get("$schema") {
            Some(dialect) if Some(dialect) != whole => {
                let why = "a part of a schema cannot have another dialect";
                Err(refuse(&at(path, "$schema"), why))
            }
            _ => Ok(()),
        }
    }

    /// Reads one keyword.
    fn keyword(
        &mut self,
        map: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        path: &str,
        depth: usize,
        made: &mut Made,
    ) -> Result<(), ConstraintError> {
        match keyword {
            "contentEncoding" | "contentMediaType" if self.draft <= Draft::D7 => {
                let why = "what a text holds cannot be kept to; leave it out (in later drafts it is a note)";
                return Err(refuse(path, why));
            }
            keyword if ANNOTATIONS.contains(&keyword) => {}
            "$ref" => made.and(self.reference(value, path.trim_end_matches("/$ref"))?),
            "type" => made.set("type", types(value, path)?),
            "const" if self.draft == Draft::D4 => {}
            "const" | "enum" => made.set(keyword, numbers::constant(keyword, value, path)?),
            "allOf" | "anyOf" => {
                let all = self.list(value, path, depth)?;
                match keyword {
                    "allOf" => all.into_iter().for_each(|schema| made.and(schema)),
                    _ => made.and(json!({ "anyOf": all })),
                }
            }
            "oneOf" => made.and(logic::one_of(self, value, path, depth)?),
            "not" => made.and(logic::not(self, value, path, depth)?),
            "if" => made.and(logic::conditional(self, map, path, depth)?),
            "then" | "else" => {}
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                numbers::bound(map, keyword, value, path, made)?;
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "maxProperties" => {
                made.set(keyword, numbers::count(value, path)?.into());
            }
            "minProperties" => objects::min_properties(map, value, path, made)?,
            "pattern" => made.set("pattern", pattern::checked(value, path)?),
            "format" => {
                if let Some(schema) = formats::schema(value, path)? {
                    made.and(schema);
                }
            }
            "properties" | "patternProperties" => {
                let all = self.named(value, path, depth)?;
                let all = match keyword {
                    "properties" => all,
                    _ => objects::patterns(all, path)?,
                };
                made.set(keyword, all.into());
            }
            "additionalProperties" => made.set(keyword, self.schema(value, path, depth + 1)?),
            "required" => made.set(keyword, objects::names(value, path)?.into()),
            "propertyNames" => objects::property_names(value, path, made)?,
            "dependentRequired" | "dependentSchemas" | "dependencies" => {
                objects::dependent(self, value, path, depth, made)?;
            }
            "items" | "prefixItems" | "additionalItems" | "uniqueItems" => {
                self.items(map, keyword, value, path, depth, made)?;
            }
            "contains" => made.and(lists::contains(self, map, value, path, depth)?),
            "minContains" | "maxContains" => {}
            "unevaluatedProperties" | "unevaluatedItems" => {
                objects::unevaluated(self, map, keyword, value, path, depth, made)?;
            }
            keyword if REFUSED.contains(&keyword) => {
                let why = format!(
                    "`{keyword}` cannot be kept to while an answer is written; leave it out and check the answer"
                );
                return Err(refuse(path, &why));
            }
            // Other words mean nothing to a validator.
            _ => {}
        }
        Ok(())
    }

    fn items(
        &mut self,
        map: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        path: &str,
        depth: usize,
        made: &mut Made,
    ) -> Result<(), ConstraintError> {
        let is_list = map.get("items").is_some_and(Value::is_array);
        match keyword {
            "uniqueItems" => {
                let few = |name, n| {
                    map.get(name)
                        .and_then(Value::as_f64)
                        .is_some_and(|m| m <= n)
                };
                if value != &Value::Bool(false) && !few("maxItems", 1.0) {
                    let why = "items cannot be kept different from one another while an answer is written; leave it out and check the answer";
                    return Err(refuse(path, why));
                }
            }
            "items" if is_list => {
                made.set("prefixItems", self.list(value, path, depth)?.into());
            }
            "items" => made.set("items", self.schema(value, path, depth + 1)?),
            "prefixItems" if self.draft >= Draft::D2020 => {
                made.set("prefixItems", self.list(value, path, depth)?.into());
            }
            "additionalItems" if is_list => {
                made.set("items", self.schema(value, path, depth + 1)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// A list of schemas.
    pub fn list(
        &mut self,
        value: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Value>, ConstraintError> {
        let Value::Array(list) = value else {
            return Err(refuse(path, "it must be a list of schemas"));
        };
        if list.is_empty() && !path.ends_with("Items") && !path.ends_with("/items") {
            return Err(refuse(path, "the list is empty"));
        }
        let one = |(i, schema): (usize, &Value)| {
            self.schema(schema, &at(path, &i.to_string()), depth + 1)
        };
        list.iter().enumerate().map(one).collect()
    }

    /// Schemas by name.
    fn named(
        &mut self,
        value: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Map<String, Value>, ConstraintError> {
        let Value::Object(map) = value else {
            return Err(refuse(path, "it must be an object of schemas"));
        };
        let one = |(name, schema): (&String, &Value)| {
            let schema = self.schema(schema, &at(path, name), depth + 1)?;
            Ok((name.clone(), schema))
        };
        map.iter().map(one).collect()
    }

    /// A reference to another part of this schema.
    fn reference(&mut self, value: &Value, path: &str) -> Checked {
        let path = at(path, "$ref");
        let pointer = self.pointer(value, &path)?;
        let name = match self.names.get(&pointer) {
            Some(name) => name.clone(),
            None => {
                let name = format!("{}{}", self.prefix, self.names.len());
                self.names.insert(pointer.clone(), name.clone());
                self.pending.push((pointer, name.clone()));
                name
            }
        };
        Ok(json!({ "$ref": format!("#/$defs/{name}") }))
    }

    /// Where a reference at `path` leads, as a JSON pointer.
    pub fn pointer(&self, value: &Value, path: &str) -> Result<String, ConstraintError> {
        let uri = value.as_str();
        let uri = uri.ok_or_else(|| refuse(path, "a reference must be a string"))?;
        let Some(pointer) = self.places.find(path, uri) else {
            let why = "only references into the same schema (`#/$defs/...`) are followed";
            return Err(refuse(path, why));
        };
        match self.root.pointer(&pointer) {
            Some(Value::Object(_) | Value::Bool(_)) => Ok(pointer),
            _ => Err(refuse(path, "there is no such schema")),
        }
    }

    /// Whether `minContains` and `maxContains` are known.
    pub fn counts_contained(&self) -> bool {
        self.draft >= Draft::D2019
    }

    /// The schema that a pointer leads to.
    pub fn target(&self, pointer: &str) -> Option<&'a Value> {
        self.root.pointer(pointer)
    }
}

fn types(value: &Value, path: &str) -> Checked {
    const TYPES: [&str; 7] = [
        "null", "boolean", "integer", "number", "string", "array", "object",
    ];
    let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let all = match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(known),
        other => known(other),
    };
    if !all {
        return Err(refuse(
            path,
            "it must be the name of a JSON type, or a list of names",
        ));
    }
    // An integer is a number: both together would be the same text twice.
    if let Value::Array(list) = value
        && list.contains(&"number".into())
    {
        let mut list = list.clone();
        list.retain(|name| name != "integer");
        return Ok(list.into());
    }
    Ok(value.clone())
}

/// What is made of a schema: its own keywords, and other schemas that hold too.
#[derive(Default)]
pub(super) struct Made {
    own: Map<String, Value>,
    all: Vec<Value>,
}

impl Made {
    pub fn set(&mut self, keyword: &str, value: Value) {
        self.own.insert(keyword.to_owned(), value);
    }

    /// `schema` must hold too.
    pub fn and(&mut self, schema: Value) {
        if schema != Value::Bool(true) && schema != json!({}) {
            self.all.push(schema);
        }
    }

    fn finish(mut self) -> Value {
        match (self.own.is_empty(), self.all.len()) {
            (true, 0) => return Value::Bool(true),
            (true, 1) => return self.all.swap_remove(0),
            (_, 0) => {}
            _ => {
                let all = std::mem::take(&mut self.all);
                self.set("allOf", all.into());
            }
        }
        self.own.into()
    }
}
