//! All calibrations of a process, and the one question: how likely is this answer right?

use super::aim::{Aim, Threshold};
use super::asked::Asked;
use super::calibration::{Calibration, Stage};
use super::features::Features;
use super::logistic::Row;
use super::score::RequestScore;
use super::store::{self, StoreError};
use super::{Confidence, Drift};
use ingle_engine::Signals;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Says how likely answers are right. Shared by all requests; what changes it takes `&mut self`.
#[derive(Debug, Default)]
pub struct Judge {
    folder: PathBuf,
    /// By model and task.
    calibrations: BTreeMap<(String, String), Calibration>,
    /// Those that outcomes no longer agree with.
    drifted: BTreeSet<(String, String)>,
    score: RequestScore,
}

/// What is known of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// How sure the engine was.
    pub signals: &'a Signals,
    /// Its text so far.
    pub text: &'a str,
    /// Hashes of the answers that are allowed, where they are few: [`super::recall::choices`].
    pub choices: &'a [u32],
    /// How many of the other samples say the same, where samples were drawn.
    pub agreement: Option<f64>,
}

impl Judge {
    /// Reads the calibrations of a folder, which may not be there yet. Those that cannot be used are left
    /// out and told.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(folder: &Path) -> Result<(Self, Vec<StoreError>), StoreError> {
        let (all, faults) = store::read_all(folder)?;
        let named = |c: Calibration| ((c.model.clone(), c.task.clone()), c);
        let judge = Self {
            folder: folder.to_owned(),
            calibrations: all.into_iter().map(named).collect(),
            drifted: BTreeSet::new(),
            score: RequestScore::built_in(),
        };
        Ok((judge, faults))
    }

    /// Writes a calibration to the folder, and uses it from now on.
    ///
    /// # Errors
    /// It cannot be written; the one before it stays.
    pub fn put(&mut self, calibration: Calibration) -> Result<PathBuf, StoreError> {
        let path = store::save(&self.folder, &calibration)?;
        let key = (calibration.model.clone(), calibration.task.clone());
        self.drifted.remove(&key);
        self.calibrations.insert(key, calibration);
        Ok(path)
    }

    /// Reads the folder again: another process may have calibrated.
    ///
    /// # Errors
    /// As [`Self::open`]; what is in use stays.
    pub fn refresh(&mut self) -> Result<Vec<StoreError>, StoreError> {
        let (fresh, faults) = Self::open(&self.folder)?;
        let same =
            |key: &(String, String)| fresh.calibrations.get(key) == self.calibrations.get(key);
        self.drifted.retain(same);
        self.calibrations = fresh.calibrations;
        Ok(faults)
    }

    /// What was learned of a model at a task.
    pub fn calibration(&self, model: &str, task: &str) -> Option<&Calibration> {
        self.calibrations.get(&(model.to_owned(), task.to_owned()))
    }

    /// All that was learned.
    pub fn calibrations(&self) -> impl Iterator<Item = &Calibration> {
        self.calibrations.values()
    }

    /// How much a better model is likely to gain on a request: see [`RequestScore::score`].
    pub fn score(&self, asked: &Asked) -> f64 {
        self.score.score(asked)
    }

    /// Takes note of how outcomes came out: a calibration that they contradict is called uncalibrated
    /// until there is a new one.
    pub fn note(&mut self, model: &str, task: &str, drift: &Drift) {
        let key = (model.to_owned(), task.to_owned());
        match drift.contradicts() {
            true => self.drifted.insert(key),
            false => self.drifted.remove(&key),
        };
    }

    /// From the request alone.
    pub fn before(&self, model: &str, task: &str, asked: &Asked, choices: &[u32]) -> Confidence {
        let features = Features {
            choices,
            ..Features::of(asked, self.score(asked))
        };
        self.confidence(model, task, Stage::Before, &features)
    }

    /// From the request and the first [`super::PREFIX_TOKENS`] tokens of the answer, or all of a shorter
    /// one.
    pub fn prefix(
        &self,
        model: &str,
        task: &str,
        asked: &Asked,
        answer: &Answered<'_>,
    ) -> Confidence {
        self.confidence(model, task, Stage::Prefix, &self.features(asked, answer))
    }

    /// From the request and the whole answer.
    pub fn after(
        &self,
        model: &str,
        task: &str,
        asked: &Asked,
        answer: &Answered<'_>,
    ) -> Confidence {
        self.confidence(model, task, Stage::After, &self.features(asked, answer))
    }

    /// All that is known, for [`Self::after`] and for learning.
    pub fn features<'a>(&self, asked: &'a Asked, answer: &Answered<'a>) -> Features<'a> {
        Features {
            signals: Some(answer.signals),
            answer: answer.text,
            choices: answer.choices,
            agreement: answer.agreement,
            ..Features::of(asked, self.score(asked))
        }
    }

    /// The numbers that a confidence is made of, to be kept until somebody says whether the answer was
    /// right.
    pub fn row(
        &self,
        model: &str,
        task: &str,
        stage: Stage,
        features: &Features<'_>,
    ) -> Option<Row> {
        match self.calibration(model, task) {
            Some(calibration) => calibration.row(stage, features),
            None => features.row(stage),
        }
    }

    fn confidence(
        &self,
        model: &str,
        task: &str,
        stage: Stage,
        features: &Features<'_>,
    ) -> Confidence {
        let uncalibrated = || Confidence::uncalibrated(features.raw());
        let found = self.calibration(model, task);
        let found = found.map_or_else(uncalibrated, |c| c.confidence(stage, features));
        let key = (model.to_owned(), task.to_owned());
        match self.drifted.contains(&key) {
            true => Confidence {
                calibrated: false,
                ..found
            },
            false => found,
        }
    }

    /// The threshold for an aim. `None` without a calibration of this stage, or where the aim is none.
    pub fn threshold(&self, model: &str, task: &str, stage: Stage, aim: &Aim) -> Option<Threshold> {
        let staged = self.calibration(model, task)?.stage(stage)?;
        aim.threshold(&staged.judged())
    }
}
