//! Which experts are worth asking for before a router has chosen them.
//!
//! The router of the next layer is run on the hidden rows at hand. Of the experts that it names, only
//! those that are not in memory could be asked for, and they are needed less often than the others: what
//! is used often is here. So only of those is it counted how often the one that comes first, second, ...
//! of a guess is needed. Ranks that are mostly wrong are not asked for, so that guessing turns itself
//! down where it does not pay.

/// A guess is asked for if so many of its rank were right lately. A right one saves a part of the time
/// of a layer; a wrong one costs a read, and a processor the time to pack it.
const PAYS: f32 = 0.5;
/// Assumed before anything is known, as if so many guesses had told.
const ASSUMED: (f32, u16) = (0.7, 4);
/// So many of the newest observations count.
const MEMORY: u16 = 32;
/// Ranks that are told apart for one row, and for several, whose guesses are longer.
const RANKS: usize = 16;
/// Where nothing pays, every so many layers it is tried again.
const TRY_AGAIN: u32 = 64;
/// Layers that guesses are kept for: the one to come, of each batch that may be under way.
const LAYERS: usize = 4;

/// What is known of a rank.
#[derive(Clone, Copy, Debug)]
struct Rank {
    /// How often guesses were right lately.
    right: f32,
    /// Observations, as far as they are counted.
    seen: u16,
}

/// What was guessed for a layer.
#[derive(Debug, Default)]
struct Guess {
    /// Its first unit.
    layer: u32,
    /// The experts that were not in memory, each with its place in the record.
    experts: Vec<((usize, usize), u32)>,
}

/// The record of guesses.
#[derive(Debug)]
pub(super) struct Foresight {
    /// By rank: for one row, and for several.
    ranks: [[Rank; RANKS]; 2],
    /// Guesses whose layers have not come, the newest first.
    guesses: [Guess; LAYERS],
    /// Layers since a guess was made.
    silent: u32,
}

impl Default for Foresight {
    fn default() -> Self {
        let (right, seen) = ASSUMED;
        Self {
            ranks: [[Rank { right, seen }; RANKS]; 2],
            guesses: Default::default(),
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
        // A rank of which nothing was seen yet does not keep the others going.
        let told = self
            .ranks
            .iter()
            .flatten()
            .filter(|rank| rank.seen > ASSUMED.1);
        let (mut any, mut pays) = (false, false);
        for rank in told {
            any = true;
            pays |= rank.right >= PAYS;
        }
        let now = pays || !any || self.silent >= TRY_AGAIN;
        if now {
            self.silent = 0;
        }
        now
    }

    /// Remembers a guess for a layer: the ranks of `absent` are places in a guess of `len` experts, the
    /// likeliest first. Answers how many of the first are worth asking for.
    pub fn foretell(
        &mut self,
        layer: u32,
        absent: impl Iterator<Item = (usize, u32)>,
        len: usize,
        rows: usize,
    ) -> usize {
        let of = |guess: &Guess| guess.layer == layer;
        let at = self.guesses.iter().position(of).unwrap_or(LAYERS - 1);
        self.guesses[..=at].rotate_right(1);
        let guess = &mut self.guesses[0];
        guess.layer = layer;
        guess.experts.clear();
        let placed = absent.map(|(rank, expert)| (place(rank, len, rows), expert));
        guess.experts.extend(placed);
        let pays =
            |((row, rank), _): &&((usize, usize), u32)| self.ranks[*row][*rank].right >= PAYS;
        guess.experts.iter().take_while(pays).count()
    }

    /// Compares the guess with what is needed: experts in ascending order.
    pub fn judge(&mut self, layer: u32, active: &[(u32, u32)]) {
        let of = |guess: &&mut Guess| guess.layer == layer;
        let Some(guess) = self.guesses.iter_mut().find(of) else {
            return;
        };
        for ((row, rank), expert) in guess.experts.drain(..) {
            let needed = active.binary_search_by_key(&expert, |a| a.0).is_ok();
            let rank = &mut self.ranks[row][rank];
            rank.seen = (rank.seen + 1).min(MEMORY);
            rank.right += (f32::from(u8::from(needed)) - rank.right) / f32::from(rank.seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guesses these experts for a layer, none of them in memory.
    fn guess(foresight: &mut Foresight, layer: u32, experts: &[u32], rows: usize) -> usize {
        let absent = experts.iter().copied().enumerate();
        foresight.foretell(layer, absent, experts.len(), rows)
    }

    #[test]
    fn guesses_that_are_wrong_are_given_up_and_tried_again() {
        let mut foresight = Foresight::default();
        let active: Vec<(u32, u32)> = (0..8).map(|e| (e, e + 1)).collect();
        // The first four are always right, the others never.
        let mixed = [7, 0, 3, 5, 20, 21, 22, 23];
        assert_eq!(guess(&mut foresight, 128, &mixed, 1), 8);
        for _ in 0..200 {
            guess(&mut foresight, 128, &mixed, 1);
            foresight.judge(128, &active);
        }
        assert_eq!(guess(&mut foresight, 128, &mixed, 1), 4);
        assert!(foresight.may_pay());
        let wrong: Vec<u32> = (30..38).collect();
        for _ in 0..400 {
            guess(&mut foresight, 0, &wrong, 1);
            foresight.judge(0, &active);
            guess(&mut foresight, 0, &wrong, 9);
            foresight.judge(0, &active);
        }
        assert_eq!(guess(&mut foresight, 128, &mixed, 1), 0);
        let turns = (0..2 * TRY_AGAIN).filter(|_| foresight.may_pay()).count();
        assert_eq!(turns, 2);
        for _ in 0..200 {
            guess(&mut foresight, 128, &mixed, 1);
            foresight.judge(128, &active);
        }
        assert_eq!(guess(&mut foresight, 128, &mixed, 1), 4);
    }

    #[test]
    fn a_few_wrong_guesses_are_enough() {
        let mut foresight = Foresight::default();
        for _ in 0..2 {
            assert_eq!(guess(&mut foresight, 0, &[9], 1), 1);
            foresight.judge(0, &[(2, 1)]);
        }
        assert_eq!(guess(&mut foresight, 0, &[9], 1), 0);
    }

    #[test]
    fn guesses_for_several_layers_are_each_judged_by_theirs() {
        let mut foresight = Foresight::default();
        for _ in 0..50 {
            // The guess for the next layer is made before this layer says what it needs.
            guess(&mut foresight, 0, &[1], 1);
            guess(&mut foresight, 64, &[7, 3], 1);
            foresight.judge(0, &[(2, 1)]);
            foresight.judge(64, &[(3, 1), (7, 2)]);
        }
        let rank = |n: usize| foresight.ranks[0][n].right;
        assert!((0.3..0.7).contains(&rank(0)), "{}", rank(0));
        assert!(rank(1) > 0.95, "{}", rank(1));
    }

    #[test]
    fn a_guess_for_another_layer_is_not_judged() {
        let mut foresight = Foresight::default();
        for _ in 0..200 {
            guess(&mut foresight, 0, &[1], 1);
            foresight.judge(64, &[(2, 1)]);
        }
        assert_eq!(guess(&mut foresight, 0, &[1], 1), 1);
    }
}
