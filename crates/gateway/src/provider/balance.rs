//! Which upstream of a pool is asked, and which ones next if that fails.
//!
//! A conversation goes where its beginning was before, because the prefix lies in that upstream's cache:
//! rendezvous hashing (D. Thaler, C. Ravishankar, 1998), by which only the conversations of an upstream
//! that leaves move, and those evenly. No upstream gets more than its share of the load and a bit
//! (consistent hashing with bounded loads: V. Mirrokni, M. Thorup, M. Zadimoghaddam, 2018); what is beyond
//! goes to the next in that conversation's own order.

use sha2::{Digest as _, Sha256};

use crate::chat::Digest;

/// An upstream, as it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    /// Its name, which stays the same.
    pub(super) name: &'a str,
    /// Requests it answers just now.
    pub(super) load: u32,
    /// Whether it can be asked.
    pub(super) ready: bool,
}

/// All candidates in the order in which they are to be asked, by index: those that are ready first.
///
/// `most_load` is in percent of an even share: 125 lets one have a quarter more than that.
pub(super) fn order(
    candidates: &[Candidate<'_>],
    beginning: Option<Digest>,
    most_load: u32,
) -> Vec<usize> {
    let ready = || candidates.iter().filter(|one| one.ready);
    let share = bound(ready().map(|one| one.load), ready().count(), most_load);
    let mut ranked: Vec<_> = candidates
        .iter()
        .enumerate()
        .map(|(i, one)| {
            let score = beginning.map_or(0, |digest| score(one.name, digest));
            let crowded = beginning.is_none() || u64::from(one.load) >= share;
            // Within its share the order is the conversation's own; beyond it the least load counts.
            let load = if crowded { one.load } else { 0 };
            (
                !one.ready,
                crowded,
                load,
                std::cmp::Reverse(score),
                one.name,
                i,
            )
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., i)| i).collect()
}

/// The load at which an upstream gets no more for the sake of a prefix.
fn bound(loads: impl Iterator<Item = u32>, n: usize, most_load: u32) -> u64 {
    let total: u64 = loads.map(u64::from).sum::<u64>().saturating_add(1);
    let share = total.saturating_mul(u64::from(most_load.max(100)));
    share.div_ceil((n as u64).max(1).saturating_mul(100))
}

/// The weight of an upstream for a conversation.
fn score(name: &str, beginning: Digest) -> u64 {
    let mut hash = Sha256::new();
    hash.update(beginning.0);
    hash.update(name.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(i: u32) -> Digest {
        Digest(Sha256::digest(i.to_le_bytes()).into())
    }

    fn all(names: &[&'static str]) -> Vec<Candidate<'static>> {
        let idle = |name: &&'static str| Candidate {
            name,
            load: 0,
            ready: true,
        };
        names.iter().map(idle).collect()
    }

    #[test]
    fn conversations_stay_and_are_spread() {
        let four = all(&["a", "b", "c", "d"]);
        let mut counts = [0; 4];
        for i in 0..4000 {
            let first = order(&four, Some(digest(i)), 125)[0];
            assert_eq!(order(&four, Some(digest(i)), 125)[0], first);
            counts[first] += 1;
        }
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn when_one_leaves_only_its_own_move() {
        let (four, mut three) = (all(&["a", "b", "c", "d"]), all(&["a", "b", "c", "d"]));
        three[2].ready = false;
        let mut moved = [0; 4];
        for i in 0..4000 {
            let (before, after) = (
                order(&four, Some(digest(i)), 125),
                order(&three, Some(digest(i)), 125),
            );
            match before[0] {
                // To the one that would have been next, which is any of the others.
                2 => {
                    assert_eq!(after[0], before[1]);
                    moved[after[0]] += 1;
                }
                first => assert_eq!(after[0], first),
            }
            assert_eq!(after[3], 2, "who is not ready comes last");
        }
        assert!([0, 1, 3].iter().all(|i| moved[*i] > 250), "{moved:?}");
    }

    #[test]
    fn without_a_beginning_the_least_load_is_first() {
        let mut three = all(&["a", "b", "c"]);
        (three[0].load, three[1].load, three[2].load) = (3, 1, 2);
        assert_eq!(order(&three, None, 125), [1, 2, 0]);
    }

    #[test]
    fn one_conversation_that_everybody_has_does_not_crowd_one_upstream() {
        let mut four = all(&["a", "b", "c", "d"]);
        for _ in 0..400 {
            let first = order(&four, Some(digest(0)), 125)[0];
            four[first].load += 1;
        }
        let loads: Vec<u32> = four.iter().map(|one| one.load).collect();
        assert!(
            loads.iter().all(|load| (20..=126).contains(load)),
            "{loads:?}"
        );
    }

    proptest! {
        #[test]
        fn everybody_is_in_the_order_once(
            loads in proptest::collection::vec((any::<u32>(), any::<bool>()), 0..20),
            beginning in proptest::option::of(any::<u32>()), most: u32,
        ) {
            let names: Vec<String> = (0..loads.len()).map(|i| i.to_string()).collect();
            let candidates: Vec<_> = loads.iter().zip(&names)
                .map(|((load, ready), name)| Candidate { name, load: *load, ready: *ready }).collect();
            let order = order(&candidates, beginning.map(digest), most);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..loads.len()).collect::<Vec<_>>());
            let unready = order.iter().position(|i| !candidates[*i].ready).unwrap_or(order.len());
            prop_assert!(order[unready..].iter().all(|i| !candidates[*i].ready));
        }
    }
}
