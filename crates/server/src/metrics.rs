//! What the server has done, as numbers: `/metrics` in Prometheus' text format.
//!
//! Written here and not with a library: the format is lines of `name{label="value"} number`, and the
//! usual exporters bring a second HTTP server, a clock and a registry that is global.

use crate::served::Served;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a request that was let in ended. Of several answers the worst counts, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Its answer was written to the end.
    Completed,
    /// The client went, nobody read, or the server ended.
    Cancelled,
    /// It was told why not.
    Refused,
}

impl Outcome {
    /// A word for the log and for labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }
}

/// Counted since the server was started.
#[derive(Debug, Default)]
pub struct Metrics {
    first: Histogram,
    next: Histogram,
    seconds: Histogram,
    counts: Mutex<Counts>,
    /// Requests that are there now.
    live: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    /// By route and outcome.
    ended: BTreeMap<(&'static str, Outcome), u64>,
    /// By the word for programs of the refusal.
    refused: BTreeMap<&'static str, u64>,
    /// By model: prompt, cached, written.
    tokens: BTreeMap<String, [u64; 3]>,
}

/// Bounds of the buckets, in seconds.
const BOUNDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = bucket.and_then(|i| self.buckets.get(i)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, "histogram", help);
        let mut sum = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let count = self.count.load(Ordering::Relaxed).max(sum);
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {seconds}\n{name}_count {count}"
        );
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A label's value, as the format wants it.
fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

impl Metrics {
    pub(crate) fn first_token(&self, time: Duration) {
        self.first.add(time);
    }

    pub(crate) fn next_token(&self, time: Duration) {
        self.next.add(time);
    }

    pub(crate) fn began(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ended: every one that began does, once.
    pub(crate) fn ended(&self, route: &'static str, outcome: Outcome, time: Duration) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.seconds.add(time);
        let mut counts = self.lock();
        *counts.ended.entry((route, outcome)).or_default() += 1;
    }

    pub(crate) fn refused(&self, code: &'static str) {
        *self.lock().refused.entry(code).or_default() += 1;
    }

    pub(crate) fn tokens(&self, model: &str, prompt: u64, cached: u64, written: u64) {
        let mut counts = self.lock();
        if !counts.tokens.contains_key(model) {
            counts.tokens.insert(model.to_owned(), [0; 3]);
        }
        if let Some(sums) = counts.tokens.get_mut(model) {
            for (sum, more) in sums.iter_mut().zip([prompt, cached, written]) {
                *sum += more;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, with what the engines say of themselves.
    pub(crate) fn text(&self, engines: &[Arc<Served>]) -> String {
        let mut text = String::new();
        self.first.write(
            &mut text,
            "ingle_time_to_first_token_seconds",
            "From a request's arrival to its first token.",
        );
        self.next.write(
            &mut text,
            "ingle_time_between_tokens_seconds",
            "From a token of an answer to the next.",
        );
        self.seconds.write(
            &mut text,
            "ingle_request_seconds",
            "From a request's arrival to the end of its answer.",
        );
        self.counters(&mut text);
        head(
            &mut text,
            "ingle_requests_live",
            "gauge",
            "Requests that are there now.",
        );
        let live = self.live.load(Ordering::Relaxed);
        let _ = writeln!(text, "ingle_requests_live {live}");
        engine_lines(&mut text, engines);
        text
    }

    fn counters(&self, text: &mut String) {
        let counts = self.lock();
        let name = "ingle_requests_total";
        head(
            text,
            name,
            "counter",
            "Requests that ended, by route and how.",
        );
        for ((route, outcome), n) in &counts.ended {
            let outcome = outcome.name();
            let _ = writeln!(
                text,
                "{name}{{route=\"{route}\",outcome=\"{outcome}\"}} {n}"
            );
        }
        let name = "ingle_refusals_total";
        head(
            text,
            name,
            "counter",
            "Requests that were refused, by the code of the refusal.",
        );
        for (code, n) in &counts.refused {
            let _ = writeln!(text, "{name}{{code=\"{code}\"}} {n}");
        }
        let kinds = [
            ("ingle_prompt_tokens_total", "Tokens of prompts."),
            (
                "ingle_cached_prompt_tokens_total",
                "Tokens of prompts that had been computed before: hits of the prefix cache.",
            ),
            ("ingle_generated_tokens_total", "Tokens of answers."),
        ];
        for (i, (name, help)) in kinds.into_iter().enumerate() {
            head(text, name, "counter", help);
            for (model, sums) in &counts.tokens {
                let n = sums.get(i).copied().unwrap_or_default();
                let _ = writeln!(text, "{name}{{model=\"{}\"}} {n}", label(model));
            }
        }
    }
}

/// A number that an engine says of itself.
type Figure = (&'static str, &'static str, &'static str, fn(&Served) -> f64);

/// What engines say of themselves: name, kind, help, value.
const FIGURES: &[Figure] = &[
    (
        "ingle_model_bytes",
        "gauge",
        "Memory that the model holds.",
        |m| m.bytes as f64,
    ),
    (
        "ingle_running_requests",
        "gauge",
        "Requests that hold pages now.",
        |m| m.engine.stats().running as f64,
    ),
    (
        "ingle_queue_depth",
        "gauge",
        "Requests that wait for a place.",
        |m| m.engine.stats().waiting as f64,
    ),
    (
        "ingle_preemptions_total",
        "counter",
        "Requests that gave their place to another.",
        |m| m.engine.stats().preemptions as f64,
    ),
    (
        "ingle_rows_total",
        "counter",
        "Rows of all batches: divided by steps, the size of one.",
        |m| m.engine.stats().rows as f64,
    ),
    (
        "ingle_prefix_tokens_from_disk_total",
        "counter",
        "Prompt tokens read back from disk.",
        |m| m.engine.stats().disk_tokens as f64,
    ),
    ("ingle_pages", "gauge", "Pages of keys and values.", |m| {
        m.engine.stats().pages as f64
    }),
    (
        "ingle_pages_free",
        "gauge",
        "Pages that hold nothing.",
        |m| m.engine.stats().free_pages as f64,
    ),
    (
        "ingle_pages_kept",
        "gauge",
        "Pages of texts on which no request runs.",
        |m| m.engine.stats().kept_pages as f64,
    ),
    ("ingle_steps_total", "counter", "Batches computed.", |m| {
        m.engine.stats().steps as f64
    }),
    (
        "ingle_busy_seconds_total",
        "counter",
        "Time in which batches were computed.",
        |m| m.engine.stats().busy.as_secs_f64(),
    ),
    (
        "ingle_weight_bytes_per_token",
        "gauge",
        "Bytes of weights that one token is computed with.",
        |m| m.limit.map_or(f64::NAN, |limit| limit.token_bytes as f64),
    ),
    (
        "ingle_memory_bytes_per_second",
        "gauge",
        "What this machine reads from memory at most: measured when the server started.",
        |m| m.limit.map_or(f64::NAN, |limit| limit.read_rate),
    ),
    (
        "ingle_memory_bandwidth_share",
        "gauge",
        "Weights read for batches, against what this machine could read in the same time: near 1 where text is generated as fast as memory allows; prompts, which computing bounds, make it smaller.",
        bandwidth_share,
    ),
    (
        "ingle_guessed_tokens_total",
        "counter",
        "Guessed tokens that were computed.",
        |m| m.engine.stats().proposed as f64,
    ),
    (
        "ingle_guessed_right_total",
        "counter",
        "Guessed tokens that were right.",
        |m| m.engine.stats().accepted as f64,
    ),
    (
        "ingle_engine_taken_total",
        "counter",
        "Requests that the engine took.",
        |m| m.engine.stats().taken as f64,
    ),
    (
        "ingle_engine_refused_total",
        "counter",
        "Requests that the engine refused.",
        |m| m.engine.stats().refused as f64,
    ),
    (
        "ingle_engine_completed_total",
        "counter",
        "Requests that ended by themselves.",
        |m| m.engine.stats().completed as f64,
    ),
    (
        "ingle_engine_cancelled_total",
        "counter",
        "Requests that somebody ended.",
        |m| m.engine.stats().cancelled as f64,
    ),
    (
        "ingle_engine_failed_total",
        "counter",
        "Requests that could not go on.",
        |m| m.engine.stats().failed as f64,
    ),
];

/// One token's weights are read for a batch, however many rows it has, and of experts more.
fn bandwidth_share(model: &Served) -> f64 {
    let stats = model.engine.stats();
    let Some(limit) = model.limit else {
        return f64::NAN;
    };
    let read = stats.steps as f64 * limit.token_bytes as f64;
    match stats.busy.as_secs_f64() * limit.read_rate {
        could if could > 0.0 => read / could,
        _ => 0.0,
    }
}

fn engine_lines(text: &mut String, engines: &[Arc<Served>]) {
    for (name, kind, help, value) in FIGURES {
        head(text, name, kind, help);
        for model in engines {
            let _ = writeln!(
                text,
                "{name}{{model=\"{}\"}} {}",
                label(&model.id),
                value(model)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.began();
        metrics.first_token(Duration::from_millis(30));
        metrics.next_token(Duration::from_secs(1000));
        metrics.tokens("a\"b", 10, 4, 3);
        metrics.refused("server_busy");
        metrics.ended("/v1/models", Outcome::Completed, Duration::from_millis(2));
        let text = metrics.text(&[]);
        for line in [
            "ingle_time_to_first_token_seconds_bucket{le=\"0.05\"} 1",
            "ingle_time_to_first_token_seconds_bucket{le=\"0.025\"} 0",
            "ingle_time_between_tokens_seconds_bucket{le=\"300\"} 0",
            "ingle_time_between_tokens_seconds_bucket{le=\"+Inf\"} 1",
            "ingle_time_between_tokens_seconds_sum 1000",
            "ingle_cached_prompt_tokens_total{model=\"a\\\"b\"} 4",
            "ingle_refusals_total{code=\"server_busy\"} 1",
            "ingle_requests_total{route=\"/v1/models\",outcome=\"completed\"} 1",
            "ingle_requests_live 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        // Each name is introduced once, before its lines.
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("# TYPE "))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_worst_of_several_ends_counts() {
        assert!(Outcome::Refused > Outcome::Cancelled && Outcome::Cancelled > Outcome::Completed);
    }
}
