//! What a batch costs by the number of its rows, and how many guesses are worth it.

use ingle_formats::TokenId;
use std::time::Duration;

/// What one more row adds, as a share of a batch of one row, before anything was measured.
const ASSUMED_SLOPE: f64 = 0.15;
/// Weight of that assumption, in rows squared.
const ASSUMED: f64 = 4.0;
/// What a measurement still counts after the next one.
const FADE: f64 = 0.98;
/// A time so many times longer or shorter than expected was not the batch's alone.
const STRANGE: f64 = 3.0;
/// A little must be gained, because what is expected is not certain.
const MARGIN: f64 = 1.02;

/// Time as a straight line over rows, fitted to the latest batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Costs {
    /// Sums over measurements, the older ones faded: 1, rows, time, rows squared, rows by time.
    n: f64,
    rows: f64,
    time: f64,
    rows_rows: f64,
    rows_time: f64,
}

impl Costs {
    /// Notes that a batch of `rows` rows, all of whose logits were wanted, took so long.
    pub fn note(&mut self, rows: usize, took: Duration) {
        let (rows, mut time) = (rows as f64, took.as_secs_f64());
        if rows == 0.0 || time <= 0.0 {
            return;
        }
        if self.n > 4.0 {
            let (level, slope) = self.line();
            let expected = level + slope * rows;
            time = time.clamp(expected / STRANGE, expected * STRANGE);
        }
        let sums = [
            (&mut self.n, 1.0),
            (&mut self.rows, rows),
            (&mut self.time, time),
            (&mut self.rows_rows, rows * rows),
            (&mut self.rows_time, rows * time),
        ];
        for (sum, value) in sums {
            *sum = FADE * *sum + value;
        }
    }

    /// Time of a batch of `rows` rows, in a unit of no meaning; grows with `rows`.
    pub fn of(&self, rows: usize) -> f64 {
        let (level, slope) = self.line();
        level + slope * rows as f64
    }

    /// The line: what a batch costs, and what each of its rows.
    fn line(&self) -> (f64, f64) {
        if self.n == 0.0 {
            return (1.0 - ASSUMED_SLOPE, ASSUMED_SLOPE);
        }
        let (mean_rows, mean_time) = (self.rows / self.n, self.time / self.n);
        let spread = (self.rows_rows / self.n - mean_rows * mean_rows).max(0.0) * self.n;
        let together = self.rows_time - self.rows * mean_time;
        // The assumed line goes through the mean too.
        let assumed = mean_time * ASSUMED_SLOPE / (1.0 + ASSUMED_SLOPE * (mean_rows - 1.0));
        let slope = (together + ASSUMED * assumed) / (spread + ASSUMED);
        // Rows cost something, and a batch does not cost less than its rows.
        let slope = slope.clamp(mean_time * 1e-3 / mean_rows, mean_time / mean_rows);
        (mean_time - slope * mean_rows, slope)
    }
}

/// A batch that is being put together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    /// Rows that it has so far.
    pub rows: usize,
    /// Tokens by which it is expected to bring texts on.
    progress: f64,
}

impl Fill {
    /// A batch of known tokens, each of which is progress.
    pub fn new(rows: usize) -> Self {
        Self {
            rows,
            progress: rows as f64,
        }
    }

    /// How many of `guesses` to compute: as many as give the most tokens in the time that they
    /// take. Beside its row in the batch each takes `extra` for itself, as a share of what a batch
    /// of one row takes. They belong to the batch from now on.
    pub fn take(&mut self, guesses: &[(TokenId, f32)], extra: f64, costs: &Costs) -> usize {
        let extra = extra * costs.of(1);
        let (mut progress, base) = (self.progress, self.rows.max(1));
        let mut best = (MARGIN * progress / costs.of(base), 0, progress);
        for (i, &(_, chance)) in guesses.iter().enumerate() {
            progress += f64::from(chance);
            let rows = i + 1;
            let rate = progress / (costs.of(base + rows) + extra * rows as f64);
            if rate > best.0 {
                best = (rate, rows, progress);
            }
        }
        let (_, taken, progress) = best;
        self.rows += taken;
        self.progress = progress;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guesses(chances: &[f32]) -> Vec<(TokenId, f32)> {
        chances.iter().map(|&chance| (TokenId(0), chance)).collect()
    }

    fn chosen(base: usize, costs: &Costs, chances: &[f32]) -> usize {
        Fill::new(base).take(&guesses(chances), 0.0, costs)
    }

    #[test]
    fn a_line_is_found_and_an_outlier_changes_little() {
        let mut costs = Costs::default();
        for i in 0..200 {
            let rows = 1 + i % 9;
            costs.note(rows, Duration::from_micros(9_000 + 1_000 * rows as u64));
        }
        let ratio = costs.of(9) / costs.of(1);
        assert!((ratio - 1.8).abs() < 0.05, "{ratio}");
        costs.note(1, Duration::from_secs(10));
        let ratio = costs.of(9) / costs.of(1);
        assert!((1.4..2.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn sure_guesses_are_computed_and_doubtful_ones_are_not() {
        let costs = Costs::default();
        assert_eq!(chosen(1, &costs, &[0.99; 40]), 40);
        assert_eq!(chosen(1, &costs, &[0.1; 8]), 0);
        assert_eq!(chosen(1, &costs, &[0.9, 0.8, 0.01]), 2);
        // Beside the rows of a prompt a guess must be as good as a row of it.
        assert_eq!(chosen(500, &costs, &[0.9; 8]), 0);
        // A row that costs as much as a batch of one is never worth a guess.
        let mut dear = Costs::default();
        for i in 0..300 {
            dear.note(1 + i % 5, Duration::from_millis(10 * (1 + i as u64 % 5)));
        }
        assert_eq!(chosen(1, &dear, &[0.9; 8]), 0);
        // Nor is one that takes as long to make.
        let mut fill = Fill::new(1);
        assert_eq!(fill.take(&guesses(&[0.8; 8]), 1.0, &costs), 0);
        assert_eq!(fill.take(&guesses(&[0.8; 8]), 0.1, &costs), 8);
        assert_eq!(fill.rows, 9);
    }

    proptest! {
        #[test]
        fn lengths_are_bounded(
            base in 0..600_usize,
            times in prop::collection::vec((0..600_usize, 0..10_000_000_u64), 0..60),
            chances in prop::collection::vec(0.0..1.0_f32, 0..40),
        ) {
            let mut costs = Costs::default();
            for (rows, nanos) in times {
                costs.note(rows, Duration::from_nanos(nanos));
            }
            prop_assert!(costs.of(base + 1) > 0.0 && costs.of(base + 1) <= costs.of(base + 2));
            let mut fill = Fill::new(base);
            let taken = fill.take(&guesses(&chances), 0.1, &costs);
            prop_assert!(taken <= chances.len());
            prop_assert_eq!(fill.rows, base + taken);
        }
    }
}
