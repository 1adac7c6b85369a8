//! What `ingle plan` prints.

use super::expected::{Expected, Trial};
use crate::out;
use ingle::engine::{Plan, PlanError, size};
use ingle::tensor::cpu::OnDisk;
use serde_json::{Value, json};

/// What was planned, and what is expected of it.
pub struct Report {
    pub name: String,
    pub plan: Plan,
    pub expected: Expected,
    pub trial: Option<Trial>,
    /// Bytes that the disk reads in a second, where that is known.
    pub disk: Option<f64>,
}

impl Report {
    pub fn json(&self) -> Value {
        let (plan, expected) = (&self.plan, &self.expected);
        let s = plan.streamed.as_ref();
        json!({
            "model": self.name,
            "architecture": plan.needs.architecture,
            "fits": match s.map(|s| s.on_disk) {
                None => "in memory",
                Some(OnDisk::Experts) => "with experts on disk",
                Some(OnDisk::All) => "with all matrices on disk",
            },
            "allowed_bytes": plan.free,
            "total_bytes": plan.total(),
            "resident_bytes": s.map_or(plan.needs.weight_bytes, |s| s.resident_bytes),
            "on_disk": s.map(|s| json!({
                "bytes": s.streamed_bytes, "token_bytes": s.token_bytes,
                "experts": s.n_experts, "experts_per_token": s.per_token,
                "cache_bytes": s.cache_bytes, "cached_share": s.cached_share(),
                "read_buffer_bytes": s.read_bytes, "process_bytes": s.process_bytes,
            })),
            "context": plan.context,
            "sequence_bytes": plan.sequence_bytes,
            "buffer_bytes": plan.buffer_bytes,
            "vocabulary_bytes": plan.vocabulary_bytes,
            "batch_rows": plan.options.max_batch_rows,
            "hit_rate": expected.hit_rate,
            "from": self.source(),
            "trial_tokens": self.trial.map(|t| t.tokens),
            "disk_bytes_per_token": expected.disk_bytes.round(),
            "disk_bytes_per_second": self.disk.map(f64::round),
            "tokens_per_second": expected.tps,
            "bound": expected.bound(),
            "warnings": plan.warnings,
        })
    }

    fn source(&self) -> &'static str {
        match self.trial {
            Some(_) => "a trial",
            None => "a guess",
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n\n", out::plain(&self.name), self.plan);
        text += &self.disk_lines();
        text += &match self.expected.tps {
            _ if !self.plan.generates() => "It writes no text.\n".into(),
            Some(tps) => format!(
                "About {} tokens a second, bound by {}.\n",
                rate(tps),
                self.expected.bound()
            ),
            None => "How fast that will be is not known: the disk has not been measured.\n".into(),
        };
        for warning in &self.plan.warnings {
            text += &format!("Note: {}\n", out::plain(warning));
        }
        text
    }

    fn disk_lines(&self) -> String {
        let expected = &self.expected;
        let Some(streamed) = &self.plan.streamed else {
            return "All weights fit in memory: nothing is read from disk while it runs.\n".into();
        };
        let from = match self.trial {
            Some(trial) => format!("in a trial of {} tokens", trial.tokens),
            None => "guessed from how much is cached; models and texts differ".into(),
        };
        let disk = self
            .disk
            .map_or(String::new(), |rate| format!(" at {:.2} GB/s", rate / 1e9));
        let needs = match streamed.on_disk {
            OnDisk::Experts => format!("{} experts", streamed.per_token),
            OnDisk::All => "all matrices".into(),
        };
        format!(
            "A token needs {needs}, {} of the file. {:.0}% of them are found in the cache ({from});\n\
             {} are read from disk for a token{disk}.\n",
            out::bytes(streamed.token_bytes),
            100.0 * expected.hit_rate,
            out::bytes(expected.disk_bytes as u64),
        )
    }
}

fn rate(tps: f64) -> String {
    match tps {
        t if t >= 99.5 => format!("{t:.0}"),
        t if t >= 9.95 => format!("{t:.1}"),
        t => format!("{t:.2}"),
    }
}

/// A model that is refused, for a program: what would do is among it.
pub fn refusal(name: &str, error: &PlanError) -> Value {
    let (smallest, allowed) = match error {
        PlanError::Budget { smallest, free, .. } => (Some(*smallest), Some(*free)),
        PlanError::Weights {
            weights,
            buffers,
            smallest,
            free,
        } => (
            Some(weights.saturating_add(*buffers).saturating_add(*smallest)),
            Some(*free),
        ),
        PlanError::Context { total, free, .. } => (Some(*total), Some(*free)),
        _ => (None, None),
    };
    json!({
        "model": name, "fits": Value::Null, "error": error.to_string(),
        "smallest_bytes": smallest, "smallest": smallest.map(size), "allowed_bytes": allowed,
    })
}
