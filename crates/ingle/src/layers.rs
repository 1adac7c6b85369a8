//! What Ollama keeps beside a model's weights, where it means something here.

use crate::commands::run::Session;
use ingle::Sampling;
use ingle::store::Layers;
use serde_json::Value;

/// Which flags somebody set, by clap's names: those win over what lies with a model.
#[derive(Default)]
pub struct Given(Vec<String>);

impl Given {
    /// The flags of the subcommand on this command line or in the environment, and those that `file`
    /// says ingle.toml sets.
    pub fn of(line: &clap::ArgMatches, file: impl Fn(&str) -> bool) -> Self {
        use clap::parser::ValueSource;
        let Some((_, flags)) = line.subcommand() else {
            return Self(Vec::new());
        };
        let set = |id: &&clap::Id| match flags.value_source(id.as_str()) {
            Some(ValueSource::CommandLine | ValueSource::EnvVariable) => true,
            Some(ValueSource::DefaultValue) => file(id.as_str()),
            _ => false,
        };
        Self(flags.ids().filter(set).map(ToString::to_string).collect())
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|id| id == flag)
    }
}

/// Applies system prompt, stop texts and sampling, and says in a line what was used and what was not.
pub fn apply(layers: &Layers, given: &Given, session: &mut Session) -> Option<String> {
    let mut used = Vec::new();
    let mut left: Vec<String> = layers.unused.clone();
    if let Some(system) = layers
        .system
        .as_ref()
        .filter(|text| !text.trim().is_empty())
        && !given.has("system")
        && !session.raw
    {
        session.system = Some(system.clone());
        used.push("system prompt".to_owned());
    }
    for (name, value) in &layers.parameters {
        let done = match name.as_str() {
            "stop" => stop(value, session),
            "num_predict" if !given.has("max_tokens") => most_tokens(value, session),
            "seed" if !given.has("seed") => seed(value, session),
            name => sampling(name, value, given, &mut session.sampling),
        };
        match done {
            Done::Used => used.push(name.clone()),
            Done::Overruled => {}
            Done::Unknown => left.push(name.clone()),
        }
    }
    if layers.template.is_some() {
        left.push("template (the model file's own is used)".into());
    }
    match (used.is_empty(), left.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("from Ollama: {}", used.join(", "))),
        (true, false) => Some(format!("not used from Ollama: {}", left.join(", "))),
        (false, false) => Some(format!(
            "from Ollama: {}; not used: {}",
            used.join(", "),
            left.join(", ")
        )),
    }
}

enum Done {
    Used,
    /// A flag says otherwise.
    Overruled,
    Unknown,
}

fn stop(value: &Value, session: &mut Session) -> Done {
    let texts: Vec<String> = match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts
            .iter()
            .filter_map(|t| t.as_str().map(str::to_owned))
            .collect(),
        _ => return Done::Unknown,
    };
    session
        .stop
        .extend(texts.into_iter().filter(|text| !text.is_empty()));
    Done::Used
}

fn most_tokens(value: &Value, session: &mut Session) -> Done {
    // -1 and -2 are no limit there.
    match value.as_i64().map(u32::try_from) {
        Some(Ok(most)) if most > 0 => session.max_tokens = Some(most),
        Some(_) => {}
        None => return Done::Unknown,
    }
    Done::Used
}

fn seed(value: &Value, session: &mut Session) -> Done {
    // 0 is a new one each time there.
    match value.as_u64() {
        Some(0) => {}
        Some(seed) => {
            session.sampling.seed = seed;
            session.new_seeds = false;
        }
        None => return Done::Unknown,
    }
    Done::Used
}

fn sampling(name: &str, value: &Value, given: &Given, s: &mut Sampling) -> Done {
    let Some(number) = value.as_f64().map(|x| x as f32) else {
        return Done::Unknown;
    };
    let whole = value.as_u64().and_then(|n| u32::try_from(n).ok());
    let mut wanted = s.clone();
    let flag = match name {
        "temperature" => (wanted.temperature = number, "temp").1,
        "top_p" => (wanted.top_p = number, "top_p").1,
        "min_p" => (wanted.min_p = number, "min_p").1,
        "typical_p" => (wanted.typical = number, "typical").1,
        "repeat_penalty" => (wanted.repetition_penalty = number, "repeat_penalty").1,
        "presence_penalty" => (wanted.presence_penalty = number, "presence_penalty").1,
        "frequency_penalty" => (wanted.frequency_penalty = number, "frequency_penalty").1,
        "repeat_last_n" => (wanted.penalty_last_n = whole, "repeat_last_n").1,
        "top_k" => match whole {
            Some(k) => (wanted.top_k = k, "top_k").1,
            None => return Done::Unknown,
        },
        _ => return Done::Unknown,
    };
    if given.has(flag) {
        return Done::Overruled;
    }
    // What the sampler would refuse is not worth an error: nobody asked for it here.
    if wanted.validate().is_err() {
        return Done::Unknown;
    }
    *s = wanted;
    Done::Used
}
