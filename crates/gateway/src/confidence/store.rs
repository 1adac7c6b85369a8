//! Calibrations on disk: a file each, with a version and a digest, replaced as a whole.

use super::calibration::Calibration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What stands first in a file.
const FORMAT: &str = "ingle calibration";
const VERSION: u32 = 2;
/// The largest file that is read.
const MOST_BYTES: u64 = 8 << 20;
/// The most files of a folder that are read.
const MOST_FILES: usize = 1024;
/// Bytes of the name of a task.
const LONGEST_TASK: usize = 64;

/// What is wrong with a calibration or its file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or folder cannot be read or written.
    #[error("{path} cannot be {verb}: {why}")]
    Io {
        /// Which.
        path: PathBuf,
        /// `read`, `written`.
        verb: &'static str,
        /// Why.
        why: std::io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{path} is no calibration that can be used: {why}; make it again with `ingle calibrate`"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The name of a task.
    #[error(
        "`{name}` is no name of a task; take 1 to {LONGEST_TASK} of the letters a to z, digits, `-`, `_` and `.`"
    )]
    TaskName {
        /// It.
        name: String,
    },
}

/// The first line of a file; the second is the calibration, whose digest this is.
#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    sha256: String,
}

/// Checks the name of a task.
///
/// # Errors
/// [`StoreError::TaskName`].
pub fn check_task(name: &str) -> Result<(), StoreError> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match starts && name.len() <= LONGEST_TASK && name.chars().all(fine) {
        true => Ok(()),
        false => Err(StoreError::TaskName {
            name: name.chars().take(100).collect(),
        }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The file of a model and a task: the model by its hash, for it may have any name.
fn path(folder: &Path, model: &str, task: &str) -> PathBuf {
    let digest = hex(&Sha256::digest(model.as_bytes()));
    let short = digest.get(..16).unwrap_or(&digest);
    folder.join(format!("{short}-{task}.json"))
}

/// Writes a calibration in the place of the one before it: another file first, then its name.
///
/// # Errors
/// [`StoreError`].
pub fn save(folder: &Path, calibration: &Calibration) -> Result<PathBuf, StoreError> {
    check_task(&calibration.task)?;
    let path = path(folder, &calibration.model, &calibration.task);
    let io = |why| StoreError::Io {
        path: path.clone(),
        verb: "written",
        why,
    };
    let text = serde_json::to_string(calibration).map_err(|e| io(e.into()))?;
    let head = Head {
        format: FORMAT.into(),
        version: VERSION,
        sha256: hex(&Sha256::digest(text.as_bytes())),
    };
    let head = serde_json::to_string(&head).map_err(|e| io(e.into()))?;
    std::fs::create_dir_all(folder).map_err(io)?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&partial)?;
        writeln!(file, "{head}\n{text}")?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)
    };
    write().map_err(|why| {
        let _ = std::fs::remove_file(&partial);
        io(why)
    })?;
    Ok(path)
}

/// Reads a file.
///
/// # Errors
/// [`StoreError`].
pub fn read(path: &Path) -> Result<Calibration, StoreError> {
    let io = |why| StoreError::Io {
        path: path.to_owned(),
        verb: "read",
        why,
    };
    let damaged = |why: String| StoreError::Damaged {
        path: path.to_owned(),
        why,
    };
    let len = std::fs::metadata(path).map_err(io)?.len();
    if len > MOST_BYTES {
        return Err(damaged(format!(
            "it has {len} bytes, more than {MOST_BYTES}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let (head, text) = text.split_once('\n').unwrap_or_default();
    let head: Head = serde_json::from_str(head).map_err(|e| damaged(e.to_string()))?;
    if head.format != FORMAT || head.version != VERSION {
        let (format, version) = (&head.format, head.version);
        return Err(damaged(format!(
            "it says `{format}`, version {version}, and this program reads `{FORMAT}`, version {VERSION}"
        )));
    }
    let text = text.trim_end();
    if hex(&Sha256::digest(text.as_bytes())) != head.sha256 {
        return Err(damaged("its digest is not that of what it holds".into()));
    }
    let calibration: Calibration =
        serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    check_task(&calibration.task)?;
    match calibration.fault() {
        Some(why) => Err(damaged(why.into())),
        None => Ok(calibration),
    }
}

/// All of a folder, and what is wrong with those that cannot be used. A folder that is not there is
/// empty.
///
/// # Errors
/// The folder cannot be read.
pub fn read_all(folder: &Path) -> Result<(Vec<Calibration>, Vec<StoreError>), StoreError> {
    let io = |why| StoreError::Io {
        path: folder.to_owned(),
        verb: "read",
        why,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        other => other.map_err(io)?,
    };
    let mut paths = Vec::new();
    for entry in entries.take(MOST_FILES) {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match read(&path) {
            Ok(calibration) => all.push(calibration),
            Err(fault) => faults.push(fault),
        }
    }
    Ok((all, faults))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::calibration::Stage;
    use crate::confidence::features;
    use crate::confidence::fit::{Example, fit};
    use crate::confidence::logistic::Row;
    use crate::confidence::recall::Recall;
    use crate::confidence::{Asked, Judge};

    fn calibration() -> Calibration {
        let width = features::names(Stage::Before).count();
        let example = |i: u32| {
            let mut dense = vec![0.0; width];
            dense[0] = f64::from(i % 7);
            Example {
                row: Row {
                    dense,
                    sparse: Vec::new(),
                },
                right: (i % 7) * 10 > i % 53,
                key: i,
                lesson: None,
            }
        };
        let examples: Vec<Example> = (0..200).map(example).collect();
        Calibration {
            model: "a model/with: any name".into(),
            task: "spam".into(),
            made: 7,
            samples: 0,
            recall: Recall::default(),
            stages: vec![fit(Stage::Before, &examples).unwrap()],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (mut judge, faults) = Judge::open(&folder.path().join("not there")).unwrap();
        assert!(faults.is_empty());
        let made = calibration();
        let asked = Asked::new("what is it?");
        let (model, task) = (made.model.clone(), made.task.clone());
        assert!(!judge.before(&model, &task, &asked, &[]).calibrated);
        judge.put(made.clone()).unwrap();
        let said = judge.before(&model, &task, &asked, &[]);
        assert!(said.calibrated && said.sample_size == 200, "{said:?}");
        assert!(!judge.before(&model, "other", &asked, &[]).calibrated);
        let (again, faults) = Judge::open(&folder.path().join("not there")).unwrap();
        assert!(faults.is_empty());
        let same = again.before(&model, &task, &asked, &[]).probability;
        assert!((same - said.probability).abs() < 1e-12);
        let left = std::fs::read_dir(folder.path().join("not there"))
            .unwrap()
            .count();
        assert_eq!(left, 1, "nothing but the file");
    }

    #[test]
    fn a_damaged_file_is_told_and_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), &calibration()).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let bad = [
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\":2", "\"version\":9"),
            good.replace("\"made\":7", "\"made\":8"),
            String::new(),
            "{}\n{}".into(),
        ];
        for text in bad {
            std::fs::write(&path, text).unwrap();
            let (judge, faults) = Judge::open(folder.path()).unwrap();
            assert_eq!((judge.calibrations().count(), faults.len()), (0, 1));
            assert!(
                faults[0].to_string().contains("make it again"),
                "{}",
                faults[0]
            );
        }
        // Sealed by somebody who can compute a digest: the numbers are checked too.
        let (_, body) = good.split_once('\n').unwrap();
        let body = body
            .trim_end()
            .replace("\"sample_size\":200", "\"sample_size\":200,\"scale\":[]");
        assert!(serde_json::from_str::<Calibration>(&body).is_err());
        let mut wrong = calibration();
        wrong.stages[0].scale[0].1 = 0.0;
        save(folder.path(), &wrong).unwrap();
        assert!(matches!(read(&path), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_task_is_a_plain_name() {
        for good in ["general", "spam-2", "a.b_c"] {
            assert!(check_task(good).is_ok());
        }
        for bad in ["", "../x", "A", "a b", "-a", ".a", &"a".repeat(65)] {
            assert!(check_task(bad).is_err(), "{bad}");
        }
    }
}
