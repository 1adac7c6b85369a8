//! How long parts of a pass take, and so where it is cut.
//!
//! Time is that between the beginnings of steps, as the caller says it. Nothing is foretold from sizes:
//! the first part of a pass is one layer, and what follows has as many as there is time for.

use std::time::Duration;

/// A time so many times longer than the one before was not the engine's alone.
const STRANGE: u32 = 4;

/// The part of the time that may be waited for in which all is expected to be done: the rest is for what
/// measurements miss.
const KEPT: (u32, u32) = (9, 10);

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Some layers of a batch that may be cut.
    Part { layers: usize },
    /// All layers of a batch of next tokens, perhaps with a few rows of prompts.
    Tokens { prompts: bool },
}

/// Measures steps.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long a next token may be waited for; `None`: passes are not cut.
    stall: Option<Duration>,
    /// What the latest step did, and when it began.
    latest: Option<(Does, Duration)>,
    /// When those who are not in the pass were served last, or when it began.
    served: Duration,
    /// What a layer of the pass takes; `None`: none has been computed.
    layer: Option<Duration>,
    /// Layers of its latest part.
    layers: usize,
    /// What a batch of next tokens takes.
    tokens: Option<Duration>,
    /// Rows of prompts that such a batch may have too.
    prompt_rows: usize,
}

/// What is expected after another measurement: no less than it, and what came before is forgotten slowly.
fn expected(before: Option<Duration>, took: Duration) -> Duration {
    let Some(before) = before else {
        return took;
    };
    let took = took.min(before.saturating_mul(STRANGE));
    took.max((before * 3 + took) / 4)
}

impl Pace {
    pub fn new(stall: Option<Duration>) -> Self {
        Self {
            stall: stall.map(|stall| stall * KEPT.0 / KEPT.1),
            latest: None,
            served: Duration::ZERO,
            layer: None,
            layers: 0,
            tokens: None,
            prompt_rows: 1,
        }
    }

    /// Whether passes are cut.
    pub fn cuts(&self) -> bool {
        self.stall.is_some()
    }

    /// Rows of prompts that a batch of next tokens may have too.
    pub fn prompt_rows(&self) -> usize {
        self.prompt_rows
    }

    /// A step begins: the latest one took until now.
    pub fn note(&mut self, now: Duration) {
        let (Some((did, began)), Some(stall)) = (self.latest.take(), self.stall) else {
            return;
        };
        let took = now.saturating_sub(began);
        match did {
            Does::Part { layers } => {
                let one = took / layers.max(1) as u32;
                self.layer = Some(expected(self.layer, one));
            }
            Does::Tokens { prompts } => {
                self.tokens = Some(expected(self.tokens, took));
                if took > stall / 2 {
                    self.prompt_rows = (self.prompt_rows / 2).max(1);
                } else if prompts && took < stall / 4 {
                    self.prompt_rows = (self.prompt_rows * 2).min(8192);
                }
                self.served = now;
            }
        }
    }

    /// What the step that began at `now` does.
    pub fn does(&mut self, what: Does, now: Duration) {
        self.latest = Some((what, now));
        if let Does::Part { layers } = what {
            self.layers = layers;
        }
    }

    /// The next step may begin any time after this one: what it takes is not known.
    pub fn forget(&mut self) {
        self.latest = None;
    }

    /// A pass begins.
    pub fn begin(&mut self, now: Duration) {
        (self.layer, self.layers, self.served) = (None, 0, now);
    }

    /// Nobody waits but those in the pass.
    pub fn nobody_waits(&mut self, now: Duration) {
        self.served = now;
    }

    /// Whether those who are not in the pass, or could leave it, are to be served before its next part:
    /// they would wait for too long until its end, and it helps them. (It does not where their batch
    /// takes as long as the pass: a dense model that is read from disk layer by layer.)
    pub fn is_others_turn(&self, now: Duration, left: usize) -> bool {
        let (Some(stall), Some(layer)) = (self.stall, self.layer) else {
            return false;
        };
        if self.served == now {
            return false;
        }
        let rest = layer.saturating_mul(left as u32);
        let tokens = self.tokens.unwrap_or_default();
        let waited = now.saturating_sub(self.served);
        let helps = tokens + layer <= stall || tokens * 2 < rest;
        waited + rest + tokens > stall && helps
    }

    /// How many of the `left` layers of a pass the step that begins at `now` computes.
    pub fn layers(&self, now: Duration, left: usize) -> usize {
        let Some(stall) = self.stall else {
            return left;
        };
        let Some(layer) = self.layer else {
            return left.min(1);
        };
        let waited = now.saturating_sub(self.served);
        let time = stall.saturating_sub(waited + self.tokens.unwrap_or_default());
        let most = time.as_nanos() / layer.as_nanos().max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        most.clamp(1, (2 * self.layers).max(1)).min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STALL: Duration = Duration::from_secs(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A pace that has seen a batch of next tokens and the first layer of a pass.
    fn seen(tokens: u64, layer: u64) -> (Pace, Duration) {
        let mut pace = Pace::new(Some(STALL));
        pace.does(Does::Tokens { prompts: false }, ms(0));
        pace.note(ms(tokens));
        pace.begin(ms(tokens));
        assert_eq!(pace.layers(ms(tokens), 48), 1);
        pace.does(Does::Part { layers: 1 }, ms(tokens));
        pace.note(ms(tokens + layer));
        (pace, ms(tokens + layer))
    }

    #[test]
    fn a_short_pass_is_left_alone_and_a_long_one_is_cut() {
        let (pace, now) = seen(100, 10);
        assert!(!pace.is_others_turn(now, 47));
        let (pace, now) = seen(700, 250);
        assert!(pace.is_others_turn(now, 47));
        // Where the tokens would take as long as the rest of the pass, they wait for that.
        let (pace, now) = seen(12_000, 250);
        assert!(!pace.is_others_turn(now, 47));
    }

    #[test]
    fn parts_grow_to_what_there_is_time_for() {
        let (mut pace, mut now) = seen(700, 250);
        let mut layers = Vec::new();
        let mut left = 47;
        while left > 0 {
            if pace.is_others_turn(now, left) {
                pace.does(Does::Tokens { prompts: false }, now);
                now += ms(700);
                pace.note(now);
            }
            let n = pace.layers(now, left);
            pace.does(Does::Part { layers: n }, now);
            now += ms(250 * n as u64);
            pace.note(now);
            (left, layers) = (left - n, [&layers[..], &[n]].concat());
        }
        assert_eq!(layers[..3], [2, 4, 4]);
        assert!(layers.iter().all(|n| *n <= 4), "{layers:?}");
    }

    #[test]
    fn prompts_get_as_many_rows_beside_as_cost_little() {
        let mut pace = Pace::new(Some(STALL));
        let mut now = ms(0);
        let mut rows = Vec::new();
        for _ in 0..12 {
            rows.push(pace.prompt_rows());
            pace.does(Does::Tokens { prompts: true }, now);
            now += ms(100 + 50 * pace.prompt_rows() as u64);
            pace.note(now);
        }
        assert_eq!(rows[..4], [1, 2, 4, 8]);
        assert!(rows[4..].iter().all(|n| *n == 8), "{rows:?}");
    }

    proptest! {
        #[test]
        fn a_part_has_layers_and_no_more_than_are_left(
            steps in prop::collection::vec((0..3_u8, 0..5_000_u64, 1..60_usize), 1..50),
        ) {
            let mut pace = Pace::new(Some(STALL));
            let mut now = ms(1);
            for (kind, took, left) in steps {
                pace.note(now);
                match kind {
                    0 => pace.begin(now),
                    1 => pace.does(Does::Tokens { prompts: took % 2 == 0 }, now),
                    _ => {
                        let n = pace.layers(now, left);
                        prop_assert!((1..=left).contains(&n));
                        prop_assert!(!pace.is_others_turn(now, left) || pace.served < now);
                        pace.does(Does::Part { layers: n }, now);
                    }
                }
                prop_assert!(pace.prompt_rows() >= 1);
                now += ms(took);
            }
        }
    }
}
