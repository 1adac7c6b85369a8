//! Which experts are worth asking for before a router has chosen them.
//!
//! The router of the next layer is run on the hidden rows at hand. How often the expert that comes
//! first, second, ... of such a guess is needed is counted; ranks that are mostly wrong are not asked
//! for, so that guessing turns itself down where it does not pay.

/// A guess is asked for if so many of its rank were right lately.
const PAYS: f32 = 0.35;
/// Assumed before anything is known.
const ASSUMED: f32 = 0.7;
/// Share of the newest observation.
const NEWEST: f32 = 1.0 / 32.0;
/// Ranks that are told apart for one row, and for several, whose guesses are longer.
const RANKS: usize = 16;
/// Where nothing pays, every so many layers it is tried again.
const TRY_AGAIN: u32 = 64;

/// The record of guesses.
#[derive(Debug)]
pub(super) struct Foresight {
    /// How often guesses were right lately, by rank: for one row, and for several.
    right: [[f32; RANKS]; 2],
    /// Which of these anything is known of.
    known: [[bool; RANKS]; 2],
    /// The first unit of the layer that was guessed for, and the experts, likeliest first.
    layer: u32,
    experts: Vec<u32>,
    /// Layers since a guess was made.
    silent: u32,
}

impl Default for Foresight {
    fn default() -> Self {
        Self {
            right: [[ASSUMED; RANKS]; 2],
            known: [[false; RANKS]; 2],
            layer: u32::MAX,
            experts: Vec::new(),
            silent: 0,
        }
    }
}

/// The rank's place in the record.
fn place(rank: usize, len: usize, rows: usize) -> (usize, usize) {
    match rows {
        0 | 1 => (0, rank.min(RANKS - 1)),
        _ => (1, rank * RANKS / len.max(1)),
    }
}

impl Foresight {
    /// Whether a guess should be made now.
    pub fn may_pay(&mut self) -> bool {
        self.silent += 1;
        let known = || self.known.iter().flatten();
        let all = self.right.iter().flatten().zip(known());
        let pays = all
            .filter(|(_, known)| **known)
            .any(|(right, _)| *right >= PAYS);
        let now = pays || !known().any(|known| *known) || self.silent >= TRY_AGAIN;
        if now {
            self.silent = 0;
        }
        now
    }

    /// Remembers a guess; answers how many of its first are worth asking for.
    pub fn foretell(&mut self, layer: u32, experts: &[u32], rows: usize) -> usize {
        self.layer = layer;
        self.experts.clear();
        self.experts.extend_from_slice(experts);
        let pays = |rank: &usize| {
            let (row, rank) = place(*rank, experts.len(), rows);
            self.right[row][rank] >= PAYS
        };
        (0..experts.len()).take_while(pays).count()
    }

    /// Compares the guess with what is needed: experts in ascending order.
    pub fn judge(&mut self, layer: u32, active: &[(u32, u32)], rows: usize) {
        if self.layer != layer {
            return;
        }
        self.layer = u32::MAX;
        for (rank, expert) in self.experts.iter().enumerate() {
            let needed = active.binary_search_by_key(expert, |a| a.0).is_ok();
            let (row, rank) = place(rank, self.experts.len(), rows);
            self.known[row][rank] = true;
            let right = &mut self.right[row][rank];
            *right += (f32::from(u8::from(needed)) - *right) * NEWEST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_that_are_wrong_are_given_up_and_tried_again() {
        let mut foresight = Foresight::default();
        let active: Vec<(u32, u32)> = (0..8).map(|e| (e, e + 1)).collect();
        // The first four are always right, the others never.
        let guess = [7, 0, 3, 5, 20, 21, 22, 23];
        assert_eq!(foresight.foretell(128, &guess, 1), 8);
        for _ in 0..200 {
            foresight.foretell(128, &guess, 1);
            foresight.judge(128, &active, 1);
        }
        assert_eq!(foresight.foretell(128, &guess, 1), 4);
        assert!(foresight.may_pay());
        let wrong: Vec<u32> = (30..38).collect();
        for _ in 0..400 {
            foresight.foretell(0, &wrong, 1);
            foresight.judge(0, &active, 1);
            foresight.foretell(0, &wrong, 9);
            foresight.judge(0, &active, 9);
        }
        assert_eq!(foresight.foretell(128, &guess, 1), 0);
        let turns = (0..2 * TRY_AGAIN).filter(|_| foresight.may_pay()).count();
        assert_eq!(turns, 2);
        for _ in 0..200 {
            foresight.foretell(128, &guess, 1);
            foresight.judge(128, &active, 1);
        }
        assert_eq!(foresight.foretell(128, &guess, 1), 4);
    }

    #[test]
    fn a_guess_for_another_layer_is_not_judged() {
        let mut foresight = Foresight::default();
        for _ in 0..200 {
            foresight.foretell(0, &[1], 1);
            foresight.judge(64, &[(2, 1)], 1);
        }
        assert_eq!(foresight.foretell(0, &[1], 1), 1);
    }
}
