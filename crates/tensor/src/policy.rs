//! Who leaves a cache of weights: the unit whose next use is expected last.
//!
//! A network visits its layers in a fixed order, over and over. So a unit of weights (an expert, or a part of a
//! layer) cannot be used before its layer comes round, and then is used with some chance, which its past foretells;
//! if it is not, a whole pass goes by. The expected time to its next use, in passes, is
//!
//! ```text
//! (layers until its own comes round) / n_layers + 1 / chance - 1
//! ```
//!
//! The chance is the mean of two shares of the visits of its layer: one in which a visit counts half after 8 others,
//! and one in which it does so after 64, since texts keep to some experts for a while and to others for longer.
//!
//! Where every pass uses everything (long prompts, dense models), this keeps what the pass has yet to come to, and
//! finds as much as fits; a cache that goes by recency alone finds nothing there. `docs/performance.md` has what it
//! was measured against.

/// After so many visits a visit counts half: in the short run, and in the long run.
const HALF_LIVES: [f32; 2] = [8.0, 64.0];

/// What every unit is taken to have been used, of twice as many visits more than there were: so that nothing is
/// impossible.
const PRIOR: f32 = 0.02;

/// Chooses who leaves. The caller holds the units, and says everything that happens to them.
#[derive(Debug)]
pub struct NextUse {
    /// The layer of each unit, ascending.
    layers: Vec<u32>,
    /// For each layer its units, and how often it was visited, old visits counting less.
    visits: Vec<Visits>,
    units: Vec<Unit>,
    /// The units that are in the cache, in no order.
    present: Vec<u32>,
    /// The layer that is being visited.
    here: u32,
    /// How many visits there were, of all layers.
    n_visits: u64,
}

#[derive(Debug)]
struct Visits {
    units: std::ops::Range<usize>,
    counts: [f32; 2],
}

#[derive(Debug, Clone)]
struct Unit {
    /// Uses, old ones counting less.
    uses: [f32; 2],
    /// Passes that go by unused, expected.
    idle: f32,
    /// Its place in `present`, if it is there.
    place: Option<u32>,
    /// The visit in which it was used last.
    used: u64,
}

impl NextUse {
    /// For units whose layers are given, ascending, in a cache that will hold at most `n_slots` of them.
    pub fn new(layers: &[u32], n_slots: usize) -> Self {
        let n_layers = layers.last().map_or(0, |layer| *layer as usize + 1);
        let place = |layer: usize| layers.partition_point(|other| (*other as usize) < layer);
        let visits = (0..n_layers).map(|layer| Visits {
            units: place(layer)..place(layer + 1),
            counts: [0.0; 2],
        });
        let unit = Unit {
            uses: [0.0; 2],
            idle: idle([0.0; 2], [0.0; 2]),
            place: None,
            used: 0,
        };
        Self {
            layers: layers.to_vec(),
            visits: visits.collect(),
            units: vec![unit; layers.len()],
            present: Vec::with_capacity(n_slots),
            here: u32::MAX,
            n_visits: 0,
        }
    }

    /// A unit was used, whether it had been in the cache before or not.
    pub fn used(&mut self, unit: u32) {
        let layer = self.layers[unit as usize];
        // One use a visit: a second one is another visit of the same layer.
        if layer != self.here || self.units[unit as usize].used == self.n_visits {
            self.visit(layer);
        }
        let unit = &mut self.units[unit as usize];
        unit.used = self.n_visits;
        unit.uses = unit.uses.map(|uses| uses + 1.0);
        unit.idle = idle(unit.uses, self.visits[layer as usize].counts);
    }

    fn visit(&mut self, layer: u32) {
        self.here = layer;
        self.n_visits += 1;
        let keep = HALF_LIVES.map(|visits| (-1.0 / visits).exp2());
        let visits = &mut self.visits[layer as usize];
        for (count, keep) in visits.counts.iter_mut().zip(keep) {
            *count = *count * keep + 1.0;
        }
        for unit in &mut self.units[visits.units.clone()] {
            for (uses, keep) in unit.uses.iter_mut().zip(keep) {
                *uses *= keep;
            }
            unit.idle = idle(unit.uses, visits.counts);
        }
    }

    /// A unit came in.
    pub fn insert(&mut self, unit: u32) {
        let place = &mut self.units[unit as usize].place;
        if place.is_none() {
            *place = Some(self.present.len() as u32);
            self.present.push(unit);
        }
    }

    /// A unit left.
    pub fn remove(&mut self, unit: u32) {
        let Some(place) = self.units[unit as usize].place.take() else {
            return;
        };
        self.present.swap_remove(place as usize);
        if let Some(moved) = self.present.get(place as usize) {
            self.units[*moved as usize].place = Some(place);
        }
    }

    /// Who is to go, of those that are there and may; `None` where nobody may. The caller removes it.
    ///
    /// Looks at all that are there: 2,000 in about two microseconds.
    pub fn victim(&self, may_go: &dyn Fn(u32) -> bool) -> Option<u32> {
        let n_layers = self.visits.len() as u32;
        let (mut last, mut latest) = (None, f32::NEG_INFINITY);
        for unit in &self.present {
            let layer = self.layers[*unit as usize];
            let ahead = match self.here {
                u32::MAX => layer + 1, // no pass has begun
                here if layer > here => layer - here,
                here => layer + n_layers - here,
            };
            let time = ahead as f32 / n_layers as f32 + self.units[*unit as usize].idle;
            if time > latest && may_go(*unit) {
                (last, latest) = (Some(*unit), time);
            }
        }
        last
    }

    /// How likely the next visit of its layer uses a unit, as far as its past tells.
    pub fn chance(&self, unit: u32) -> f32 {
        1.0 / (1.0 + self.units[unit as usize].idle)
    }
}

/// Passes that go by without a use: `1 / chance - 1`.
fn idle(uses: [f32; 2], visits: [f32; 2]) -> f32 {
    let share = |i: usize| (uses[i] + PRIOR) / (visits[i] + 2.0 * PRIOR);
    let chance = (share(0) + share(1)) / 2.0;
    (1.0 / chance - 1.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n_layers` of `n` units each.
    fn policy(n_layers: u32, n: usize, n_slots: usize) -> NextUse {
        let layers: Vec<u32> = (0..n_layers).flat_map(|l| vec![l; n]).collect();
        NextUse::new(&layers, n_slots)
    }

    /// A cache that uses `units` one after the other; how many were there.
    fn run(policy: &mut NextUse, n_slots: usize, units: impl IntoIterator<Item = u32>) -> usize {
        let mut hits = 0;
        for unit in units {
            let there = policy.units[unit as usize].place.is_some();
            hits += usize::from(there);
            if !there {
                if policy.present.len() == n_slots {
                    let gone = policy.victim(&|_| true).unwrap();
                    policy.remove(gone);
                }
                policy.insert(unit);
            }
            policy.used(unit);
        }
        hits
    }

    #[test]
    fn sweeps_over_everything_find_what_fits() {
        let mut policy = policy(10, 4, 20);
        run(&mut policy, 20, 0..40);
        let hits = run(&mut policy, 20, (0..10).flat_map(|_| 0..40));
        assert!(hits >= 10 * 16, "{hits}, and recency would find none");
    }

    #[test]
    fn what_is_used_often_stays() {
        let mut policy = policy(2, 8, 6);
        // Units 0 and 8 in every pass, the others in turn.
        let pass = |i: u32| [0, 1 + i % 7, 8, 9 + (i * 3) % 7];
        let hits = run(&mut policy, 6, (0..100).flat_map(pass));
        assert!(hits >= 198, "{hits}");
        assert!(policy.chance(0) > 0.9 && policy.chance(1) < 0.3);
    }

    #[test]
    fn what_has_become_useless_goes() {
        let mut policy = policy(1, 8, 4);
        run(&mut policy, 4, [0, 1, 2, 3].repeat(50));
        let hits = run(&mut policy, 4, [4, 5, 6, 7].repeat(50));
        assert!(hits > 4 * 32, "{hits} of {}", 4 * 50);
    }

    #[test]
    fn only_those_that_may_go() {
        let mut policy = policy(2, 2, 4);
        assert_eq!(policy.victim(&|_| true), None);
        run(&mut policy, 4, [0, 2, 1, 3]);
        assert_eq!(policy.victim(&|_| false), None);
        for unit in 0..4 {
            assert_eq!(policy.victim(&|other| other == unit), Some(unit));
        }
        for unit in [2, 0, 3, 1] {
            policy.remove(unit);
            policy.remove(unit);
            assert_ne!(policy.victim(&|_| true), Some(unit));
        }
        assert_eq!(policy.victim(&|_| true), None);
    }

    #[test]
    fn layers_may_have_no_units_and_units_may_come_unused() {
        let mut policy = NextUse::new(&[1, 1, 3], 3);
        policy.insert(2);
        policy.insert(0);
        policy.insert(0);
        // Layer 1 comes before layer 3.
        assert_eq!(policy.victim(&|_| true), Some(2));
        policy.used(0);
        assert_eq!(policy.victim(&|_| true), Some(2));
        policy.used(2);
        policy.remove(0);
        policy.insert(1);
        assert_eq!(policy.victim(&|_| true), Some(1));
        assert!(NextUse::new(&[], 0).victim(&|_| true).is_none());
    }
}
