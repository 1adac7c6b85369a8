//! Chat templates: a file of their own, or an entry of tokenizer_config.json.

use super::super::json::Json;
use super::super::{HuggingFaceError, Texts};
use crate::gguf::Value;

/// Writes the default template, and others by their names.
pub(super) fn write(
    texts: &Texts,
    pairs: &mut Vec<(String, Value)>,
) -> Result<(), HuggingFaceError> {
    const FILE: &str = "tokenizer_config.json";
    if let Some(template) = &texts.chat_template {
        let Ok(template) = std::str::from_utf8(template) else {
            return Err(HuggingFaceError::Vocabulary {
                file: "chat_template.jinja",
                what: "it is not UTF-8 text".to_owned(),
            });
        };
        pairs.push(("tokenizer.chat_template".to_owned(), template.into()));
        return Ok(());
    }
    let Some(text) = &texts.tokenizer_config else {
        return Ok(());
    };
    let config = Json::parse(FILE, text)?;
    let list = match config.get("chat_template") {
        None => return Ok(()),
        Some(serde_json::Value::String(template)) => {
            pairs.push((
                "tokenizer.chat_template".to_owned(),
                template.as_str().into(),
            ));
            return Ok(());
        }
        Some(serde_json::Value::Array(list)) => list,
        Some(_) => return Err(config.wrong("chat_template", "a text or a list of templates")),
    };
    let mut names: Vec<&str> = Vec::new();
    for entry in list {
        let of = |key: &str| entry.get(key).and_then(serde_json::Value::as_str);
        let (Some(name), Some(template)) = (of("name"), of("template")) else {
            return Err(config.wrong("chat_template", "a list of names and templates"));
        };
        if names.contains(&name) {
            return Err(config.value("chat_template", "and names a template twice"));
        }
        let key = match name {
            "default" => "tokenizer.chat_template".to_owned(),
            name => format!("tokenizer.chat_template.{name}"),
        };
        pairs.push((key, template.into()));
        names.push(name);
    }
    Ok(())
}
