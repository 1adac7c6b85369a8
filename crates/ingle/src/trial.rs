//! Asking a model many questions whose answers are known, to learn how sure it may be.
//!
//! Several run at a time. Of each answer come the signals of the engine, for the whole of it and for its
//! beginning, and how many of some further samples say the same.

use crate::{Chat, Error, Model, Request};
use ingle_engine::constrain::{Constrainer, Constraint, ConstraintError, Grammar};
use ingle_engine::sampler::Sampling;
use ingle_engine::{Event, FinishReason, Refusal, RequestId, Signals, TokenSignals, Watch};
use ingle_formats::template::LocalTime;
use ingle_formats::vocabulary::Encode;
use ingle_gateway::confidence::{self, AGREEMENT_TEMPERATURE, PREFIX_TOKENS};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// A question.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The conversation to be answered.
    pub chat: Chat,
    /// What the answer must be.
    pub form: Option<Constraint>,
    /// Tokens of the answer at most; `None`: as many as there is room for.
    pub max_tokens: Option<u32>,
    /// The answer, where it is known and only to be weighed.
    pub given: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The answer, at temperature 0.
    pub text: String,
    /// How sure the model was of it.
    pub signals: Signals,
    /// How sure it was of the first [`PREFIX_TOKENS`] tokens.
    pub prefix: Signals,
    /// The text of those.
    pub prefix_text: String,
    /// The share of further samples with the same answer; `None` where none were drawn.
    pub agreement: Option<f64>,
}

/// Why a question could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// A conversation that becomes no prompt.
    #[error("question {number}: {why}")]
    Prompt {
        /// Which, from 1.
        number: usize,
        /// Why.
        why: Error,
    },
    /// What the answer must be.
    #[error("question {number}: {why}")]
    Form {
        /// Which, from 1.
        number: usize,
        /// Why.
        why: ConstraintError,
    },
    /// The engine did not take it.
    #[error("question {number}: {why}")]
    Refused {
        /// Which, from 1.
        number: usize,
        /// Why.
        why: Refusal,
    },
    /// The answer broke off.
    #[error("question {number}: {why}")]
    Failed {
        /// Which, from 1.
        number: usize,
        /// Why.
        why: String,
    },
}

/// An answer on its way.
struct Running {
    trial: usize,
    /// 0 is the answer, others are samples.
    sample: u32,
    text: String,
    watch: Watch,
    tokens: u32,
    prefix: Option<(Signals, String)>,
}

impl Running {
    fn push(&mut self, text: &str, signals: Option<&TokenSignals>) {
        self.text.push_str(text);
        self.watch.push(signals);
        self.tokens += 1;
        if self.tokens == PREFIX_TOKENS {
            self.prefix = Some((self.watch.summary(), self.text.clone()));
        }
    }
}

/// What is known of a trial so far.
#[derive(Default)]
struct Known {
    tried: Option<Tried>,
    samples: Vec<String>,
}

/// Asks all of `trials`, `samples` more times each for agreement. `progress` is told how many answers are
/// there, of how many. What does not fit the model's context has no answer.
///
/// # Errors
/// The first question that cannot be asked, by its number.
pub fn run(
    model: &mut Model,
    trials: &[Trial],
    samples: u32,
    now: LocalTime,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Option<Tried>>, TrialError> {
    let all = trials.len() * (samples as usize + 1);
    let most = (model.engine().plan().options.max_waiting as usize).max(1);
    let mut constrainer = None;
    let mut known: Vec<Known> = trials.iter().map(|_| Known::default()).collect();
    let mut running: HashMap<RequestId, Running> = HashMap::new();
    let (mut next, mut done) = (0, 0);
    while done < all {
        while next < all && running.len() < most {
            let (trial, sample) = (next / (samples as usize + 1), next % (samples as usize + 1));
            let request = request(model, &mut constrainer, trials, trial, sample as u32, now)?;
            match model.engine().submit(request, Duration::ZERO) {
                Ok(id) => {
                    running.insert(id, Running::new(trial, sample as u32));
                }
                Err(Refusal::PromptTooLong { .. } | Refusal::ContextOverflow { .. }) => done += 1,
                Err(why) => {
                    let number = trial + 1;
                    return Err(TrialError::Refused { number, why });
                }
            }
            next += 1;
        }
        for event in model.engine().step(Duration::ZERO) {
            if let Some((at, what)) = hear(&mut running, event)? {
                known[at].take(what, trials[at].given.as_deref());
                done += 1;
                progress(done, all);
            }
        }
    }
    Ok(known.into_iter().map(Known::end).collect())
}

impl Running {
    fn new(trial: usize, sample: u32) -> Self {
        Self {
            trial,
            sample,
            text: String::new(),
            watch: Watch::default(),
            tokens: 0,
            prefix: None,
        }
    }
}

/// Goes on with an answer; one that is over is given back with its trial's index.
fn hear(
    running: &mut HashMap<RequestId, Running>,
    event: Event,
) -> Result<Option<(usize, Running)>, TrialError> {
    match event {
        Event::Token {
            request,
            text,
            signals,
            ..
        } => {
            if let Some(answer) = running.get_mut(&request) {
                answer.push(&text, signals.as_ref());
            }
            Ok(None)
        }
        Event::Finished {
            request, reason, ..
        } => {
            let Some(answer) = running.remove(&request) else {
                return Ok(None);
            };
            let number = answer.trial + 1;
            match reason {
                FinishReason::Failed(why) | FinishReason::Unreadable(why) => {
                    Err(TrialError::Failed { number, why })
                }
                _ => Ok(Some((answer.trial, answer))),
            }
        }
        Event::Embedded { .. } => Ok(None),
    }
}

impl Known {
    fn take(&mut self, mut answer: Running, given: Option<&str>) {
        if answer.sample > 0 {
            self.samples.push(answer.text);
            return;
        }
        let signals = answer.watch.summary();
        let text = given.map_or(answer.text.clone(), str::to_owned);
        let (prefix, prefix_text) = answer.prefix.unwrap_or((signals, text.clone()));
        self.tried = Some(Tried {
            text,
            signals,
            prefix,
            prefix_text,
            agreement: None,
        });
    }

    fn end(self) -> Option<Tried> {
        let mut tried = self.tried?;
        tried.agreement = confidence::agreement(&tried.text, &self.samples);
        Some(tried)
    }
}

fn request(
    model: &mut Model,
    constrainer: &mut Option<Constrainer>,
    trials: &[Trial],
    index: usize,
    sample: u32,
    now: LocalTime,
) -> Result<Request, TrialError> {
    let (trial, number) = (&trials[index], index + 1);
    let prompt = model.chat(&trial.chat, now);
    let prompt = prompt.map_err(|why| TrialError::Prompt { number, why })?;
    let form = |why| TrialError::Form { number, why };
    let grammar: Option<Grammar> = match &trial.form {
        None => None,
        Some(constraint) => {
            if constrainer.is_none() {
                let vocabulary = model.engine().vocabulary().clone();
                *constrainer = Some(Constrainer::new(vocabulary).map_err(form)?);
            }
            let made = constrainer.as_ref().map(|c| c.compile(constraint));
            made.transpose().map_err(form)?
        }
    };
    let mut forced = Vec::new();
    if let (Some(given), 0) = (&trial.given, sample) {
        let vocabulary = model.engine().vocabulary();
        let plain = Encode {
            add_special: false,
            parse_special: false,
        };
        forced = vocabulary.encode(given, plain);
        forced.extend(vocabulary.ends_of_generation().first());
    }
    let sampling = match sample {
        0 => Sampling::greedy(),
        n => Sampling {
            temperature: AGREEMENT_TEMPERATURE,
            seed: u64::from(n),
            ..Sampling::default()
        },
    };
    Ok(Request {
        sampling,
        grammar: grammar.filter(|_| forced.is_empty()),
        forced,
        max_tokens: trial.max_tokens,
        signals: true,
        ..Request::new(prompt.tokens)
    })
}

/// Whether two answers say the same: as JSON where both are, else as texts without regard to case and
/// spaces at the ends.
pub fn is_same(a: &str, b: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text.trim()).ok();
    match (json(a), json(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.trim().to_lowercase() == b.trim().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn the_same_answer_in_other_words_is_the_same() {
        assert!(is_same("{\"a\": 1, \"b\": 2}", " {\"b\":2,\"a\":1}\n"));
        assert!(is_same(" Paris", "paris\n") && is_same("12", "12 "));
        assert!(!is_same("{\"a\": 1}", "{\"a\": 2}") && !is_same("yes", "no"));
    }
}
