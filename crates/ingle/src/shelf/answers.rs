//! What requests mean that say nothing themselves: what ingle.toml and the environment say of sampling.

use crate::Ingle;
use crate::config::{Preset as Named, layered, settings};
use crate::line::Line;
use clap::CommandFactory;
use clap::parser::ValueSource;
use ingle_server::Preset;
use serde_json::{Map, Value};

/// What somebody has set, of a model with this preset; what nobody has is left to the server.
pub fn preset(line: &Line, preset: Option<&Named>) -> Preset {
    let program = layered(Ingle::command(), line.config(), preset);
    let Ok(parsed) = program.try_get_matches_from(["ingle", "run"]) else {
        return Preset::default();
    };
    let Some((_, flags)) = parsed.subcommand() else {
        return Preset::default();
    };
    let mut parameters = Map::new();
    let known = settings(&Ingle::command());
    for setting in known.iter().filter(|setting| setting.section == "sampling") {
        let key = (setting.section, setting.name.clone());
        let in_file = line.config().values.contains_key(&key)
            || preset.is_some_and(|preset| preset.values.contains_key(&setting.name));
        let in_environment = flags.value_source(&setting.id) == Some(ValueSource::EnvVariable);
        if !(in_file || in_environment) {
            continue;
        }
        let raw = flags.get_raw(&setting.id).into_iter().flatten();
        let raw: Vec<String> = raw.map(|v| v.to_string_lossy().into_owned()).collect();
        let (name, value) = field(&setting.name, &raw);
        parameters.insert(name.to_owned(), value);
    }
    let answer = |id: &str| preset.and_then(|preset| preset.answers.get(id));
    let first = |id: &str| answer(id).and_then(|given| given.values.first().cloned());
    Preset {
        system: first("system"),
        parameters,
        stop: answer("stop").map_or_else(Vec::new, |given| given.values.clone()),
        max_tokens: first("max_tokens").and_then(|n| n.parse().ok()),
    }
}

/// A flag as a field of a request.
fn field<'a>(name: &'a str, raw: &[String]) -> (&'a str, Value) {
    let number = |text: &String| {
        let parsed = serde_json::from_str(text);
        parsed.unwrap_or_else(|_| Value::from(text.clone()))
    };
    match name {
        "logit_bias" => {
            // `-inf` bans a token, which requests write as -100.
            let pair = |text: &String| {
                let (token, bias) = text.split_once('=')?;
                let bias: f64 = bias.parse().ok()?;
                Some((token.to_owned(), bias.clamp(-100.0, 100.0).into()))
            };
            (name, Value::Object(raw.iter().filter_map(pair).collect()))
        }
        "dry_sequence_breaker" => ("dry_sequence_breakers", raw.to_vec().into()),
        _ => {
            let name = match name {
                "temp" => "temperature",
                "typical" => "typical_p",
                name => name,
            };
            (name, raw.first().map_or(Value::Null, number))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn flags_become_fields() {
        let field = |name, raw: &[&str]| {
            let raw: Vec<String> = raw.iter().map(ToString::to_string).collect();
            let (name, value) = super::field(name, &raw);
            (name.to_owned(), value)
        };
        assert_eq!(field("temp", &["0.5"]), ("temperature".into(), json!(0.5)));
        assert_eq!(
            field("repeat_last_n", &["-1"]),
            ("repeat_last_n".into(), json!(-1))
        );
        assert_eq!(
            field("logit_bias", &["7=-inf", "8=1.5"]),
            ("logit_bias".into(), json!({"7": -100.0, "8": 1.5}))
        );
    }
}
