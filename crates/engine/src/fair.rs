//! Who comes first among users: the one for whom the least has been done.
//!
//! Every user's computed rows are counted while he has requests. A user who comes begins at the
//! smallest count of those who are there, so nobody saves up while he is away. (Virtual token
//! counters: <https://arxiv.org/abs/2401.00588>.)

use std::collections::HashMap;

/// What has been done for each user who has requests.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    users: HashMap<u64, Share>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    /// Requests that are there.
    requests: usize,
    /// Rows computed for him, and what he was lifted to when he came.
    served: u64,
}

impl Shares {
    /// A request of `user` came.
    pub fn came(&mut self, user: u64) {
        let least = self.users.values().map(|share| share.served).min();
        let share = self.users.entry(user).or_insert(Share {
            requests: 0,
            served: least.unwrap_or(0),
        });
        share.requests += 1;
    }

    /// A request of `user` is over.
    pub fn went(&mut self, user: u64) {
        if let Some(share) = self.users.get_mut(&user) {
            share.requests -= 1;
            if share.requests == 0 {
                self.users.remove(&user);
            }
        }
    }

    /// `rows` were computed for `user`.
    pub fn charge(&mut self, user: u64, rows: usize) {
        if let Some(share) = self.users.get_mut(&user) {
            share.served += rows as u64;
        }
    }

    /// What has been done for `user`.
    pub fn served(&self, user: u64) -> u64 {
        self.users.get(&user).map_or(0, |share| share.served)
    }

    /// Of so many places, those that each user may keep when others want some: at least one.
    pub fn of(&self, places: usize) -> usize {
        (places / self.users.len().max(1)).max(1)
    }

    /// Requests that are there.
    pub fn requests(&self) -> usize {
        self.users.values().map(|share| share.requests).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_saves_nothing_up_and_owes_nothing() {
        let mut shares = Shares::default();
        shares.came(1);
        shares.charge(1, 1000);
        shares.came(2);
        assert_eq!((shares.served(1), shares.served(2)), (1000, 1000));
        shares.charge(2, 10);
        shares.came(3);
        assert_eq!(shares.served(3), 1000);
        assert_eq!((shares.of(16), shares.of(2), shares.requests()), (5, 1, 3));
        shares.came(1);
        shares.went(1);
        assert_eq!(shares.served(1), 1000);
        for user in [1, 2, 3] {
            shares.went(user);
        }
        shares.charge(1, 5); // nobody is there
        assert_eq!(
            (shares.served(1), shares.of(4), shares.requests()),
            (0, 4, 0)
        );
    }
}
