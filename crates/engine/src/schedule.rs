//! The one law: computed tokens catch up with known tokens.

use crate::chunk::USEFUL;

/// How many rows each sequence computes in one step, into `rows`.
///
/// `behind` is how many known tokens of each sequence are not computed. Sequences that are one behind
/// come first, because a person is reading their text; what is left of `max_rows` goes to the others
/// in this `order`, as much as they need and as there is time for: a row of sequence i takes `cost(i)`
/// of the 1 that there is, and [`USEFUL`] rows are always taken. Where sequences must stay `whole`,
/// one that does not fit gets nothing.
pub(crate) fn share(
    max_rows: usize,
    whole: bool,
    behind: &[usize],
    order: &[usize],
    cost: impl Fn(usize) -> f64,
    rows: &mut Vec<usize>,
) {
    rows.clear();
    rows.resize(behind.len(), 0);
    let mut left = max_rows;
    for (rows, _) in rows.iter_mut().zip(behind).filter(|(_, b)| **b == 1) {
        *rows = left.min(1);
        left -= *rows;
    }
    let (mut time, mut given) = (1.0_f64, 0);
    for &i in order.iter().filter(|&&i| behind[i] > 1) {
        let (behind, cost) = (behind[i], cost(i));
        // A conversion of a float saturates: what costs nothing has no limit.
        let in_time = (time / cost.max(f64::MIN_POSITIVE) + 1e-6).floor() as usize;
        let most = in_time.max(USEFUL.saturating_sub(given)).min(left);
        let n = match behind > most && whole {
            true => 0,
            false => most.min(behind),
        };
        rows[i] = n;
        left -= n;
        given += n;
        time = (time - n as f64 * cost).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn readers_first_then_prompts_in_order() {
        let mut rows = Vec::new();
        let free = |_| 0.0;
        share(10, false, &[7, 1, 6, 1, 3], &[0, 2, 4], free, &mut rows);
        assert_eq!(rows, [7, 1, 1, 1, 0]);
        share(10, false, &[7, 1, 6, 1, 3], &[4, 2, 0], free, &mut rows);
        assert_eq!(rows, [0, 1, 5, 1, 3]);
        share(4, false, &[0, 9], &[1], free, &mut rows);
        assert_eq!(rows, [0, 4]);
        share(10, true, &[7, 1, 6, 2], &[0, 1, 2, 3], free, &mut rows);
        assert_eq!(rows, [7, 1, 0, 2]);
    }

    #[test]
    fn time_is_shared_out_too() {
        let mut rows = Vec::new();
        let cost = |i: usize| [0.0, 0.01, 0.1][i];
        share(512, false, &[1, 40, 90], &[1, 2], cost, &mut rows);
        assert_eq!(rows, [1, 40, 6]);
        // A useful number of rows is computed, however long it takes.
        share(512, false, &[1, 40, 90], &[2, 1], cost, &mut rows);
        assert_eq!(rows, [1, 0, USEFUL]);
        share(512, false, &[1, 5, 90], &[1, 2], |_| 9.0, &mut rows);
        assert_eq!(rows, [1, 5, USEFUL - 5]);
    }

    proptest! {
        #[test]
        fn rows_are_bounded_and_none_is_wasted(
            max_rows in 0..40_usize,
            behind in prop::collection::vec(0..30_usize, 0..12),
        ) {
            let mut rows = Vec::new();
            let order: Vec<usize> = (0..behind.len()).rev().collect();
            share(max_rows, false, &behind, &order, |_| 0.0, &mut rows);
            prop_assert_eq!(rows.len(), behind.len());
            prop_assert!(rows.iter().zip(&behind).all(|(r, b)| r <= b));
            let (given, wanted): (usize, usize) = (rows.iter().sum(), behind.iter().sum());
            prop_assert_eq!(given, wanted.min(max_rows));
        }
    }
}
