//! The one law: computed tokens catch up with known tokens.

/// How many rows each sequence computes in one step, into `rows`.
///
/// `behind` is how many known tokens of each sequence are not computed, oldest sequence first.
/// Sequences that are one behind come first, because a person is reading their text; what is left
/// of `max_rows` goes to the others, oldest first, as much as they need. Where sequences must stay
/// `whole`, one that does not fit gets nothing.
pub(crate) fn share(max_rows: usize, whole: bool, behind: &[usize], rows: &mut Vec<usize>) {
    rows.clear();
    rows.resize(behind.len(), 0);
    let mut left = max_rows;
    for (rows, _) in rows.iter_mut().zip(behind).filter(|(_, b)| **b == 1) {
        *rows = left.min(1);
        left -= *rows;
    }
    for (rows, &behind) in rows.iter_mut().zip(behind).filter(|(_, b)| **b > 1) {
        *rows = match behind > left && whole {
            true => 0,
            false => left.min(behind),
        };
        left -= *rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn readers_first_then_prompts_in_order() {
        let mut rows = Vec::new();
        share(10, false, &[7, 1, 6, 1, 3], &mut rows);
        assert_eq!(rows, [7, 1, 1, 1, 0]);
        share(4, false, &[0, 9], &mut rows);
        assert_eq!(rows, [0, 4]);
        share(10, true, &[7, 1, 6, 2], &mut rows);
        assert_eq!(rows, [7, 1, 0, 2]);
    }

    proptest! {
        #[test]
        fn rows_are_bounded_and_none_is_wasted(
            max_rows in 0..40_usize,
            behind in prop::collection::vec(0..30_usize, 0..12),
        ) {
            let mut rows = Vec::new();
            share(max_rows, false, &behind, &mut rows);
            prop_assert_eq!(rows.len(), behind.len());
            prop_assert!(rows.iter().zip(&behind).all(|(r, b)| r <= b));
            let (given, wanted): (usize, usize) = (rows.iter().sum(), behind.iter().sum());
            prop_assert_eq!(given, wanted.min(max_rows));
        }
    }
}
