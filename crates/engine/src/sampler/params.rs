//! What can be asked of the sampler, and the range of each parameter.

use super::infill::MAX_CANDIDATES;
use ingle_formats::TokenId;

/// The most alternatives that [`Sampling::logprobs`] may ask for.
pub const MAX_TOP_LOGPROBS: u32 = 1024;

/// How tokens are chosen. The default changes nothing: the model's own distribution, temperature 1.
///
/// The order in which these apply is in the documentation of [the module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits: 0 (always the most probable token) to 100.
    pub temperature: f32,
    /// Keep the `top_k` most probable tokens; 0: all.
    pub top_k: u32,
    /// Keep the fewest most probable tokens whose mass is at least this, 0 to 1; 1: all
    /// (<https://arxiv.org/abs/1904.09751>).
    pub top_p: f32,
    /// Keep tokens at least this fraction as probable as the most probable one, 0 to 1; 0: all
    /// (<https://arxiv.org/abs/2407.01082>).
    pub min_p: f32,
    /// Keep the tokens whose information is nearest to the entropy, up to this mass, 0 to 1; 1: all
    /// (<https://arxiv.org/abs/2202.00666>).
    pub typical: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred, 0.01 to 100; 1: off
    /// (<https://arxiv.org/abs/1909.05858>).
    pub repetition_penalty: f32,
    /// Subtracted once from tokens that occurred, -2 to 2; 0: off.
    pub presence_penalty: f32,
    /// Subtracted for each time that a token occurred, -2 to 2; 0: off.
    pub frequency_penalty: f32,
    /// How many of the last known tokens the three penalties above look at; `None`: all.
    pub penalty_last_n: Option<u32>,
    /// Penalty on continuing a repeated sequence.
    pub dry: Dry,
    /// End where the model is unsure of how a text goes on, as llama.cpp's sampler `infill` does. Needs
    /// a `top_k` of 1 to 256.
    pub infill: bool,
    /// Added to the logit of a token: a finite number, or negative infinity to ban it.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// The same seed gives the same tokens.
    pub seed: u64,
    /// Log-probabilities of chosen tokens and of so many alternatives, up to
    /// [`MAX_TOP_LOGPROBS`]; `None`: not computed.
    pub logprobs: Option<u32>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last_n: Some(64),
            dry: Dry::default(),
            infill: false,
            logit_bias: Vec::new(),
            seed: 0,
            logprobs: None,
        }
    }
}

impl Sampling {
    /// Always the most probable token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Whether every token may be drawn.
    pub(super) fn keeps_all(&self) -> bool {
        self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0 && self.typical >= 1.0
    }

    /// Checks every parameter against its range.
    ///
    /// # Errors
    /// The first parameter that is outside, by name, with its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        in_range("temperature", self.temperature, 0.0, 100.0)?;
        in_range("top_p", self.top_p, 0.0, 1.0)?;
        in_range("min_p", self.min_p, 0.0, 1.0)?;
        in_range("typical", self.typical, 0.0, 1.0)?;
        in_range("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        in_range("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        in_range("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        self.dry.validate()?;
        if self.infill && !(1..=MAX_CANDIDATES).contains(&self.top_k) {
            return Err(SamplingError::InfillOfMany { top_k: self.top_k });
        }
        for &(token, bias) in &self.logit_bias {
            if bias.is_nan() || bias == f32::INFINITY {
                return Err(SamplingError::Bias { token, bias });
            }
        }
        match self.logprobs {
            Some(n) if n > MAX_TOP_LOGPROBS => Err(SamplingError::TooManyLogprobs { n }),
            _ => Ok(()),
        }
    }
}

/// DRY, "don't repeat yourself"
/// (<https://github.com/oobabooga/text-generation-webui/pull/5677>): a token that would continue a
/// sequence which stood before, and which the text's end repeats over `n >= allowed_length` tokens,
/// loses `multiplier * base^(n - allowed_length)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dry {
    /// Strength, 0 to 100; 0: off.
    pub multiplier: f32,
    /// Growth for each further repeated token, 1 to 8.
    pub base: f32,
    /// Shortest repeated sequence that is penalised, from 1.
    pub allowed_length: u32,
    /// How many of the last known tokens are searched; `None`: all.
    pub penalty_last_n: Option<u32>,
    /// Texts at which a repeated sequence ends: a token whose text contains one is never part of it.
    pub sequence_breakers: Vec<String>,
}

impl Default for Dry {
    fn default() -> Self {
        Self {
            multiplier: 0.0,
            base: 1.75,
            allowed_length: 2,
            penalty_last_n: None,
            sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).to_vec(),
        }
    }
}

impl Dry {
    /// Whether it changes anything.
    pub fn is_on(&self) -> bool {
        self.multiplier > 0.0
    }

    fn validate(&self) -> Result<(), SamplingError> {
        in_range("dry_multiplier", self.multiplier, 0.0, 100.0)?;
        in_range("dry_base", self.base, 1.0, 8.0)?;
        if self.allowed_length == 0 {
            return Err(SamplingError::Range {
                parameter: "dry_allowed_length",
                value: 0.0,
                low: 1.0,
                high: f64::from(u32::MAX),
            });
        }
        Ok(())
    }
}

/// Why a token cannot be chosen so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A parameter is out of its range.
    #[error("`{parameter}` is {value}; it must be from {low} to {high}")]
    Range {
        /// Its name, as a request spells it.
        parameter: &'static str,
        /// What was given.
        value: f64,
        /// Smallest allowed.
        low: f64,
        /// Largest allowed.
        high: f64,
    },
    /// The sampler `infill` would have to compare too many candidates.
    #[error(
        "the sampler `infill` compares each candidate with each: `top_k` must be from 1 to {MAX_CANDIDATES} with it, and is {top_k}"
    )]
    InfillOfMany {
        /// What was given; 0: all.
        top_k: u32,
    },
    /// A bias is not a number, or infinite.
    #[error(
        "`logit_bias` of token {token} is {bias}; give a finite number, or -inf to ban the token"
    )]
    Bias {
        /// Whose bias.
        token: TokenId,
        /// What was given.
        bias: f32,
    },
    /// A bias is for a token that the model does not have.
    #[error("`logit_bias` names token {token}; this model's tokens are 0 to {}", n_vocab.saturating_sub(1))]
    BiasOutsideVocabulary {
        /// Whose bias.
        token: TokenId,
        /// Tokens of the model.
        n_vocab: usize,
    },
    /// More alternatives than are allowed.
    #[error("`logprobs` asks for {n} alternatives; the most is {MAX_TOP_LOGPROBS}")]
    TooManyLogprobs {
        /// What was given.
        n: u32,
    },
    /// A sequence breaker that no token of the vocabulary contains.
    #[error(
        "`dry_sequence_breakers` has {breaker:?}, which stands in no single token of this model; leave it out or give a shorter one"
    )]
    NoSuchBreaker {
        /// The text.
        breaker: String,
    },
    /// There are not as many logits as tokens.
    #[error(
        "the model gave {found} logits for a vocabulary of {n_vocab}; this is a fault in Ingle: report it"
    )]
    WrongWidth {
        /// Logits given.
        found: usize,
        /// Tokens of the model.
        n_vocab: usize,
    },
    /// Every token is banned or its logit is not a number.
    #[error(
        "no token can be chosen at position {position}: every logit is banned or not a number; if `logit_bias` does not ban them all, the model file is damaged: download it again"
    )]
    NothingLeft {
        /// Which position was to be filled.
        position: u32,
    },
}

fn in_range(parameter: &'static str, value: f32, low: f32, high: f32) -> Result<(), SamplingError> {
    // A NaN is in no range.
    if (low..=high).contains(&value) {
        return Ok(());
    }
    // Through text: 0.95_f32 is shown as 0.95 and not as its nearest f64.
    let shown = |x: f32| x.to_string().parse().unwrap_or(f64::from(x));
    Err(SamplingError::Range {
        parameter,
        value: shown(value),
        low: shown(low),
        high: shown(high),
    })
}
