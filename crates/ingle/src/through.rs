//! Answers from a server of this user, which has the model in memory already, or may ask a provider.

use crate::commands::run::Session;
use crate::interrupt::Interrupt;
use crate::layers::Given;
use crate::load::{BUILT_IN_NAME, another};
use crate::sockets::{Answer, Running};
use crate::{model_file, out};
use ingle::Sampling;
use serde_json::{Map, Value, json};
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

/// A server, what it calls the model, and where its answers are to come from.
pub struct Through {
    server: Running,
    id: String,
    /// None: from this machine, as if the model were loaded here.
    route: Option<Route>,
    /// It is not this process.
    other: bool,
}

/// An answer of a server, or what there is of it.
#[derive(Debug, Default)]
pub struct Said {
    /// What it says.
    pub text: String,
    /// Why it ended, in the server's word; none: it was stopped.
    end: Option<String>,
    /// Who gave it, and why.
    told: Value,
}

/// A server that has `model` loaded, if all that was asked for can be told it.
pub fn find(model: Option<&str>, given: &Given, route: Option<Route>) -> Option<Through> {
    // Another server asks whom its own settings name.
    let own_house = route.is_some() && given.ids().any(|id| id == "config");
    if own_house || given.ids().any(|id| !TOLD.contains(&id)) {
        return None;
    }
    let path: Option<PathBuf> = match another(model) {
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
        Some(Through {
            server,
            id,
            route,
            other: true,
        })
    })
}

impl Through {
    /// A server of this process.
    pub fn own(server: Running, id: String, route: Route) -> Self {
        Self {
            server,
            id,
            route: Some(route),
            other: false,
        }
    }

    /// Whose words follow.
    pub fn introduce(&self) {
        if self.other {
            out::note(format!(
                "Answered by the server with process {}, which has {} in memory (--no-server loads it anew).",
                self.server.pid,
                out::plain(&self.id)
            ));
        }
    }

    /// Asks for one answer to `prompt`.
    ///
    /// # Errors
    /// As [`Self::say`]; it was stopped.
    pub fn one(
        &self,
        session: &Session,
        prompt: String,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        self.introduce();
        let said = self.say(session, &[("user", prompt)], interrupt)?;
        anyhow::ensure!(said.end.is_some(), "stopped before the answer was complete");
        Ok(())
    }

    /// Asks for an answer to these messages, (role, content), shows it as it comes, and says afterwards where
    /// it came from.
    ///
    /// # Errors
    /// What the server says, or that it went.
    pub fn say(
        &self,
        session: &Session,
        messages: &[(&'static str, String)],
        interrupt: &Interrupt,
    ) -> anyhow::Result<Said> {
        let body = self.body(session, messages);
        interrupt.clear();
        let asked = self
            .server
            .ask_until("POST", "/v1/chat/completions", &body, interrupt);
        let said = match asked {
            Ok(answer) => shown(answer, interrupt)?,
            Err(_) if interrupt.is_set() => Said::default(),
            Err(error) => return Err(error),
        };
        if !said.text.ends_with('\n') {
            out::answer("\n")?;
        }
        match said.end.as_deref() {
            None => out::note("(stopped)"),
            Some("length") if session.max_tokens.is_none() => {
                out::note("note: the answer stops here because the context is full");
            }
            Some(_) => {}
        }
        if self.route.is_some() && said.end.is_some() {
            out::note(out::plain(&summary(&said.told)));
        }
        Ok(said)
    }

    fn body(&self, session: &Session, messages: &[(&'static str, String)]) -> Value {
        let system = session.system.iter().map(|text| ("system", text));
        let said = messages.iter().map(|(role, text)| (*role, text));
        let messages = system.chain(said);
        let messages = messages.map(|(role, text)| json!({ "role": role, "content": text }));
        let mut body = Map::new();
        body.insert("model".into(), self.id.clone().into());
        body.insert("messages".into(), messages.collect());
        body.insert("stream".into(), true.into());
        body.insert("max_tokens".into(), session.max_tokens.into());
        body.insert("stop".into(), session.stop.clone().into());
        let route = self.route.unwrap_or(Route::Local);
        body.insert("route".into(), route.word().into());
        // Nobody else samples as this machine does: where a provider may answer, only what somebody asked
        // for is said, and the rest is left to whoever answers.
        let says = |flag: &str| self.route.is_none() || session.said.contains(flag);
        let parameters = parameters(&session.sampling).into_iter();
        let parameters = parameters.filter(|(flag, ..)| says(flag));
        body.extend(parameters.map(|(_, name, value)| (name.to_owned(), value)));
        Value::Object(body)
    }
}

/// Shows an answer as it comes.
fn shown(answer: Answer, interrupt: &Interrupt) -> anyhow::Result<Said> {
    if answer.status >= 400 {
        answer.json()?;
        anyhow::bail!("the server refused");
    }
    let mut said = Said::default();
    for line in answer.lines() {
        let line = match line {
            Ok(line) => line,
            Err(_) if interrupt.is_set() => return Ok(said),
            Err(error) => return Err(error.into()),
        };
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
            said.text.push_str(part);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            said.end = Some(reason.to_owned());
            said.told = event["ingle"].clone();
        }
    }
    anyhow::ensure!(
        said.end.is_some() || interrupt.is_set(),
        "the server went before the answer was complete"
    );
    Ok(said)
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
        "[{}, {}{cost}: {}; `ingle why {}` says more]",
        word("route"),
        word("model"),
        word("reason"),
        word("request")
    )
}

/// What a way of sampling is in a request: the flag, the field, its value.
pub fn parameters(s: &Sampling) -> Vec<(&'static str, &'static str, Value)> {
    let last = |n: Option<u32>| n.map_or(json!(-1), |n| json!(n));
    let mut all = vec![
        ("temp", "temperature", json!(s.temperature)),
        ("top_k", "top_k", json!(s.top_k)),
        ("top_p", "top_p", json!(s.top_p)),
        ("min_p", "min_p", json!(s.min_p)),
        ("typical", "typical_p", json!(s.typical)),
        (
            "repeat_penalty",
            "repeat_penalty",
            json!(s.repetition_penalty),
        ),
        (
            "presence_penalty",
            "presence_penalty",
            json!(s.presence_penalty),
        ),
        (
            "frequency_penalty",
            "frequency_penalty",
            json!(s.frequency_penalty),
        ),
        ("repeat_last_n", "repeat_last_n", last(s.penalty_last_n)),
        ("dry_multiplier", "dry_multiplier", json!(s.dry.multiplier)),
        ("dry_base", "dry_base", json!(s.dry.base)),
        (
            "dry_allowed_length",
            "dry_allowed_length",
            json!(s.dry.allowed_length),
        ),
        (
            "dry_penalty_last_n",
            "dry_penalty_last_n",
            last(s.dry.penalty_last_n),
        ),
        (
            "dry_sequence_breaker",
            "dry_sequence_breakers",
            json!(s.dry.sequence_breakers),
        ),
        ("seed", "seed", json!(s.seed)),
    ];
    if !s.logit_bias.is_empty() {
        let bias = s.logit_bias.iter();
        // JSON has no infinity: -100 means never.
        let number = |bias: f32| {
            json!(if bias == f32::NEG_INFINITY {
                -100.0
            } else {
                bias
            })
        };
        let bias = bias.map(|(token, bias)| (token.0.to_string(), number(*bias)));
        let bias: Map<String, Value> = bias.collect();
        all.push(("logit_bias", "logit_bias", bias.into()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answered_is_said_in_a_line() {
        let told = json!({
            "request": "req-1", "route": "cloud", "model": "cloud/big", "reason": "it was asked for",
            "cost": "0.02", "currency": "USD", "fallback": false,
        });
        insta::assert_snapshot!(
            summary(&told),
            @"[cloud, cloud/big, 0.02 USD: it was asked for; `ingle why req-1` says more]"
        );
        insta::assert_snapshot!(summary(&Value::Null), @"[local: no provider is configured]");
    }
}
