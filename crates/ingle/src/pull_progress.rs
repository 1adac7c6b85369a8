//! What a person or a program sees while a model comes.

use crate::out;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingle::store::download::Progress;
use ingle::store::pull::{Plan, PullEvent, RemoteFile};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a program hears of progress.
const EVERY: Duration = Duration::from_millis(500);

/// The progress of one pull.
pub struct Show {
    json: bool,
    terminal: bool,
    files: usize,
    file: String,
    size: u64,
    bar: ProgressBar,
    /// When, and at which tenth of the file, something was last said.
    said: (Option<Instant>, u64),
}

impl Show {
    pub fn new(json: bool) -> Self {
        Self {
            json,
            terminal: std::io::stderr().is_terminal(),
            files: 0,
            file: String::new(),
            size: 0,
            bar: ProgressBar::hidden(),
            said: (None, 0),
        }
    }

    /// What will come.
    pub fn plan(&mut self, plan: &Plan) -> anyhow::Result<()> {
        self.files = plan.files.len();
        if self.json {
            let file =
                |file: &RemoteFile| json!({ "file": file.file.as_str(), "bytes": file.size });
            return out::json(&json!({
                "event": "plan", "name": plan.name, "commit": plan.repository.commit.as_str(),
                "bytes": plan.bytes(), "files": plan.files.iter().map(file).collect::<Vec<_>>(),
            }));
        }
        let files = match plan.files.as_slice() {
            [file] => file.file.to_string(),
            files => format!("{} files", files.len()),
        };
        let commit = plan.repository.commit.as_str();
        let commit = commit.get(..8).unwrap_or(commit);
        let name = out::plain(&plan.name);
        out::note(format!(
            "{name} at {commit}: {files}, {}",
            out::bytes(plan.bytes())
        ));
        Ok(())
    }

    /// Something happened.
    pub fn event(&mut self, event: PullEvent<'_>) {
        match event {
            PullEvent::File(index, file) => self.begin(index, file),
            PullEvent::Progress(progress) => self.progress(progress),
            PullEvent::Done(already) => self.done(already),
            _ => {}
        }
    }

    /// Nothing more will happen.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn begin(&mut self, index: usize, file: &RemoteFile) {
        self.file = file.file.to_string();
        self.size = file.size;
        self.said = (None, 0);
        self.tell(json!({ "event": "file", "file": self.file, "bytes": file.size }));
        if !self.json && self.terminal {
            let bar = ProgressBar::with_draw_target(Some(file.size), ProgressDrawTarget::stderr());
            let template = "{prefix}{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            if self.files > 1 {
                bar.set_prefix(format!("{}/{} ", index + 1, self.files));
            }
            self.bar = bar;
        }
    }

    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Fetching { done, .. } => self.at("fetching", done),
            Progress::Checking { done, .. } => self.at("checking", done),
            Progress::Waiting => self.line(
                "waiting",
                "another process is fetching this file; waiting for it".into(),
            ),
            Progress::Retrying { fault, pause, left } => self.line(
                "retry",
                format!(
                    "{fault}; again in {:.1} s ({left} tries left)",
                    pause.as_secs_f32()
                ),
            ),
            Progress::Restarting => {
                self.line(
                    "restart",
                    format!("{} came out wrong and is fetched once more", self.file),
                );
            }
            _ => {}
        }
    }

    /// So many bytes: the bar moves, a program hears of it now and then, a log gets a line each tenth.
    fn at(&mut self, doing: &str, done: u64) {
        self.bar
            .set_message(if doing == "checking" { "checking" } else { "" });
        self.bar.set_position(done);
        let (last, tenth) = self.said;
        let now_tenth = done.saturating_mul(10) / self.size.max(1);
        if self.json {
            if last.is_none_or(|last| last.elapsed() >= EVERY) {
                self.said.0 = Some(Instant::now());
                self.tell(json!({ "event": "progress", "doing": doing, "file": self.file, "done": done, "bytes": self.size }));
            }
        } else if !self.terminal && doing == "fetching" && now_tenth > tenth {
            self.said.1 = now_tenth;
            let (done, size) = (out::bytes(done), out::bytes(self.size));
            out::note(format!(
                "{}: {done} of {size} ({}%)",
                self.file,
                now_tenth * 10
            ));
        }
    }

    fn line(&self, event: &str, text: String) {
        self.tell(json!({ "event": event, "file": self.file, "message": text }));
        if !self.json {
            self.bar.suspend(|| out::note(out::plain(&text)));
        }
    }

    fn done(&mut self, already: bool) {
        self.bar.finish_and_clear();
        self.tell(json!({ "event": "fetched", "file": self.file, "already": already }));
    }

    /// A line for a program. That it has gone is seen when the answer is written.
    fn tell(&self, event: Value) {
        if self.json {
            let _ = out::json(&event);
        }
    }
}
