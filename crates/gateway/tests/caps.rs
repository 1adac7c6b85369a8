//! Caps under any sequence of what can happen, held to a model that is easily believed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use ingle_gateway::ledger::{Cap, Caps, Ledger, LedgerError, Reservation};
use proptest::prelude::*;
use support::{DAY, Home, NOON, usd, wanted};

#[derive(Debug, Clone)]
enum Step {
    /// Who, and how many thousandths of a dollar.
    Reserve(usize, i64),
    /// Which of those that are held, and what the provider claims, in thousandths.
    Settle(usize, i64),
    Release(usize),
    Drop(usize),
    /// The process dies with all that it holds, and another one begins.
    Die,
    /// Hours go by.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 0..700_i64).prop_map(|(who, most)| Step::Reserve(who, most)),
        3 => (0..8_usize, 0..900_i64).prop_map(|(which, claim)| Step::Settle(which, claim)),
        1 => (0..8_usize).prop_map(Step::Release),
        1 => (0..8_usize).prop_map(Step::Drop),
        1 => Just(Step::Die),
        1 => (1..40_u64).prop_map(Step::Wait),
    ]
}

const USERS: [Option<&str>; 3] = [None, Some("anna"), Some("rich")];
const MILLI: i64 = 1_000_000;

fn caps() -> Caps {
    let cap = |day: i64, month: i64| Cap {
        day: Some(day * MILLI),
        month: Some(month * MILLI),
    };
    Caps {
        all: cap(1500, 3000),
        each_user: cap(1000, 1800),
        users: [("rich".to_owned(), cap(1200, 2500))].into(),
        ..Caps::default()
    }
}

/// What each user has spent or reserved by day, as simple sums.
#[derive(Default)]
struct Model {
    taken: HashMap<(usize, u64), i64>,
}

impl Model {
    fn room(&self, who: usize, day: u64, more: i64) -> bool {
        let sum = |who: Option<usize>, day: Option<u64>| -> i64 {
            let fits = |key: &(usize, u64)| {
                who.is_none_or(|w| w == key.0) && day.is_none_or(|d| d == key.1)
            };
            self.taken
                .iter()
                .filter(|(key, _)| fits(key))
                .map(|(_, n)| n)
                .sum()
        };
        // All days of the test are of one month.
        let own = if who == 2 { (1200, 2500) } else { (1000, 1800) };
        sum(None, Some(day)) + more <= 1500
            && sum(None, None) + more <= 3000
            && sum(Some(who), Some(day)) + more <= own.0
            && sum(Some(who), None) + more <= own.1
    }

    fn add(&mut self, who: usize, day: u64, n: i64) {
        *self.taken.entry((who, day)).or_default() += n;
    }
}

struct Held {
    who: usize,
    day: u64,
    most: i64,
    reservation: Reservation,
}

fn run(steps: &[Step]) {
    let home = Home::new();
    let mut ledger: Option<Ledger> = Some(home.open_with(caps()));
    let (mut model, mut held): (Model, Vec<Held>) = Default::default();
    let mut hours = 0;
    for step in steps {
        let day = (12 + hours) / 24;
        let open = ledger.as_ref().unwrap();
        match *step {
            Step::Reserve(who, most) => {
                let text = format!("{}.{:03}", most / 1000, most % 1000);
                let got = open.reserve(wanted("r", USERS[who], &text)).wait();
                let room = model.room(who, day, most);
                match got {
                    Ok(reservation) => {
                        assert!(room, "{step:?} of day {day}");
                        model.add(who, day, most);
                        held.push(Held {
                            who,
                            day,
                            most,
                            reservation,
                        });
                    }
                    Err(LedgerError::Cap { .. }) => assert!(!room, "{step:?} of day {day}"),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Settle(which, claim) if which < held.len() => {
                let one = held.swap_remove(which);
                let text = format!("{}.{:03}", claim / 1000, claim % 1000);
                let charged = one.reservation.settle(usd(&text)).wait().unwrap();
                let expected = claim.min(one.most);
                assert_eq!(charged.nanos, expected * MILLI);
                model.add(one.who, one.day, expected - one.most);
            }
            Step::Release(which) if which < held.len() => {
                let one = held.swap_remove(which);
                one.reservation.release().wait().unwrap();
                model.add(one.who, one.day, -one.most);
            }
            Step::Drop(which) if which < held.len() => drop(held.swap_remove(which)),
            Step::Die => {
                // What it holds stays charged; its lock goes with it.
                held.drain(..)
                    .for_each(|one| std::mem::forget(one.reservation));
                drop(ledger.take());
                ledger = Some(home.open_with(caps()));
                let open = home.reader().summary().unwrap().open;
                assert_eq!(open, 0);
            }
            // Days up to the 25th of the month.
            Step::Wait(more) if hours + more < 24 * 24 => {
                hours += more;
                home.clock.store(NOON + hours * DAY / 24, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn caps_hold_and_refuse_nothing_that_has_room(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
