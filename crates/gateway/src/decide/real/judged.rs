//! How sure local answers are, by the calibrations of this machine.

use crate::chat::{Format, Request, Role};
use crate::confidence::judge::Answered;
use crate::confidence::logistic::Row;
use crate::confidence::outcomes::{Given, OutcomeError};
use crate::confidence::{Aim, Asked, Confidence, Features, Judge, Outcomes, Stage, recall};
use crate::decide::{Looked, Offer, Sureness};
use crate::ledger::Tokens;
use ingle_egress::Clock;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::oneshot;

/// Answers that may wait to be remembered.
const QUEUE: usize = 1024;
/// Tokens of an answer, where its price is to be guessed.
const USUAL_ANSWER: u64 = 300;
/// Bytes of a token, where its price is to be guessed.
const BYTES_OF_A_TOKEN: u64 = 4;

/// What routing aims at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AimSetting {
    /// This share of right answers, 0 to 1.
    Accuracy(f64),
    /// So much money a day, in units of the provider's currency, over so many requests.
    Daily {
        /// To be spent in a day.
        money: f64,
        /// Requests expected in a day.
        requests: f64,
    },
}

/// How answers are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedSettings {
    /// What is aimed at; none: nothing, and nothing escalates by its confidence.
    pub aim: Option<AimSetting>,
    /// How often a provider is right, 0 to 1, where that is known.
    pub cloud_accuracy: f64,
    /// The task of requests that have no label.
    pub task: String,
}

/// Whether an answer was right, as somebody says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The request's name.
    pub id: String,
    /// Whether it was.
    pub right: bool,
}

/// The judge, and the thread that remembers what came of answers.
pub struct Judged {
    judge: Arc<RwLock<Judge>>,
    settings: JudgedSettings,
    clock: Clock,
    jobs: Option<Mutex<SyncSender<Job>>>,
}

enum Job {
    Given(Box<Remembered>),
    Feedback(Feedback, oneshot::Sender<Result<(), OutcomeError>>),
}

/// An answer to be remembered.
struct Remembered {
    id: String,
    user: Option<String>,
    at: u64,
    model: String,
    task: String,
    confidence: Confidence,
    rows: Vec<(Stage, Row)>,
    key: u32,
}

impl Judged {
    /// A judge; `outcomes` remember answers for `POST /v1/feedback`.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn new(
        judge: Judge,
        outcomes: Option<Outcomes>,
        settings: JudgedSettings,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let judge = Arc::new(RwLock::new(judge));
        let jobs = match outcomes {
            None => None,
            Some(outcomes) => {
                let (jobs, work) = mpsc::sync_channel(QUEUE);
                let (judge, clock) = (Arc::clone(&judge), Arc::clone(&clock));
                std::thread::Builder::new()
                    .name("outcomes".into())
                    .spawn(move || remember(&work, outcomes, &judge, &clock))?;
                Some(Mutex::new(jobs))
            }
        };
        Ok(Self {
            judge,
            settings,
            clock,
            jobs,
        })
    }

    fn task<'a>(&'a self, request: &'a Request) -> &'a str {
        request.label.as_deref().unwrap_or(&self.settings.task)
    }

    fn send(&self, job: Job) -> bool {
        let jobs = self.jobs.as_ref().map(|jobs| {
            let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
            // Where too much waits, an answer is not remembered; nobody waits for that.
            jobs.try_send(job).is_ok()
        });
        jobs.unwrap_or(false)
    }
}

/// What a request asks: its last words of a user.
fn asked(request: &Request) -> Asked {
    let last = request.messages.iter().rev().find(|m| m.role == Role::User);
    Asked::new(&last.map(crate::chat::Message::content).unwrap_or_default())
}

/// The answers that its form allows, where they are few.
fn choices(request: &Request) -> Vec<u32> {
    match &request.format {
        Format::JsonSchema(schema) => recall::choices(schema),
        Format::Text | Format::JsonObject => Vec::new(),
    }
}

fn remember(
    work: &mpsc::Receiver<Job>,
    mut outcomes: Outcomes,
    judge: &RwLock<Judge>,
    clock: &Clock,
) {
    while let Ok(job) = work.recv() {
        let now = clock() / 1000;
        match job {
            Job::Given(given) => {
                let given = Given {
                    id: &given.id,
                    user: given.user.as_deref(),
                    at: given.at,
                    model: &given.model,
                    task: &given.task,
                    confidence: given.confidence,
                    rows: given.rows,
                    key: given.key,
                };
                // An answer that cannot be remembered cannot be judged: whoever tries is told.
                drop(outcomes.answered(&given));
            }
            Job::Feedback(feedback, told) => {
                let noted = outcomes.feedback(&feedback.id, feedback.right, now);
                let noted = noted.and_then(|noted| {
                    let mut judge = judge.write().unwrap_or_else(PoisonError::into_inner);
                    let made = judge.calibration(&noted.model, &noted.task).map(|c| c.made);
                    let drift =
                        outcomes.drift(&noted.model, &noted.task, made.unwrap_or_default())?;
                    judge.note(&noted.model, &noted.task, &drift);
                    Ok(())
                });
                drop(told.send(noted));
            }
        }
    }
}

impl Sureness for Judged {
    fn samples(&self, model: &str, request: &Request) -> u32 {
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner);
        let calibration = judge.calibration(model, self.task(request));
        calibration.map_or(0, |calibration| calibration.samples)
    }

    fn look(
        &self,
        stage: Stage,
        model: &str,
        request: &Request,
        looked: Option<&Looked<'_>>,
    ) -> Option<Confidence> {
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner);
        let (task, asked) = (self.task(request), asked(request));
        let choices = choices(request);
        let answered = looked.map(|looked| Answered {
            signals: looked.signals,
            text: looked.text,
            choices: &choices,
            agreement: looked.agreement,
        });
        match (stage, answered) {
            (Stage::Before, _) => Some(judge.before(model, task, &asked, &choices)),
            (Stage::Prefix, Some(answered)) => Some(judge.prefix(model, task, &asked, &answered)),
            (Stage::After, Some(answered)) => Some(judge.after(model, task, &asked, &answered)),
            (_, None) => None,
        }
    }

    fn threshold(
        &self,
        stage: Stage,
        model: &str,
        request: &Request,
        offer: &Offer,
    ) -> Option<f64> {
        let aim = match self.settings.aim? {
            AimSetting::Accuracy(wanted) => Aim::Accuracy {
                wanted,
                cloud: self.settings.cloud_accuracy,
            },
            AimSetting::Daily { money, requests } => {
                let tokens = Tokens {
                    input: offer.most_input.div_ceil(BYTES_OF_A_TOKEN),
                    output: USUAL_ANSWER.min(offer.most_output.into()),
                    ..Tokens::default()
                };
                let price = offer.prices.cost(&tokens).nanos as f64 / 1e9;
                Aim::PerDay {
                    money,
                    price,
                    requests,
                }
            }
        };
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner);
        let threshold = judge.threshold(model, self.task(request), stage, &aim);
        threshold.map(|threshold| threshold.probability)
    }

    fn given(
        &self,
        stage: Stage,
        model: &str,
        request: &Request,
        looked: &Looked<'_>,
        confidence: &Confidence,
    ) {
        if self.jobs.is_none() {
            return;
        }
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner);
        let (asked, choices) = (asked(request), choices(request));
        let features: Features<'_> = judge.features(
            &asked,
            &Answered {
                signals: looked.signals,
                text: looked.text,
                choices: &choices,
                agreement: looked.agreement,
            },
        );
        let stages = [Stage::Before, stage];
        let rows = stages.into_iter();
        let task = self.task(request);
        let row = |stage| judge.row(model, task, stage, &features);
        let rows = rows.filter_map(|stage| row(stage).map(|row| (stage, row)));
        let remembered = Remembered {
            id: request.id.clone(),
            user: Some(request.user.clone()).filter(|user| user != "-"),
            at: (self.clock)() / 1000,
            model: model.to_owned(),
            task: task.to_owned(),
            confidence: *confidence,
            rows: rows.collect(),
            key: asked.key,
        };
        self.send(Job::Given(Box::new(remembered)));
    }

    fn feedback(&self, feedback: Feedback) -> oneshot::Receiver<Result<(), OutcomeError>> {
        let (told, hears) = oneshot::channel();
        // Where nobody remembers, `told` is gone: that is the answer.
        self.send(Job::Feedback(feedback, told));
        hears
    }
}
