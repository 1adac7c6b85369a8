//! Requests that wait to be read: awaited ones before likely ones, each in the order in which they came.

use std::collections::{BTreeMap, HashMap};

use super::Urgency;

/// Waiting requests by the caller's ticket, each with what is needed to read it.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: BTreeMap<Place, (u64, T)>,
    /// For each ticket, where it stands.
    places: HashMap<u64, Place>,
    /// How many came so far.
    came: u64,
}

/// A place in the order in which requests are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Awaited ones stand before likely ones: `false` is less than `true`.
    likely: bool,
    number: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            came: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Puts a request behind all others that are as urgent.
    pub fn push(&mut self, ticket: u64, urgency: Urgency, request: T) {
        let place = Place {
            likely: urgency == Urgency::Likely,
            number: self.came,
        };
        self.came = self.came.wrapping_add(1);
        self.places.insert(ticket, place);
        self.waiting.insert(place, (ticket, request));
    }

    /// Puts a likely request behind the awaited ones; nothing else changes its place.
    pub fn hasten(&mut self, ticket: u64) {
        if self.places.get(&ticket).is_some_and(|place| place.likely)
            && let Some(request) = self.withdraw(ticket)
        {
            self.push(ticket, Urgency::Awaited, request);
        }
    }

    /// Takes a request out.
    pub fn withdraw(&mut self, ticket: u64) -> Option<T> {
        let place = self.places.remove(&ticket)?;
        Some(self.waiting.remove(&place)?.1)
    }

    /// Takes out the request that is to be begun next.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let (place, (ticket, request)) = self.waiting.pop_first()?;
        if self.places.get(&ticket) == Some(&place) {
            self.places.remove(&ticket);
        }
        Some((ticket, request))
    }

    /// How urgent the request is that [`Queue::pop`] would take.
    pub fn next(&self) -> Option<Urgency> {
        let (place, _) = self.waiting.first_key_value()?;
        Some(match place.likely {
            true => Urgency::Likely,
            false => Urgency::Awaited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Urgency::{Awaited, Likely};
    use super::*;

    fn rest(mut queue: Queue<char>) -> String {
        std::iter::from_fn(|| Some(queue.pop()?.1)).collect()
    }

    #[test]
    fn awaited_first_and_each_in_its_order() {
        let mut queue = Queue::default();
        for (ticket, (urgency, name)) in [
            (Likely, 'p'),
            (Awaited, 'a'),
            (Likely, 'q'),
            (Awaited, 'b'),
            (Likely, 'r'),
        ]
        .into_iter()
        .enumerate()
        {
            queue.push(ticket as u64, urgency, name);
        }
        assert_eq!(queue.next(), Some(Awaited));
        queue.hasten(2);
        queue.hasten(1);
        queue.hasten(77);
        assert_eq!(queue.withdraw(0), Some('p'));
        assert_eq!(queue.withdraw(0), None);
        assert_eq!(rest(queue), "abqr");
    }

    #[test]
    fn a_ticket_that_was_read_may_come_again() {
        let mut queue = Queue::default();
        queue.push(5, Likely, 'a');
        assert_eq!(queue.next(), Some(Likely));
        assert_eq!(queue.pop(), Some((5, 'a')));
        assert_eq!((queue.next(), queue.withdraw(5)), (None, None));
        queue.push(5, Awaited, 'b');
        assert_eq!(queue.withdraw(5), Some('b'));
        assert_eq!(queue.pop(), None);
    }
}
