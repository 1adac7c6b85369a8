//! `ingle template`: the exact prompt that a chat becomes.

use crate::{Usage, clock, model_file, out};
use anyhow::Context;
use ingle::formats::prompt::with_token_texts;
use ingle::formats::template::{Chat, ChatTemplate, LocalTime};
use ingle::formats::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// More than any template or conversation; a wrong path must not fill memory.
const MOST_BYTES: u64 = 64 << 20;

/// The exact prompt that a chat becomes
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true).args(["model", "template"]))]
pub struct Args {
    /// A .gguf file or the name of a model: its template, and the texts of its beginning and end tokens
    model: Option<String>,
    /// A Jinja template, instead of the model's own
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// A JSON file: a list of messages, or an object with "messages" and perhaps "tools",
    /// "documents", "add_generation_prompt" (true where it is absent) and other variables
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// What a template that shows the date shows, in seconds since 1970 (UTC) [default: now]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    now: Option<i64>,
    /// Print {"prompt": "..."}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut chat = read_chat(&args.messages)?;
    let mut source = args.template.as_deref().map(read_text).transpose()?;
    if let Some(model) = &args.model {
        let files = model_file::open(model)?;
        let vocabulary =
            Vocabulary::from_metadata(files.metadata()).with_context(|| model.clone())?;
        chat = with_token_texts(chat, &vocabulary);
        source = source.or_else(|| vocabulary.chat_template().map(str::to_owned));
    }
    let source = source.ok_or_else(|| {
        Usage("this model has no chat template; give one with --template FILE".into())
    })?;
    let now = args.now.map_or_else(clock::now, LocalTime::from_unix);
    let prompt = ChatTemplate::new(&source)?.render(&chat, now)?;
    if args.json {
        out::json(&json!({ "prompt": prompt }))
    } else {
        out::answer(&prompt)
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let size = std::fs::metadata(path)
        .with_context(|| format!("{shown} cannot be read"))?
        .len();
    if size > MOST_BYTES {
        return Err(Usage(format!(
            "{shown} has {}, too much for a template or a chat; check the path",
            out::bytes(size)
        ))
        .into());
    }
    std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read as text"))
}

fn read_chat(path: &Path) -> anyhow::Result<Chat> {
    let text = read_text(path)?;
    let json =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    chat(json).map_err(|what| Usage(format!("{}: {what}", path.display())).into())
}

/// The chat that a file of messages describes.
fn chat(json: Value) -> Result<Chat, String> {
    let mut variables = match json {
        Value::Array(messages) => Map::from_iter([("messages".to_owned(), Value::Array(messages))]),
        Value::Object(variables) => variables,
        _ => return Err("a list of messages is expected, or an object with \"messages\"".into()),
    };
    let mut take_list = |name: &str| match variables.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(format!("\"{name}\" must be a list")),
    };
    let messages = take_list("messages")?.ok_or("there are no \"messages\"")?;
    let (tools, documents) = (take_list("tools")?, take_list("documents")?);
    let add_generation_prompt = match variables.shift_remove("add_generation_prompt") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(add)) => add,
        Some(_) => return Err("\"add_generation_prompt\" must be true or false".into()),
    };
    Ok(Chat {
        messages,
        tools,
        documents,
        add_generation_prompt,
        variables,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_or_an_object() {
        let message = json!({ "role": "user", "content": "hi" });
        let list = chat(json!([message])).unwrap();
        assert_eq!(list.messages.first(), Some(&message));
        assert!(list.add_generation_prompt && list.variables.is_empty());
        let object = chat(json!({
            "enable_thinking": false, "messages": [message], "tools": [{}],
            "add_generation_prompt": false, "documents": null,
        }))
        .unwrap();
        assert_eq!(
            (object.messages.len(), object.tools.map(|t| t.len())),
            (1, Some(1))
        );
        assert!(!object.add_generation_prompt && object.documents.is_none());
        assert_eq!(
            Value::Object(object.variables),
            json!({ "enable_thinking": false })
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |json| chat(json).unwrap_err();
        assert_eq!(message(json!({})), "there are no \"messages\"");
        assert_eq!(
            message(json!({ "messages": 1 })),
            "\"messages\" must be a list"
        );
        assert!(message(json!("x")).contains("a list of messages"));
        assert!(
            message(json!({ "messages": [], "add_generation_prompt": 1 }))
                .contains("true or false")
        );
    }
}
