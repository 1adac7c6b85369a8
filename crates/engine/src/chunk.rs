//! How many rows of prompts a step takes, so that running answers go on in time.
//!
//! Time is that between the beginnings of steps, as the caller says it. What a row of a prompt adds to
//! a step is measured by the number of positions before it: attention reads them all. Which bits come
//! does not depend on any of this.

use std::time::Duration;

/// Fewer rows than this make a step little shorter: weights are read for it either way.
pub(crate) const USEFUL: usize = 16;
/// Rows of a step where nothing has been measured and somebody reads an answer.
const UNMEASURED: usize = 64;
/// Where only one request is there, a step is so many times longer: fewer, larger steps take less time
/// together, and nobody waits but who comes meanwhile.
const ALONE: f64 = 4.0;
/// A time so many times longer than expected was not the engine's alone.
const STRANGE: f64 = 4.0;
/// The first depth has fewer positions than this, every further one twice as many.
const DEPTH: usize = 512;
const DEPTHS: usize = 20;
const BATCHES: usize = 16;

/// What a step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    /// Rows of running answers, guesses among them.
    pub next: usize,
    /// Rows of prompts.
    pub prompt: usize,
    /// Positions before the rows of prompts, in the middle.
    pub depth: usize,
}

/// Who waits for the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Nobody: there is only one request.
    None,
    /// Other prompts.
    Prompts,
    /// Those who read an answer.
    Answers,
}

/// Measures steps.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// How long rows of prompts may make a step; `None`: as long as they do.
    limit: Option<f64>,
    /// What the latest step computes, and when it began.
    latest: Option<(Load, Duration)>,
    /// Seconds of a step without prompts, by the logarithm of its rows.
    answers: [Option<f64>; BATCHES],
    /// Seconds that a row of a prompt adds, by the logarithm of its depth.
    rows: [Option<f64>; DEPTHS],
}

fn learn(known: &mut Option<f64>, seconds: f64) {
    *known = Some(match *known {
        None => seconds,
        Some(before) if seconds > before => before.midpoint(seconds.min(before * STRANGE)),
        Some(before) => (3.0 * before + seconds) / 4.0,
    });
}

fn depth_class(depth: usize) -> usize {
    let class = (depth / DEPTH)
        .checked_ilog2()
        .map_or(0, |n| n as usize + 1);
    class.min(DEPTHS - 1)
}

fn batch_class(rows: usize) -> usize {
    (rows.max(1).ilog2() as usize).min(BATCHES - 1)
}

impl Chunk {
    pub fn new(limit: Option<Duration>) -> Self {
        Self {
            limit: limit.map(|limit| limit.as_secs_f64()),
            latest: None,
            answers: [None; BATCHES],
            rows: [None; DEPTHS],
        }
    }

    /// A step begins: the latest one took until now.
    pub fn note(&mut self, now: Duration) {
        let Some((load, began)) = self.latest.take() else {
            return;
        };
        let took = now.saturating_sub(began).as_secs_f64();
        if load.prompt == 0 {
            learn(&mut self.answers[batch_class(load.next)], took);
        } else if load.prompt >= USEFUL {
            let added = (took - self.answers_take(load.next)).max(0.0);
            let known = &mut self.rows[depth_class(load.depth)];
            learn(known, added / load.prompt as f64);
        }
    }

    /// What the step that began at `now` computes.
    pub fn does(&mut self, load: Load, now: Duration) {
        self.latest = Some((load, now));
    }

    /// The next step may begin any time after this one: what it takes is not known.
    pub fn forget(&mut self) {
        self.latest = None;
    }

    /// Seconds of a step with so many rows of running answers alone, as far as that was measured.
    fn answers_take(&self, rows: usize) -> f64 {
        if rows == 0 {
            return 0.0;
        }
        let class = batch_class(rows);
        let fewer = self.answers[..=class].iter().rev().find_map(|t| *t);
        fewer.unwrap_or(0.0)
    }

    /// Seconds that a row of a prompt adds behind `depth` positions. What was not measured there is
    /// taken from the nearest depth that was; a row behind twice as many positions takes at most twice
    /// as long.
    pub fn row(&self, depth: usize) -> Option<f64> {
        let class = depth_class(depth);
        let lower = (0..=class)
            .rev()
            .find_map(|i| Some((class - i, self.rows[i]?)));
        let higher = self.rows[class..].iter().find_map(|t| *t);
        match (lower, higher) {
            (Some((steps, seconds)), higher) => {
                let most = seconds * (1_u64 << steps) as f64;
                Some(higher.map_or(most, |higher| most.min(higher.max(seconds))))
            }
            (None, higher) => higher,
        }
    }

    /// What a row of a prompt behind `depth` positions takes of the time that a step has for prompts,
    /// which is 1.
    pub fn cost(&self, depth: usize, company: Company) -> f64 {
        let Some(limit) = self.limit else {
            return 0.0;
        };
        match (self.row(depth), company) {
            (None, Company::Answers) => 1.0 / UNMEASURED as f64,
            (None, _) => 0.0,
            (Some(row), Company::None) => row / (limit * ALONE),
            (Some(row), _) => row / limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    /// Rows that a step takes of a prompt behind `depth` positions.
    fn rows(chunk: &Chunk, depth: usize) -> usize {
        let mut rows = Vec::new();
        let cost = chunk.cost(depth, Company::Answers);
        crate::schedule::share(512, false, &[1, 8000], &[0, 1], |_| cost, &mut rows);
        rows[1]
    }

    /// A machine that needs 20 ms for a batch, and for a row 200 us and 1 us for each 20 positions.
    fn took(load: Load) -> Duration {
        let row = 200 + load.depth as u64 / 20;
        Duration::from_micros(20_000 + row * load.prompt as u64)
    }

    #[test]
    fn a_step_comes_to_what_it_may_take_at_every_depth() {
        let mut chunk = Chunk::new(Some(LIMIT));
        let (mut now, mut depth, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
        for next in [0, 1, 1] {
            // Somebody answers, and then a prompt of 32,000 tokens comes.
            let load = Load {
                next: 1,
                prompt: next * 32,
                depth: 0,
            };
            chunk.note(now);
            chunk.does(load, now);
            now += took(load);
        }
        let mut steps = 0;
        while depth < 32_000 {
            chunk.note(now);
            let prompt = rows(&chunk, depth);
            assert!(prompt >= USEFUL);
            let load = Load {
                next: 1,
                prompt,
                depth: depth + prompt / 2,
            };
            chunk.does(load, now);
            let took = took(load);
            if prompt > USEFUL {
                longest = longest.max(took);
            }
            now += took;
            depth += prompt;
            steps += 1;
        }
        assert!(longest <= Duration::from_millis(150), "{longest:?}");
        // Rows take a millisecond on average: 320 steps would be perfect.
        assert!(steps < 450, "{steps}");
        // A prompt that begins again is not held to what the end of the other took.
        chunk.note(now);
        assert!(rows(&chunk, 0) > 300, "{}", rows(&chunk, 0));
    }

    #[test]
    fn what_is_not_known_is_careful_and_what_has_no_limit_is_not() {
        let chunk = Chunk::new(Some(LIMIT));
        assert_eq!(rows(&chunk, 0), UNMEASURED);
        assert_eq!(chunk.cost(0, Company::Prompts), 0.0);
        assert_eq!(rows(&Chunk::new(None), 9000), 511);
        let mut chunk = Chunk::new(Some(LIMIT));
        chunk.does(
            Load {
                next: 0,
                prompt: 100,
                depth: 0,
            },
            Duration::ZERO,
        );
        chunk.note(Duration::from_millis(200)); // 2 ms a row
        assert_eq!(rows(&chunk, 0), 50);
        // Eight times as deep it may take eight times as long.
        assert_eq!(chunk.row(3000), Some(0.016));
        assert_eq!(rows(&chunk, 3000), USEFUL);
        chunk.does(
            Load {
                next: 0,
                prompt: 100,
                depth: 9000,
            },
            Duration::ZERO,
        );
        chunk.note(Duration::from_millis(300));
        assert_eq!(chunk.row(3000), Some(0.003));
    }

    #[test]
    fn one_strange_step_does_not_count_for_long() {
        let mut chunk = Chunk::new(Some(LIMIT));
        let load = Load {
            next: 0,
            prompt: 50,
            depth: 0,
        };
        let mut now = Duration::ZERO;
        for took in [50, 50, 9000, 50, 50, 50, 50] {
            chunk.does(load, now);
            now += Duration::from_millis(took);
            chunk.note(now);
        }
        assert!(rows(&chunk, 0) > 60, "{}", rows(&chunk, 0));
    }
}
