//! The cache of somebody who knows the future: whoever is used last from now on goes (Belady, 1966).

use crate::simulate::WARM_UP;
use crate::trace::Trace;

/// As [`crate::simulate::hit_rate`], of all layers together.
pub fn hit_rate(trace: &Trace, n_slots: usize) -> f64 {
    let next = next_uses(trace);
    let warm = trace.groups.len() / trace.n_layers / WARM_UP * trace.n_layers;
    // When each unit that is there is used again.
    let mut present: Vec<Option<usize>> = vec![None; trace.n_units()];
    let (mut n, mut hits, mut uses) = (0, 0_u64, 0_u64);
    for (i, group) in trace.groups.iter().enumerate() {
        let was_there: Vec<bool> = group
            .clone()
            .map(|at| present[trace.uses[at] as usize].is_some())
            .collect();
        for (at, there) in group.clone().zip(&was_there) {
            if *there {
                present[trace.uses[at] as usize] = Some(next[at]);
            }
        }
        for (at, there) in group.clone().zip(&was_there) {
            if *there {
                continue;
            }
            if n == n_slots {
                let there = present
                    .iter()
                    .enumerate()
                    .filter_map(|(u, t)| Some((u, (*t)?)));
                let Some((last, _)) = there.max_by_key(|(_, time)| *time) else {
                    continue;
                };
                present[last] = None;
            } else {
                n += 1;
            }
            present[trace.uses[at] as usize] = Some(next[at]);
        }
        if i >= warm {
            uses += was_there.len() as u64;
            hits += was_there.iter().filter(|there| **there).count() as u64;
        }
    }
    hits as f64 / uses.max(1) as f64
}

/// For each use the group in which its unit is used again.
fn next_uses(trace: &Trace) -> Vec<usize> {
    let mut next = vec![usize::MAX; trace.uses.len()];
    let mut coming = vec![usize::MAX; trace.n_units()];
    for (i, group) in trace.groups.iter().enumerate().rev() {
        for at in group.clone() {
            let unit = trace.uses[at] as usize;
            next[at] = coming[unit];
            coming[unit] = i;
        }
    }
    next
}
