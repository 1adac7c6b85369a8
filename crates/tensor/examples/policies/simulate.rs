//! A cache of experts, and a trace that runs through it.

use crate::policies::Policy;
use crate::trace::Trace;

/// The share of the passes that fill a cache and are not counted.
pub const WARM_UP: usize = 4;

/// One cache of all experts, or one a layer.
pub struct Cache {
    present: Vec<bool>,
    pinned: Vec<bool>,
    parts: Vec<Part>,
    units_per_part: usize,
}

struct Part {
    policy: Box<dyn Policy>,
    free: usize,
}

impl Cache {
    /// With so many slots, and a policy that is made for so many units and slots.
    pub fn new(
        trace: &Trace,
        n_slots: usize,
        per_layer: bool,
        pin: bool,
        make: &dyn Fn(usize, usize) -> Box<dyn Policy>,
    ) -> Self {
        let n_parts = if per_layer { trace.n_layers } else { 1 };
        let mut cache = Self {
            present: vec![false; trace.n_units()],
            pinned: vec![false; trace.n_units()],
            parts: Vec::new(),
            units_per_part: trace.n_units() / n_parts,
        };
        let mut left = n_slots;
        if pin {
            for unit in hottest(trace, n_slots / 2) {
                cache.pinned[unit as usize] = true;
                cache.present[unit as usize] = true;
                left -= 1;
            }
        }
        cache.parts = (0..n_parts)
            .map(|i| {
                let free = (left * (i + 1) / n_parts - left * i / n_parts).max(1);
                // Policies know units by their numbers among all.
                Part {
                    policy: make(trace.n_units(), free),
                    free,
                }
            })
            .collect();
        cache
    }

    fn use_present(&mut self, unit: u32) {
        if !self.pinned[unit as usize] {
            let part = unit as usize / self.units_per_part;
            self.parts[part].policy.used(unit);
        }
    }

    fn bring(&mut self, unit: u32) {
        let part = &mut self.parts[unit as usize / self.units_per_part];
        if part.free > 0 {
            part.free -= 1;
        } else if let Some(gone) = part.policy.victim(&|_| true) {
            part.policy.remove(gone);
            self.present[gone as usize] = false;
        }
        part.policy.insert(unit);
        self.present[unit as usize] = true;
    }
}

/// The `n` units that the first passes used most.
fn hottest(trace: &Trace, n: usize) -> Vec<u32> {
    let mut counts = vec![0_u32; trace.n_units()];
    let warm = trace.groups.len() / trace.n_layers / WARM_UP * trace.n_layers;
    for unit in trace.groups[..warm]
        .iter()
        .flat_map(|group| &trace.uses[group.clone()])
    {
        counts[*unit as usize] += 1;
    }
    let mut units: Vec<u32> = (0..trace.n_units() as u32).collect();
    units.sort_by_key(|unit| std::cmp::Reverse(counts[*unit as usize]));
    units.truncate(n);
    units
}

/// The share of uses, after the first passes, whose expert was there when its layer began. Those that are there
/// are used first, then the others as they come, as a cache does that reads while it computes.
pub fn hit_rate(trace: &Trace, cache: &mut Cache) -> f64 {
    let warm = trace.groups.len() / trace.n_layers / WARM_UP * trace.n_layers;
    let (mut hits, mut uses) = (0_u64, 0_u64);
    let mut late = Vec::new();
    for (i, group) in trace.groups.iter().enumerate() {
        let units = &trace.uses[group.clone()];
        late.clear();
        for unit in units {
            if cache.present[*unit as usize] {
                cache.use_present(*unit);
            } else {
                late.push(*unit);
            }
        }
        for unit in &late {
            cache.bring(*unit);
        }
        if i >= warm {
            uses += units.len() as u64;
            hits += (units.len() - late.len()) as u64;
        }
    }
    hits as f64 / uses.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belady;
    use crate::policies::{Lfu, Lru, S3Fifo};
    use ingle_tensor::policy::NextUse;

    /// `passes` over all of 4 layers of 4 experts.
    fn sweeps(passes: usize) -> Trace {
        let line = "4 0,1,2,3 0,1,2,3 0,1,2,3 0,1,2,3\n";
        Trace::parse(&format!("4 4 2\n{}", line.repeat(passes))).unwrap()
    }

    fn rate(trace: &Trace, slots: usize, policy: fn(usize, usize) -> Box<dyn Policy>) -> f64 {
        hit_rate(trace, &mut Cache::new(trace, slots, false, false, &policy))
    }

    fn next_use(n_units: usize, per_layer: usize, n_slots: usize) -> Box<dyn Policy> {
        let layers: Vec<u32> = (0..n_units).map(|unit| (unit / per_layer) as u32).collect();
        Box::new(NextUse::new(&layers, n_slots))
    }

    #[test]
    fn sweeps_over_everything_are_lost_on_recency_alone() {
        let trace = sweeps(40);
        assert_eq!(rate(&trace, 8, |n, _| Box::new(Lru::<1>::new(n))), 0.0);
        let next = rate(&trace, 8, |n, slots| next_use(n, 4, slots));
        assert!(next > 0.4, "{next}");
        let bound = belady::hit_rate(&trace, 8);
        assert!((0.4..=0.55).contains(&bound), "{bound}");
    }

    #[test]
    fn nobody_beats_the_future_and_all_find_everything_in_a_large_cache() {
        let mut text = String::from("2 8 2\n");
        for i in 0_u32..200 {
            let pick = |salt: u32| {
                let hash = (i * 2 + salt).wrapping_mul(2_654_435_761) >> 16;
                let a = hash % 8 * (hash / 8 % 8) / 8;
                (a, (a + 1 + hash / 64 % 7) % 8)
            };
            let (a, b) = (pick(0), pick(1));
            text += &format!("1 {},{} {},{}\n", a.0, a.1, b.0, b.1);
        }
        let trace = Trace::parse(&text).unwrap();
        type Make = fn(usize, usize) -> Box<dyn Policy>;
        let all: [Make; 5] = [
            |n, _| Box::new(Lru::<1>::new(n)),
            |n, _| Box::new(Lru::<2>::new(n)),
            |n, _| Box::new(Lfu::new(n, 8, 64.0)),
            |n, slots| Box::new(S3Fifo::new(n, slots)),
            |n, slots| next_use(n, 8, slots),
        ];
        for policy in all {
            assert_eq!(rate(&trace, 16, policy), 1.0);
            for slots in [4, 8, 12] {
                let found = rate(&trace, slots, policy);
                assert!(found > 0.1 && found <= belady::hit_rate(&trace, slots) + 0.01);
            }
        }
    }
}
