//! Rules of a grammar, in Lark's notation, and what calls are made of in them.

use super::Tool;
use super::params::{Kind, kind};
use crate::constrain::{Constraint, ConstraintError, embedded, is_mark, literal, rule_of, whole};
use ingle_formats::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A tool whose schema has been read.
struct Known<'a> {
    tool: &'a Tool,
    /// As it is kept to.
    parameters: Value,
    defs: Map<String, Value>,
}

/// A grammar that is being written.
pub(super) struct Lark<'a> {
    vocabulary: &'a Vocabulary,
    out: String,
    tools: Vec<Known<'a>>,
    /// Names given so far.
    count: usize,
    any: Option<&'static str>,
}

impl<'a> Lark<'a> {
    pub fn new(vocabulary: &'a Vocabulary) -> Self {
        let mut lark = Self {
            vocabulary,
            out: String::new(),
            tools: Vec::new(),
            count: 0,
            any: None,
        };
        lark.rule("TEXT", "/(?s:.*)/");
        lark.rule("ws", "(/[ \\t\\r\\n]{1,8}/)?");
        lark
    }

    pub fn finish(self) -> String {
        self.out
    }

    /// A rule of that name.
    pub fn rule(&mut self, name: &str, body: &str) {
        let _ = writeln!(self.out, "{name}: {body}");
    }

    /// A rule with a name of its own.
    fn new_rule(&mut self, body: &str) -> String {
        self.count += 1;
        let name = format!("x{}", self.count);
        self.rule(&name, body);
        name
    }

    /// The vocabulary that it is for.
    pub fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary
    }

    fn special(&self, text: &str) -> Option<String> {
        let token = self.vocabulary.token_id(text)?;
        is_mark(self.vocabulary, token).then(|| format!("<[{token}]>"))
    }

    /// A mark: the token that it is, or its text.
    pub fn mark(&self, text: &str) -> String {
        self.special(text).unwrap_or_else(|| literal(text))
    }

    /// Any text, and the mark that ends it.
    pub fn text_until(&mut self, mark: &str) -> String {
        match self.special(mark) {
            Some(token) => format!("TEXT {token}"),
            None => self.lazy(&format!("TEXT {}", literal(mark))),
        }
    }

    /// A text that ends as soon as it can.
    fn lazy(&mut self, body: &str) -> String {
        self.count += 1;
        let name = format!("x{}", self.count);
        let _ = writeln!(self.out, "{name}[lazy]: {body}");
        name
    }

    /// JSON of a schema that has been checked.
    fn json(&mut self, schema: Value, defs: Map<String, Value>) -> String {
        self.new_rule(&format!("%json {}", whole(schema, defs)))
    }

    /// What an answer must be, as the name of a rule.
    pub fn form(&mut self, form: &Constraint) -> Result<String, ConstraintError> {
        let (rules, name) = rule_of(form)?;
        self.out.push_str(&rules);
        Ok(name)
    }

    /// Reads the schema of a tool. `lenient`: what cannot be kept to is left out.
    pub fn tool(&mut self, i: usize, tool: &'a Tool, lenient: bool) -> Result<(), ConstraintError> {
        let object = json!({ "type": "object" });
        let given = tool.parameters.as_ref().unwrap_or(&object);
        let lenient = lenient && !tool.strict;
        let read = embedded(given, &format!("t{i}_"), lenient);
        let (parameters, defs) = match read {
            Ok(read) => read,
            Err(_) if lenient => (object.clone(), Map::new()),
            Err(ConstraintError::Schema { path, why }) => {
                let name = tool.name.clone();
                return Err(ConstraintError::Tool { name, path, why });
            }
            Err(error) => return Err(error),
        };
        // Arguments are always an object.
        let parameters = match parameters.get("type") {
            Some(kind) if kind == "object" => parameters,
            _ => json!({ "type": "object", "allOf": [parameters] }),
        };
        self.tools.push(Known {
            tool,
            parameters,
            defs,
        });
        Ok(())
    }

    /// The name of tool `i`.
    pub fn name(&self, i: usize) -> String {
        literal(&self.tools[i].tool.name)
    }

    /// Its arguments as JSON.
    pub fn arguments(&mut self, i: usize) -> String {
        let tool = &self.tools[i];
        let (schema, defs) = (tool.parameters.clone(), tool.defs.clone());
        self.json(schema, defs)
    }

    /// Calls as JSON objects, of any tool: one, or where `list` says whether there may be several, a
    /// list. They may have `ids` where the format has.
    pub fn objects(&mut self, key: &str, list: Option<bool>, ids: bool) -> String {
        let mut defs = Map::new();
        let mut any = Vec::new();
        for known in &self.tools {
            defs.extend(known.defs.clone());
            let mut call = json!({
                "type": "object",
                "properties": { "name": { "const": known.tool.name }, key: known.parameters },
                "required": ["name", key],
                "additionalProperties": false,
            });
            if ids {
                call["properties"]["id"] =
                    json!({ "type": "string", "pattern": "^[a-zA-Z0-9]{9}$" });
            }
            any.push(call);
        }
        let one = match any.len() {
            1 => any.swap_remove(0),
            _ => json!({ "anyOf": any }),
        };
        let schema = match list {
            None => one,
            Some(true) => json!({ "type": "array", "items": one, "minItems": 1 }),
            Some(false) => json!({ "type": "array", "items": one, "minItems": 1, "maxItems": 1 }),
        };
        self.json(schema, defs)
    }

    /// The arguments of tool `i`: name, schema, and whether it must come. Where the schema says more
    /// than that, only what it says of each is kept to.
    fn parameters(&self, i: usize) -> Vec<(String, Value, bool)> {
        let schema = &self.tools[i].parameters;
        let mut all: Vec<(String, Value, bool)> = Vec::new();
        let mut required: Vec<&str> = Vec::new();
        let inner = schema.get("allOf").and_then(Value::as_array);
        for part in std::iter::once(schema).chain(inner.into_iter().flatten()) {
            let names = part.get("required").and_then(Value::as_array);
            required.extend(names.into_iter().flatten().filter_map(Value::as_str));
            let properties = part.get("properties").and_then(Value::as_object);
            for (name, schema) in properties.into_iter().flatten() {
                if schema != &Value::Bool(false) && !all.iter().any(|(n, ..)| n == name) {
                    all.push((name.clone(), schema.clone(), false));
                }
            }
        }
        for (name, _, must) in &mut all {
            *must = required.contains(&name.as_str());
        }
        all
    }

    /// A value as text up to `end`, as the marks around values have it.
    fn value(&mut self, i: usize, schema: &Value, end: &str) -> String {
        match kind(schema) {
            Kind::Json => {
                let defs = self.tools[i].defs.clone();
                let json = self.json(schema.clone(), defs);
                format!("{json} {}", literal(end))
            }
            Kind::Text => {
                let body = match texts(schema) {
                    Some(texts) => format!("({})", texts.join(" | ")),
                    None => text_terminal(schema),
                };
                self.lazy(&format!("{body} {}", literal(end)))
            }
            Kind::Either => self.lazy(&format!("TEXT {}", literal(end))),
        }
    }

    /// `<function=NAME>` and its parameters.
    pub fn function(&mut self, i: usize) -> String {
        let mut body = literal(&format!("<function={}>\n", self.tools[i].tool.name));
        for (name, schema, must) in self.parameters(i) {
            let value = self.value(i, &schema, "\n</parameter>\n");
            let open = literal(&format!("<parameter={name}>\n"));
            let times = if must { "" } else { "?" };
            let _ = write!(body, " ({open} {value}){times}");
        }
        self.new_rule(&format!("{body} \"</function>\""))
    }

    /// `NAME` and its arguments between marks of their own.
    pub fn arg_keys(&mut self, i: usize) -> String {
        let mut body = literal(&format!("{}\n", self.tools[i].tool.name));
        for (name, schema, must) in self.parameters(i) {
            let [key, key_end, open] =
                ["<arg_key>", "</arg_key>", "<arg_value>"].map(|mark| self.mark(mark));
            let end = match self.special("</arg_value>") {
                None => self.value(i, &schema, "</arg_value>\n"),
                Some(end) => {
                    let value = match kind(&schema) {
                        Kind::Json => {
                            let defs = self.tools[i].defs.clone();
                            self.json(schema, defs)
                        }
                        Kind::Text => match texts(&schema) {
                            Some(texts) => format!("({})", texts.join(" | ")),
                            None => {
                                self.count += 1;
                                let name = format!("X{}", self.count);
                                let body = text_terminal(&schema);
                                self.rule(&name, &body);
                                name
                            }
                        },
                        Kind::Either => "TEXT".to_owned(),
                    };
                    format!("{value} {end} \"\\n\"")
                }
            };
            let times = if must { "" } else { "?" };
            let name = literal(&name);
            let _ = write!(
                body,
                " ({key} {name} {key_end} \"\\n\" {open} {end}){times}"
            );
        }
        self.new_rule(&body)
    }

    /// Entries with commas between them, of which some need not come.
    fn entries(&mut self, entries: &[(String, bool)], comma: &str) -> String {
        // From the last to the first: what may follow when nothing has come yet, and when something has.
        let (mut first, mut next) = (String::new(), String::new());
        for (entry, must) in entries.iter().rev() {
            let with = format!("{entry} {next}");
            first = match (must, first.is_empty()) {
                (true, _) => self.new_rule(&with),
                (false, true) => self.new_rule(&format!("({with})?")),
                (false, false) => self.new_rule(&format!("{with} | {first}")),
            };
            let with = format!("{comma} {entry} {next}");
            next = match (must, next.is_empty()) {
                (true, _) => self.new_rule(&with),
                (false, true) => self.new_rule(&format!("({with})?")),
                (false, false) => self.new_rule(&format!("{with} | {next}")),
            };
        }
        first
    }

    /// Arguments as Gemma writes them, in braces.
    pub fn gemma(&mut self, i: usize, quote: &str) -> String {
        let mut entries = Vec::new();
        for (name, schema, must) in self.parameters(i) {
            let value = self.gemma_value(i, &schema, quote, 0);
            entries.push((format!("{} {value}", literal(&format!("{name}:"))), must));
        }
        let inside = self.entries(&entries, "\",\"");
        format!("\"{{\" {inside} \"}}\"")
    }

    fn gemma_value(&mut self, i: usize, schema: &Value, quote: &str, depth: usize) -> String {
        let open = self.mark(quote);
        let kinds = schema.get("type").and_then(Value::as_str);
        if let Some(texts) = texts(schema) {
            let all = texts.iter().map(|text| format!("{open} {text} {open}"));
            return format!("({})", all.collect::<Vec<_>>().join(" | "));
        }
        match kinds {
            Some("string") => format!("{open} {}", self.text_until(quote)),
            Some("number" | "integer" | "boolean" | "null") => {
                let defs = self.tools[i].defs.clone();
                self.json(schema.clone(), defs)
            }
            Some("array") if depth < 6 => {
                let items = schema.get("items").cloned().unwrap_or(Value::Bool(true));
                let item = self.gemma_value(i, &items, quote, depth + 1);
                format!("\"[\" ({item} (\",\" {item})*)? \"]\"")
            }
            Some("object") if depth < 6 && schema.get("properties").is_some() => {
                let required = schema.get("required").and_then(Value::as_array);
                let properties = schema.get("properties").and_then(Value::as_object);
                let mut entries = Vec::new();
                for (name, inner) in properties.into_iter().flatten() {
                    let value = self.gemma_value(i, inner, quote, depth + 1);
                    let must = required.is_some_and(|r| r.iter().any(|n| n == name));
                    entries.push((format!("{} {value}", literal(&format!("{name}:"))), must));
                }
                let inside = self.entries(&entries, "\",\"");
                format!("\"{{\" {inside} \"}}\"")
            }
            _ => self.gemma_any(quote).to_owned(),
        }
    }

    fn gemma_any(&mut self, quote: &str) -> &'static str {
        if self.any.is_none() {
            self.any = Some("any_value");
            let text = self.text_until(quote);
            let open = self.mark(quote);
            self.rule("any_text", &format!("{open} {text}"));
            self.rule(
                "ANY_WORD",
                "/-?[0-9]{1,17}(\\.[0-9]{1,17})?|true|false|null/",
            );
            self.rule("ANY_KEY", "/[A-Za-z_][A-Za-z0-9_\\-]{0,63}/");
            self.rule("any_entry", "(ANY_KEY | any_text) \":\" any_value");
            self.rule(
                "any_value",
                "any_text | ANY_WORD | \"[\" (any_value (\",\" any_value)*)? \"]\" | \"{\" (any_entry (\",\" any_entry)*)? \"}\"",
            );
        }
        "any_value"
    }

    /// Arguments as Python writes them, in brackets.
    pub fn python(&mut self, i: usize) -> String {
        let mut entries = Vec::new();
        for (name, schema, must) in self.parameters(i) {
            let value = self.python_value(i, &schema);
            entries.push((format!("{} {value}", literal(&format!("{name}="))), must));
        }
        let inside = self.entries(&entries, "\", \"");
        format!("\"(\" {inside} \")\"")
    }

    fn python_value(&mut self, i: usize, schema: &Value) -> String {
        match schema.get("type").and_then(Value::as_str) {
            Some("boolean") => "(\"True\" | \"False\")".to_owned(),
            Some("null") => "\"None\"".to_owned(),
            // What JSON writes otherwise than Python, the reader takes too.
            _ => {
                let defs = self.tools[i].defs.clone();
                self.json(schema.clone(), defs)
            }
        }
    }
}

/// The texts that a schema allows, where it names them.
fn texts(schema: &Value) -> Option<Vec<String>> {
    let values = match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => std::slice::from_ref(value),
        (None, Some(Value::Array(values))) => values,
        _ => return None,
    };
    values
        .iter()
        .map(|value| value.as_str().map(literal))
        .collect()
}

/// A terminal for a text that a schema of strings allows.
fn text_terminal(schema: &Value) -> String {
    let count = |word| schema.get(word).and_then(Value::as_u64);
    let (least, most) = (count("minLength").unwrap_or(0), count("maxLength"));
    let mut all = Vec::new();
    if least > 0 || most.is_some() {
        let most = most.map(|n| n.to_string()).unwrap_or_default();
        all.push(format!("/(?s:.{{{least},{most}}})/"));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let (from, begins) = match pattern.strip_prefix('^') {
            Some(rest) => (rest, ""),
            None => (pattern, "(?s:.*)"),
        };
        let (inside, ends) = match from.strip_suffix('$') {
            Some(rest) => (rest, ""),
            None => (from, "(?s:.*)"),
        };
        all.push(format!(
            "/{begins}(?:{}){ends}/",
            inside.replace('/', "\\/")
        ));
    }
    match all.is_empty() {
        true => "TEXT".to_owned(),
        false => format!("({})", all.join(" & ")),
    }
}
