//! What came of answers: what was known of each, and whether somebody said that it was right.
//!
//! No text is kept: only the numbers that a confidence is made of, under the answer's id and the name of
//! the key that asked, by which they are erased. They make the next calibration (`ingle calibrate --feedback`), and show when the one in use is no longer true.

use super::calibration::Stage;
use super::fit::{self, Example};
use super::logistic::Row;
use super::{Confidence, features};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Answers that nobody has judged, at most; the oldest go first.
const MOST_OPEN: u32 = 20_000;
/// Outcomes of a model at a task that drift is looked for in: the last ones.
const WINDOW: u32 = 200;
/// The fewest that show drift.
const FEWEST: u32 = 30;
/// Standard deviations from what was expected that are no chance.
const SURPRISE: f64 = 3.0;
/// Bytes of an id.
const LONGEST_ID: usize = 256;

/// Why an outcome cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// The database.
    #[error("{path}, where the outcomes of answers are kept, does not work: {why}")]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: rusqlite::Error,
    },
    /// No such answer.
    #[error(
        "there is no answer with the id `{id}` that could be judged; ids stand in the answers, and the {MOST_OPEN} latest are kept"
    )]
    Unknown {
        /// The id.
        id: String,
    },
}

/// What is known of an answer when it has been given.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// Its id, as the client sees it.
    pub id: &'a str,
    /// The name of the key that asked; none: a request without a key.
    pub user: Option<&'a str>,
    /// Seconds since 1970.
    pub at: u64,
    /// The model, as calibrations name it.
    pub model: &'a str,
    /// The task.
    pub task: &'a str,
    /// What was said of it.
    pub confidence: Confidence,
    /// What that was made of, for each stage that was reached.
    pub rows: Vec<(Stage, Row)>,
    /// [`super::Asked::key`].
    pub key: u32,
}

/// Whom feedback was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The model that answered.
    pub model: String,
    /// The task.
    pub task: String,
}

/// How the last outcomes came out beside what was said of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drift {
    /// Outcomes with a calibrated probability.
    pub outcomes: u32,
    /// Right answers expected.
    pub expected: f64,
    /// Right answers.
    pub right: u32,
    /// How many standard deviations more are right than expected; below 0: fewer.
    pub deviations: f64,
}

impl Drift {
    /// Whether the calibration is wrong, beyond chance.
    pub fn contradicts(&self) -> bool {
        self.outcomes >= FEWEST && self.deviations.abs() > SURPRISE
    }
}

/// A row as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    dense: Vec<f64>,
    sparse: Vec<(u32, f32)>,
}

/// The outcomes of answers, in a database of their own.
#[derive(Debug)]
pub struct Outcomes {
    path: PathBuf,
    db: Connection,
}

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    key INTEGER NOT NULL,
    probability REAL NOT NULL,
    calibrated INTEGER NOT NULL,
    rows TEXT NOT NULL,
    judged INTEGER,
    right INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS by_task ON answers (model, task, judged);
CREATE INDEX IF NOT EXISTS unjudged ON answers (number) WHERE right IS NULL;
";
/// Files of earlier versions do not say whose answers they hold.
const USER: &str = "ALTER TABLE answers ADD COLUMN user TEXT";

impl Outcomes {
    /// Opens the database at `path`, or makes it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, OutcomeError> {
        let open = || -> rusqlite::Result<Connection> {
            let db = Connection::open(path)?;
            db.busy_timeout(std::time::Duration::from_secs(5))?;
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "normal")?;
            // What goes is overwritten.
            db.pragma_update(None, "secure_delete", "on")?;
            db.execute_batch(TABLE)?;
            let known = "SELECT count(*) FROM pragma_table_info('answers') WHERE name = 'user'";
            if db.query_row(known, [], |row| row.get::<_, u32>(0))? == 0 {
                db.execute_batch(USER)?;
            }
            Ok(db)
        };
        let path = path.to_owned();
        match open() {
            Ok(db) => Ok(Self { path, db }),
            Err(why) => Err(OutcomeError::Database { path, why }),
        }
    }

    fn fault(&self) -> impl Fn(rusqlite::Error) -> OutcomeError + use<> {
        let path = self.path.clone();
        move |why| OutcomeError::Database {
            path: path.clone(),
            why,
        }
    }

    /// Keeps what is known of an answer, so that it can be judged.
    ///
    /// # Errors
    /// The database.
    pub fn answered(&mut self, given: &Given<'_>) -> Result<(), OutcomeError> {
        let kept = |(stage, row): &(Stage, Row)| {
            let Row { dense, sparse } = row.clone();
            (*stage, Kept { dense, sparse })
        };
        let rows: Vec<(Stage, Kept)> = given.rows.iter().map(kept).collect();
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        let id: String = given.id.chars().take(LONGEST_ID).collect();
        let fault = self.fault();
        let insert = "INSERT OR REPLACE INTO answers (id, at, model, task, key, probability, calibrated, rows, user)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let Confidence {
            probability,
            calibrated,
            ..
        } = given.confidence;
        let at = i64::try_from(given.at).unwrap_or(i64::MAX);
        let mut statement = self.db.prepare(insert).map_err(&fault)?;
        statement
            .execute(params![
                id,
                at,
                given.model,
                given.task,
                given.key,
                probability,
                calibrated,
                rows,
                given.user.unwrap_or_default(),
            ])
            .map_err(&fault)?;
        let number = self.db.last_insert_rowid();
        if number % 256 == 0 {
            let prune = "DELETE FROM answers WHERE right IS NULL AND number <= ?1 - ?2";
            self.db
                .execute(prune, params![number, MOST_OPEN])
                .map_err(&fault)?;
        }
        Ok(())
    }

    /// Takes note of whether an answer was right. Said twice, the last counts.
    ///
    /// # Errors
    /// [`OutcomeError::Unknown`], or the database.
    pub fn feedback(&mut self, id: &str, right: bool, at: u64) -> Result<Noted, OutcomeError> {
        let update =
            "UPDATE answers SET right = ?2, judged = ?3 WHERE id = ?1 RETURNING model, task";
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let noted = self.db.query_row(update, params![id, right, at], |row| {
            Ok(Noted {
                model: row.get(0)?,
                task: row.get(1)?,
            })
        });
        let unknown = || OutcomeError::Unknown {
            id: id.chars().take(100).collect(),
        };
        noted.optional().map_err(self.fault())?.ok_or_else(unknown)
    }

    /// The judged answers of a model at a task that have a row for a stage, the latest
    /// [`fit::MOST`], oldest first. Rows of another version of Ingle are left out.
    ///
    /// # Errors
    /// The database.
    pub fn examples(
        &self,
        model: &str,
        task: &str,
        stage: Stage,
    ) -> Result<Vec<Example>, OutcomeError> {
        let select = "SELECT key, rows, right FROM answers
            WHERE model = ?1 AND task = ?2 AND right IS NOT NULL ORDER BY number DESC LIMIT ?3";
        let fault = self.fault();
        let mut statement = self.db.prepare(select).map_err(&fault)?;
        let most = u32::try_from(fit::MOST).unwrap_or(u32::MAX);
        let found = statement.query_map(params![model, task, most], |row| {
            Ok((
                row.get::<_, u32>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
            ))
        });
        let width = features::names(stage).count();
        let mut out = Vec::new();
        for row in found.map_err(&fault)? {
            let (key, rows, right) = row.map_err(&fault)?;
            let rows: Vec<(Stage, Kept)> = serde_json::from_str(&rows).unwrap_or_default();
            let mut fits = rows
                .into_iter()
                .filter(|(s, kept)| *s == stage && kept.dense.len() == width);
            out.extend(fits.next().map(|(_, Kept { dense, sparse })| Example {
                row: Row { dense, sparse },
                right,
                key,
                lesson: None,
            }));
        }
        out.reverse();
        Ok(out)
    }

    /// Models and tasks that have judged answers, and how many.
    ///
    /// # Errors
    /// The database.
    pub fn judged(&self) -> Result<Vec<(Noted, u32)>, OutcomeError> {
        let select = "SELECT model, task, count(*) FROM answers WHERE right IS NOT NULL GROUP BY model, task";
        let fault = self.fault();
        let mut statement = self.db.prepare(select).map_err(&fault)?;
        let found = statement.query_map([], |row| {
            Ok((
                Noted {
                    model: row.get(0)?,
                    task: row.get(1)?,
                },
                row.get(2)?,
            ))
        });
        found
            .map_err(&fault)?
            .collect::<Result<_, _>>()
            .map_err(&fault)
    }

    /// How the latest outcomes came out of answers given after `since` (when the calibration was made).
    ///
    /// # Errors
    /// The database.
    pub fn drift(&self, model: &str, task: &str, since: u64) -> Result<Drift, OutcomeError> {
        let select = "SELECT count(*), total(probability), total(probability * (1 - probability)), total(right)
            FROM (SELECT probability, right FROM answers
                WHERE model = ?1 AND task = ?2 AND right IS NOT NULL AND calibrated AND at >= ?3
                ORDER BY judged DESC, number DESC LIMIT ?4)";
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let found = self
            .db
            .query_row(select, params![model, task, since, WINDOW], |row| {
                let (outcomes, expected): (u32, f64) = (row.get(0)?, row.get(1)?);
                let (variance, right): (f64, f64) = (row.get(2)?, row.get(3)?);
                Ok(Drift {
                    outcomes,
                    expected,
                    right: right as u32,
                    deviations: (right - expected) / variance.max(0.25).sqrt(),
                })
            });
        found.map_err(self.fault())
    }

    /// Forgets the answers that one person was given (none: those of requests without a key), and those
    /// with the ids `also`: a file of an earlier version does not say whose they are. Says how many there
    /// were. What is gone is overwritten, in the write-ahead log too.
    ///
    /// # Errors
    /// The database.
    pub fn forget<'a>(
        &mut self,
        user: Option<&str>,
        also: impl Iterator<Item = &'a str>,
    ) -> Result<usize, OutcomeError> {
        let fault = self.fault();
        let all = self.db.transaction().map_err(&fault)?;
        let sql = "DELETE FROM answers WHERE user = ?1";
        let mut gone = all
            .execute(sql, [user.unwrap_or_default()])
            .map_err(&fault)?;
        for id in also {
            let id: String = id.chars().take(LONGEST_ID).collect();
            let sql = "DELETE FROM answers WHERE id = ?1";
            gone += all.execute(sql, [id]).map_err(&fault)?;
        }
        all.commit().map_err(&fault)?;
        let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.db.query_row(empty, [], |_| Ok(())).map_err(&fault)?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(id: &str, probability: f64) -> Given<'_> {
        let row = Row {
            dense: vec![0.5; features::names(Stage::Before).count()],
            sparse: vec![(3, 1.0)],
        };
        Given {
            id,
            user: Some("anna"),
            at: 100,
            model: "mini",
            task: "spam",
            confidence: Confidence {
                probability,
                calibrated: true,
                sample_size: 50,
                error: 0.1,
            },
            rows: vec![(Stage::Before, row)],
            key: 9,
        }
    }

    #[test]
    fn feedback_finds_its_answer_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.db");
        let mut all = Outcomes::open(&path).unwrap();
        all.answered(&given("a", 0.9)).unwrap();
        all.answered(&given("b", 0.9)).unwrap();
        let noted = all.feedback("a", false, 200).unwrap();
        assert_eq!(
            (noted.model.as_str(), noted.task.as_str()),
            ("mini", "spam")
        );
        assert!(matches!(
            all.feedback("c", true, 200),
            Err(OutcomeError::Unknown { .. })
        ));
        drop(all);
        let mut all = Outcomes::open(&path).unwrap();
        let examples = all.examples("mini", "spam", Stage::Before).unwrap();
        assert_eq!(examples.len(), 1);
        assert!(!examples[0].right && examples[0].key == 9 && examples[0].row.sparse == [(3, 1.0)]);
        assert!(
            all.examples("mini", "spam", Stage::After)
                .unwrap()
                .is_empty()
        );
        all.feedback("a", true, 300).unwrap();
        assert!(all.examples("mini", "spam", Stage::Before).unwrap()[0].right);
        assert_eq!(all.judged().unwrap()[0].1, 1);
    }

    #[test]
    fn what_one_person_was_given_is_forgotten_and_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.db");
        // A file of before it said whose answers it holds.
        Connection::open(&path)
            .unwrap()
            .execute_batch(TABLE)
            .unwrap();
        let mut all = Outcomes::open(&path).unwrap();
        let of = |id, user| Given {
            user,
            ..given(id, 0.9)
        };
        for one in [
            of("a-1", Some("anna")),
            of("b-1", Some("ben")),
            of("o-1", None),
        ] {
            all.answered(&one).unwrap();
            all.feedback(one.id, true, 200).unwrap();
        }
        all.db
            .execute("UPDATE answers SET user = NULL WHERE id = 'b-1'", [])
            .unwrap();
        assert_eq!(all.forget(Some("anna"), ["x"].into_iter()).unwrap(), 1);
        assert_eq!(
            all.examples("mini", "spam", Stage::Before).unwrap().len(),
            2
        );
        assert_eq!(all.forget(Some("ben"), ["b-1"].into_iter()).unwrap(), 1);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for gone in [&b"anna"[..], b"a-1", b"b-1"] {
                assert!(!bytes.windows(gone.len()).any(|window| window == gone));
            }
        }
        assert_eq!(all.forget(None, std::iter::empty()).unwrap(), 1);
        assert!(all.judged().unwrap().is_empty());
        drop(all);
        assert!(Outcomes::open(&path).is_ok());
    }

    #[test]
    fn outcomes_that_contradict_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Outcomes::open(&folder.path().join("outcomes.db")).unwrap();
        for i in 0..60 {
            let id = i.to_string();
            all.answered(&given(&id, 0.8)).unwrap();
            all.feedback(&id, i % 5 > 0, 200 + i).unwrap();
        }
        let drift = all.drift("mini", "spam", 0).unwrap();
        assert!(
            drift.outcomes == 60 && drift.right == 48 && !drift.contradicts(),
            "{drift:?}"
        );
        for i in 60..120 {
            let id = i.to_string();
            all.answered(&given(&id, 0.8)).unwrap();
            all.feedback(&id, i % 2 > 0, 200 + i).unwrap();
        }
        let drift = all.drift("mini", "spam", 0).unwrap();
        assert!(drift.contradicts() && drift.deviations < -3.0, "{drift:?}");
        assert_eq!(all.drift("mini", "spam", 101).unwrap(), Drift::default());
    }

    #[test]
    fn what_nobody_judges_is_dropped_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Outcomes::open(&folder.path().join("outcomes.db")).unwrap();
        all.db.execute_batch("BEGIN").unwrap();
        for i in 0..MOST_OPEN + 300 {
            all.answered(&given(&i.to_string(), 0.8)).unwrap();
        }
        all.db.execute_batch("COMMIT").unwrap();
        assert!(matches!(
            all.feedback("1", true, 0),
            Err(OutcomeError::Unknown { .. })
        ));
        assert!(all.feedback("20000", true, 0).is_ok());
    }
}
