//! An answer from a server of this user that has the model in memory already: no second copy is loaded.

use crate::commands::run::Session;
use crate::layers::Given;
use crate::load::BUILT_IN_NAME;
use crate::sockets::Running;
use crate::{model_file, out};
use ingle::Sampling;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Flags that a server can be told. With any other the model is loaded here.
const TOLD: &[&str] = &[
    "model",
    "prompt",
    "system",
    "max_tokens",
    "stop",
    "temp",
    "top_k",
    "top_p",
    "min_p",
    "typical",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "repeat_last_n",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breaker",
    "seed",
    "offline",
    "config",
    "route",
];

/// A server that has the model, and what it calls it.
pub struct Through {
    server: Running,
    id: String,
    route: Option<Route>,
}

/// A server that has `model` loaded, if all that was asked for can be told it.
pub fn find(model: Option<&str>, given: &Given, route: Option<Route>) -> Option<Through> {
    if given.ids().any(|id| !TOLD.contains(&id)) {
        return None;
    }
    let path: Option<PathBuf> = match model {
        None => None,
        Some(model) => {
            let found = model_file::find(model).ok()?;
            // What Ollama keeps beside a model is applied where it is loaded.
            if found.layers.is_some() {
                return None;
            }
            Some(found.path.canonicalize().ok()?)
        }
    };
    let same = |candidate: &Value| match &path {
        None => candidate["path"].is_null() && candidate["id"] == BUILT_IN_NAME,
        Some(path) => {
            let theirs = candidate["path"].as_str().map(PathBuf::from);
            theirs
                .and_then(|theirs| theirs.canonicalize().ok())
                .as_ref()
                == Some(path)
        }
    };
    Running::all().into_iter().find_map(|server| {
        let models = server.models().ok()?;
        let model = models.iter().find(|model| same(model))?;
        let id = model["id"].as_str()?.to_owned();
        Some(Through { server, id, route })
    })
}

impl Through {
    /// Asks for one answer and shows it as it comes.
    ///
    /// # Errors
    /// What the server says, or that it went.
    pub fn answer(&self, session: &Session, prompt: &str) -> anyhow::Result<()> {
        out::note(format!(
            "Answered by the server with process {}, which has {} in memory (--no-server loads it anew).",
            self.server.pid,
            out::plain(&self.id)
        ));
        ask(&self.server, &self.id, session, prompt, self.route)
    }
}

/// Where an answer is to come from.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// This machine
    Local,
    /// This machine, or a provider where that is not good enough
    Auto,
    /// A provider
    Cloud,
}

impl Route {
    fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Auto => "auto",
            Self::Cloud => "cloud",
        }
    }
}

/// Asks a server for one answer and shows it as it comes.
///
/// # Errors
/// What the server says, or that it went.
pub fn ask(
    server: &Running,
    id: &str,
    session: &Session,
    prompt: &str,
    route: Option<Route>,
) -> anyhow::Result<()> {
    let mut body = body(id, session, prompt);
    if let Some(route) = route {
        body["route"] = route.word().into();
    }
    let answer = server.ask("POST", "/v1/chat/completions", Some(&body))?;
    if answer.status >= 400 {
        answer.json()?;
        anyhow::bail!("the server refused");
    }
    let (mut end, mut text, mut told) = (None, String::new(), Value::Null);
    for line in answer.lines() {
        let line = line?;
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
            continue;
        };
        let event: Value = serde_json::from_str(data)?;
        if let Some(why) = event["error"]["message"].as_str() {
            anyhow::bail!("{}", out::plain(why));
        }
        let choice = &event["choices"][0];
        if let Some(thought) = choice["delta"]["reasoning_content"].as_str() {
            out::part_of_note(out::without_control(thought));
        }
        if let Some(part) = choice["delta"]["content"].as_str() {
            out::answer(&out::without_control(part))?;
            text.push_str(part);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            end = Some(reason.to_owned());
            told = event["ingle"].clone();
        }
    }
    if !text.ends_with('\n') {
        out::answer("\n")?;
    }
    match end.as_deref() {
        None => anyhow::bail!("the server went before the answer was complete"),
        Some("length") if session.max_tokens.is_none() => {
            out::note("note: the answer stops here because the context is full");
        }
        Some(_) => {}
    }
    if route.is_some() {
        out::note(out::plain(&summary(&told)));
    }
    Ok(())
}

/// Who answered, and why, in a line.
fn summary(told: &Value) -> String {
    let word = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    if told.is_null() {
        return "[local: no provider is configured]".to_owned();
    }
    let cost = match told["cost"].as_str() {
        Some(cost) => format!(", {cost} {}", word("currency")),
        None => String::new(),
    };
    format!(
        "[{}, {}{cost}: {}]",
        word("route"),
        word("model"),
        word("reason")
    )
}

fn body(model: &str, session: &Session, prompt: &str) -> Value {
    let mut messages = Vec::new();
    if let Some(system) = &session.system {
        messages.push(json!({ "role": "system", "content": system }));
    }
    messages.push(json!({ "role": "user", "content": prompt }));
    let Sampling {
        temperature,
        top_k,
        top_p,
        min_p,
        typical,
        seed,
        ..
    } = &session.sampling;
    let s = &session.sampling;
    let last = |n: Option<u32>| n.map_or(json!(-1), |n| json!(n));
    json!({
        "model": model, "messages": messages, "stream": true, "max_tokens": session.max_tokens,
        "stop": session.stop, "seed": seed, "temperature": temperature, "top_k": top_k,
        "top_p": top_p, "min_p": min_p, "typical_p": typical,
        "repeat_penalty": s.repetition_penalty, "presence_penalty": s.presence_penalty,
        "frequency_penalty": s.frequency_penalty, "repeat_last_n": last(s.penalty_last_n),
        "dry_multiplier": s.dry.multiplier, "dry_base": s.dry.base,
        "dry_allowed_length": s.dry.allowed_length,
        "dry_penalty_last_n": last(s.dry.penalty_last_n),
        "dry_sequence_breakers": s.dry.sequence_breakers,
    })
}
