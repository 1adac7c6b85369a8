//! What `ingle bench` prints.

use super::limits::Limits;
use super::runs::{Kind, Run};
use crate::load::Loaded;
use crate::out;
use ingle::engine::StreamPlan;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that was measured.
pub struct Report {
    pub name: String,
    pub threads: usize,
    pub isa: &'static str,
    pub load_time: Duration,
    /// The most memory that was held at once, where the system says.
    pub peak: Option<u64>,
    /// Bytes of weights that one token reads.
    pub token_bytes: u64,
    pub limits: Limits,
    /// Bytes that the disk reads in a second, where weights are read while they are used.
    pub disk: Option<f64>,
    /// What of them is held, where some are on disk.
    pub streamed: Option<StreamPlan>,
    pub runs: Vec<Run>,
}

impl Report {
    pub fn new(loaded: &Loaded, limits: Limits, runs: Vec<Run>, peak: Option<u64>) -> Self {
        Self {
            name: loaded.name.clone(),
            threads: loaded.threads,
            isa: loaded.isa,
            load_time: loaded.load_time,
            peak,
            token_bytes: loaded.work.bytes(),
            limits,
            disk: loaded.disk,
            streamed: loaded.model.plan().streamed,
            runs,
        }
    }

    /// Seconds that a run takes at least, and what takes so long.
    fn least(&self, run: &Run) -> (f64, &'static str) {
        let (seconds, bound) = self.limits.least(run.work);
        match (run.reads, self.disk) {
            (Some((reads, n)), Some(disk)) => {
                let missing = reads.missing_bytes as f64 / f64::from(n.max(1));
                let reading = missing / disk;
                if reading > seconds {
                    (reading, "disk")
                } else {
                    (seconds, bound.name())
                }
            }
            _ => (seconds, bound.name()),
        }
    }

    pub fn json(&self) -> Value {
        let first = |kind| {
            let run = self.runs.iter().find(|run| run.kind == kind);
            run.map(|run| run.tps)
        };
        let generate = first(Kind::Generation).unwrap_or(0.0);
        let runs = self.runs.iter().map(|run| {
            let (seconds, bound) = self.least(run);
            let limit = run.total() / seconds;
            let reads = run
                .reads
                .map(|(reads, n)| reads.json(run.total() * f64::from(n)));
            let mut object = json!({
                "kind": run.kind.name(), "tokens": run.tokens, "depth": run.depth,
                "sequences": run.sequences, "tps": run.tps, "limit_tps": limit,
                "share": run.tps / limit, "bound": bound,
                "bytes": run.work.bytes, "int8_ops": run.work.int8, "f32_ops": run.work.f32,
            });
            if let Some(reads) = reads {
                object["stream"] = reads;
            }
            object
        });
        let mut object = json!({
            "model": self.name, "threads": self.threads, "isa": self.isa,
            "load_seconds": self.load_time.as_secs_f64(), "peak_bytes": self.peak,
            "weight_bytes_per_token": self.token_bytes,
            "read_gbps": self.limits.read / 1e9,
            "int8_tops": self.limits.int8 / 1e12, "f32_tflops": self.limits.f32 / 1e12,
            "prompt_tps": first(Kind::Prompt), "generate_tps": generate,
            "read_share": generate * self.token_bytes as f64 / self.limits.read,
            "runs": runs.collect::<Vec<_>>(),
        });
        if let Some(s) = &self.streamed {
            object["stream"] = json!({
                "resident_bytes": s.resident_bytes, "cache_bytes": s.cache_bytes,
                "cached_share": s.cached_share(), "streamed_bytes": s.streamed_bytes,
                "token_bytes": s.token_bytes, "disk_bytes_per_second": self.disk,
            });
        }
        object
    }

    pub fn text(&self) -> String {
        let held = self.peak.map_or(String::new(), |peak| {
            format!(", {} of memory at most", out::bytes(peak))
        });
        let head = format!(
            "{}: {} of weights read for a token, ready in {:.2} s{held}\n\
             This machine, {} threads with {}: reads {:.1} GB/s; {:.2} TOPS of 8-bit integers, {:.2} TFLOPS of f32\n\n",
            out::plain(&self.name),
            out::bytes(self.token_bytes),
            self.load_time.as_secs_f64(),
            self.threads,
            self.isa,
            self.limits.read / 1e9,
            self.limits.int8 / 1e12,
            self.limits.f32 / 1e12,
        );
        let mut rows = vec![vec![
            String::new(),
            "tokens/s".into(),
            "of what the machine can".into(),
        ]];
        rows.extend(self.runs.iter().map(|run| self.row(run)));
        let reads: String = self.runs.iter().filter_map(reads_line).collect();
        head + &out::table(&rows) + &reads
    }

    fn row(&self, run: &Run) -> Vec<String> {
        let (seconds, bound) = self.least(run);
        let share = run.tps * seconds / run.total().max(1.0);
        let mut name = format!("{} {}", run.kind.name(), run.tokens);
        if run.depth > 0 {
            name += &format!(" at depth {}", run.depth);
        }
        if run.sequences > 1 {
            name += &format!(", {} sequences together", run.sequences);
        }
        vec![
            name,
            format!("{:>8.1}", run.tps),
            format!("{} {:.0}% of {}", bar(share), 100.0 * share, bound),
        ]
    }
}

/// What a run read from disk, for people.
fn reads_line(run: &Run) -> Option<String> {
    let (reads, n) = run.reads?;
    let tokens = run.total() * f64::from(n.max(1));
    let line = reads.line(tokens);
    Some(format!("{} {}: {line}\n", run.kind.name(), run.tokens))
}

/// Twenty places, filled as far as `share` goes.
fn bar(share: f64) -> String {
    const PLACES: usize = 20;
    let filled = (share.clamp(0.0, 1.0) * PLACES as f64).round() as usize;
    format!("{}{}", "#".repeat(filled), ".".repeat(PLACES - filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::limits::Work;

    #[test]
    fn bars() {
        assert_eq!(bar(0.0), "....................");
        assert_eq!(bar(0.5), "##########..........");
        assert_eq!(bar(7.0), "####################");
    }

    #[test]
    fn every_figure_is_shown() {
        let run = |kind, sequences, depth| Run {
            kind,
            tokens: 64,
            depth,
            sequences,
            tps: 80.0,
            work: Work {
                bytes: 64 << 28,
                int8: 64 << 30,
                f32: 64 << 20,
            },
            reads: None,
        };
        let report = Report {
            name: "a model".into(),
            threads: 2,
            isa: "avx2",
            load_time: Duration::from_millis(1230),
            peak: Some(3 << 30),
            token_bytes: 1 << 28,
            limits: Limits {
                read: 32e9,
                int8: 1.7e12,
                f32: 2e11,
            },
            disk: None,
            streamed: None,
            runs: vec![
                run(Kind::Prompt, 1, 0),
                run(Kind::Generation, 1, 4096),
                run(Kind::Generation, 16, 0),
            ],
        };
        insta::assert_snapshot!(report.text());
        insta::assert_snapshot!(serde_json::to_string_pretty(&report.json()).unwrap());
    }
}
