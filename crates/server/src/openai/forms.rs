//! What an answer must look like: OpenAI's `response_format`, and the names that other servers have for
//! what it lacks.

use crate::error::ApiError;
use crate::fields::{Fields, wrong};
use crate::talk::{Form, Grammar, read};
use serde_json::Value;

/// The most choices of `guided_choice`.
const MAX_CHOICES: usize = 1024;

/// The form of a completion; more than one is an error.
pub fn form(fields: &Fields<'_>) -> Result<Form, ApiError> {
    let mut found: Option<(&'static str, Form)> = None;
    let mut add = |name: &'static str, form: Option<Form>| match (form, &found) {
        (None, _) => Ok(()),
        (Some(form), None) => {
            found = Some((name, form));
            Ok(())
        }
        (Some(_), Some((other, _))) => {
            let message =
                format!("`{name}` and `{other}` both say what an answer looks like; give one");
            Err(ApiError::invalid(name, message))
        }
    };
    add("response_format", response_format(fields)?)?;
    for name in ["json_schema", "guided_json"] {
        add(name, schema(fields, name)?.map(Form::JsonSchema))?;
    }
    let text = |name: &str| Ok::<_, ApiError>(fields.str(name)?.map(str::to_owned));
    add("guided_regex", text("guided_regex")?.map(Form::Regex))?;
    add(
        "guided_grammar",
        text("guided_grammar")?.map(|g| Form::Grammar(either(g))),
    )?;
    let gbnf = |text| Form::Grammar(Grammar::Gbnf(text));
    // llama.cpp's clients send an empty one for none.
    let grammar = text("grammar")?.filter(|text| !text.is_empty());
    add("grammar", grammar.map(gbnf))?;
    let choices = match fields.list("guided_choice")? {
        Some(list) => Some(read::strings(list, "guided_choice", MAX_CHOICES)?),
        None => None,
    };
    add("guided_choice", choices.map(Form::Choice))?;
    Ok(found.map_or(Form::Text, |(_, form)| form))
}

/// A grammar in whichever of the two notations it is: rules of GBNF have `::=`.
fn either(text: String) -> Grammar {
    match text.contains("::=") {
        true => Grammar::Gbnf(text),
        false => Grammar::Lark(text),
    }
}

fn response_format(fields: &Fields<'_>) -> Result<Option<Form>, ApiError> {
    let Some(format) = fields.object("response_format")? else {
        return Ok(None);
    };
    match format.str("type")?.unwrap_or_default() {
        "text" => Ok(None),
        "json_object" => match schema(&format, "schema")? {
            // llama.cpp and others take a schema here.
            Some(schema) => Ok(Some(Form::JsonSchema(schema))),
            None => Ok(Some(Form::JsonObject)),
        },
        "json_schema" => {
            let Some(inner) = format.object("json_schema")? else {
                return Err(missing(format.path("json_schema")));
            };
            inner.bool("strict")?;
            inner.str("description")?;
            inner.str("name")?;
            match schema(&inner, "schema")? {
                Some(schema) => Ok(Some(Form::JsonSchema(schema))),
                None => Err(missing(inner.path("schema"))),
            }
        }
        "regex" => match format.str("pattern")? {
            Some(pattern) => Ok(Some(Form::Regex(pattern.to_owned()))),
            None => Err(missing(format.path("pattern"))),
        },
        "grammar" | "lark_grammar" => match format.str("grammar")? {
            Some(grammar) => Ok(Some(Form::Grammar(either(grammar.to_owned())))),
            None => Err(missing(format.path("grammar"))),
        },
        _ => Err(wrong_type(format.path("type"))),
    }
}

/// The error for a kind of form that is not known.
pub fn wrong_type(path: String) -> ApiError {
    let message = format!("`{path}` must be text, json_object, json_schema, regex or grammar");
    ApiError::invalid(path, message)
}

/// The error for a part that must be there.
pub fn missing(path: String) -> ApiError {
    let message = format!("`{path}` is missing");
    ApiError::invalid(path, message)
}

/// A schema: an object, or true or false; some clients send it as text.
pub fn schema(fields: &Fields<'_>, name: &str) -> Result<Option<Value>, ApiError> {
    match fields.get(name) {
        None => Ok(None),
        Some(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Some(schema.clone())),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Some(schema)),
            _ => Err(ApiError::invalid(
                fields.path(name),
                format!("`{}` is no JSON schema", fields.path(name)),
            )),
        },
        Some(other) => Err(wrong(&fields.path(name), "a JSON schema", other)),
    }
}
