//! The flags of the sampler: their documentation, parsing and test.

use clap::Args;
use ingle::TokenId;
use ingle::engine::sampler::{Dry, Sampling};
use serde_json::{Map, Value, json};

/// How tokens are chosen. The order in which these apply: logit bias, repetition, frequency and
/// presence penalties, DRY, top-k, typical, top-p, min-p, temperature.
#[derive(Args, Clone, Debug)]
#[command(
    next_help_heading = "Sampling (in order: bias, penalties, DRY, top-k, typical, top-p, min-p, temperature)"
)]
pub struct SamplingArgs {
    /// Divides the logits; 0 always takes the most probable token
    #[arg(long, value_name = "X", default_value_t = 0.7)]
    temp: f32,
    /// Keep the N most probable tokens; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 40)]
    top_k: u32,
    /// Keep the fewest most probable tokens whose probabilities reach P; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    top_p: f32,
    /// Keep tokens at least P times as probable as the most probable one; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    min_p: f32,
    /// Keep the tokens nearest to the entropy up to mass P; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    typical: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred; 1 is off
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Subtracted once from tokens that occurred; 0 is off
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    presence_penalty: f32,
    /// Subtracted for each time that a token occurred; 0 is off
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    frequency_penalty: f32,
    /// How many of the last tokens the three penalties look at; -1: all
    #[arg(long, value_name = "N", default_value = "64", value_parser = last_n, allow_negative_numbers = true)]
    repeat_last_n: LastN,
    /// Strength of DRY, a penalty on continuing a repeated sequence; 0 is off, 0.8 is usual
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    dry_multiplier: f32,
    /// Growth of the DRY penalty for each further token
    #[arg(long, value_name = "X", default_value_t = 1.75)]
    dry_base: f32,
    /// Shortest repeated sequence that DRY penalises, in tokens
    #[arg(long, value_name = "N", default_value_t = 2)]
    dry_allowed_length: u32,
    /// How many of the last tokens DRY searches; -1: all
    #[arg(long, value_name = "N", default_value = "-1", value_parser = last_n, allow_negative_numbers = true)]
    dry_penalty_last_n: LastN,
    /// A text at which a repeated sequence ends; repeat the flag for more [default: \n : " *]
    #[arg(long, value_name = "TEXT")]
    dry_sequence_breaker: Vec<String>,
    /// Added to a token's logit, as 29871=-1.5 or 13=-inf (never); repeat the flag for more
    #[arg(long, value_name = "TOKEN=X", value_parser = bias)]
    logit_bias: Vec<(u32, f32)>,
    /// The same seed gives the same answer [default: a new one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// `None`: all.
type LastN = Option<u32>;

impl SamplingArgs {
    /// What the flags ask for, with `logprobs` alternatives; a new seed where none is given.
    pub fn sampling(&self, logprobs: Option<u32>) -> Sampling {
        let mut dry = Dry {
            multiplier: self.dry_multiplier,
            base: self.dry_base,
            allowed_length: self.dry_allowed_length,
            penalty_last_n: self.dry_penalty_last_n,
            ..Dry::default()
        };
        if !self.dry_sequence_breaker.is_empty() {
            dry.sequence_breakers.clone_from(&self.dry_sequence_breaker);
        }
        Sampling {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical: self.typical,
            repetition_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            penalty_last_n: self.repeat_last_n,
            dry,
            infill: false,
            logit_bias: self
                .logit_bias
                .iter()
                .map(|&(token, bias)| (TokenId(token), bias))
                .collect(),
            seed: self.seed.unwrap_or_else(new_seed),
            logprobs,
        }
    }

    /// How answers are sampled where nobody says anything.
    pub fn usual() -> Sampling {
        use clap::FromArgMatches;
        let line = Self::augment_args(clap::Command::new("usual")).no_binary_name(true);
        let flags = line.get_matches_from(Vec::<String>::new());
        match Self::from_arg_matches(&flags) {
            Ok(flags) => flags.sampling(None),
            Err(error) => error.exit(),
        }
    }

    /// Whether every answer has the same seed.
    pub fn has_seed(&self) -> bool {
        self.seed.is_some()
    }
}

/// A seed that nobody has used: 32 bits of the system's randomness, short enough to type again.
pub fn new_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() >> 32
}

fn last_n(text: &str) -> Result<LastN, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| "give a number of tokens, or -1 for all".into()),
        Err(e) => Err(e.to_string()),
    }
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let wrong = || format!("`{text}` is not TOKEN=X, as 29871=-1.5; `ingle tokenize` shows ids");
    let (token, bias) = text.split_once('=').ok_or_else(wrong)?;
    match (token.parse(), bias.parse()) {
        (Ok(token), Ok(bias)) => Ok((token, bias)),
        _ => Err(wrong()),
    }
}

/// The parameters in use, for `--json`.
pub fn to_json(s: &Sampling) -> Value {
    let bias: Map<_, _> = s
        .logit_bias
        .iter()
        .map(|(token, bias)| (token.to_string(), number(*bias)))
        .collect();
    json!({
        "temperature": number(s.temperature), "top_k": s.top_k, "top_p": number(s.top_p),
        "min_p": number(s.min_p), "typical": number(s.typical),
        "repetition_penalty": number(s.repetition_penalty),
        "presence_penalty": number(s.presence_penalty),
        "frequency_penalty": number(s.frequency_penalty),
        "penalty_last_n": s.penalty_last_n,
        "dry": {
            "multiplier": number(s.dry.multiplier), "base": number(s.dry.base),
            "allowed_length": s.dry.allowed_length, "penalty_last_n": s.dry.penalty_last_n,
            "sequence_breakers": s.dry.sequence_breakers,
        },
        "logit_bias": bias, "seed": s.seed, "logprobs": s.logprobs,
    })
}

/// As a person wrote it: 0.7, not the nearest f64. JSON has no infinity: a ban is a text.
fn number(x: f32) -> Value {
    let text = x.to_string();
    text.parse().unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    fn parse(line: &str) -> Result<Sampling, String> {
        let line = Line::try_parse_from(format!("x {line}").split_whitespace());
        line.map(|l| l.sampling.sampling(None))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn every_flag_arrives() {
        let s = parse(
            "--temp 0.5 --top-k 3 --top-p 0.8 --min-p 0.1 --typical 0.9 --repeat-penalty 1.1 \
             --presence-penalty -0.5 --frequency-penalty 0.25 --repeat-last-n -1 \
             --dry-multiplier 0.8 --dry-base 2 --dry-allowed-length 4 --dry-penalty-last-n 99 \
             --dry-sequence-breaker ; --dry-sequence-breaker . --logit-bias 7=-inf \
             --logit-bias 8=1.5 --seed 12",
        );
        let want = Sampling {
            temperature: 0.5,
            top_k: 3,
            top_p: 0.8,
            min_p: 0.1,
            typical: 0.9,
            repetition_penalty: 1.1,
            presence_penalty: -0.5,
            frequency_penalty: 0.25,
            penalty_last_n: None,
            dry: Dry {
                multiplier: 0.8,
                base: 2.0,
                allowed_length: 4,
                penalty_last_n: Some(99),
                sequence_breakers: vec![";".into(), ".".into()],
            },
            infill: false,
            logit_bias: vec![(TokenId(7), f32::NEG_INFINITY), (TokenId(8), 1.5)],
            seed: 12,
            logprobs: None,
        };
        assert_eq!(s, Ok(want));
    }

    #[test]
    fn the_defaults_are_valid_and_dry_keeps_its_breakers() {
        let s = parse("").unwrap();
        assert_eq!(s.validate(), Ok(()));
        assert_eq!(s.dry, Dry::default());
        assert!(s.seed <= u64::from(u32::MAX));
    }

    #[test]
    fn wrong_values_are_explained() {
        assert!(parse("--logit-bias 7").unwrap_err().contains("TOKEN=X"));
        assert!(
            parse("--repeat-last-n -2")
                .unwrap_err()
                .contains("-1 for all")
        );
        assert!(parse("--temp warm").is_err());
    }

    #[test]
    fn a_ban_is_json() {
        let json = to_json(&parse("--logit-bias 7=-inf --seed 1").unwrap());
        assert_eq!(json["logit_bias"]["7"], "-inf");
        assert_eq!(
            (json["seed"].as_u64(), json["temperature"].to_string()),
            (Some(1), "0.7".into())
        );
    }
}
