//! One batch: who gets rows, and who gets pages.
//!
//! Places and the rows of prompts go to the user for whom the least was done (`fair.rs`), and among
//! one user's requests to the oldest. One that waits begins when there are pages
//! for what is known of it; it gets them as it grows. Where there are no more, texts that nobody
//! runs on go first, then the youngest sequence that runs gives way: it waits
//! and begins again, with what is left of its text in the tree. So the oldest that runs always goes on
//! to its end. Who has more places than his share gives one to a user who has less; his oldest request
//! keeps its own.
//!
//! Where a pass is cut (`pace.rs`), a batch of those who are not in it may come between two parts.

use crate::chunk::Company;
use crate::engine::Engine;
use crate::memory::pages_for;
use crate::request::Event;
use crate::schedule::share;
use crate::sequence::Sequence;
use ingle_model::Lane;
use ingle_tensor::ops::{Ops, PAGE_LEN, PageId};
use std::time::Duration;

impl<O: Ops + 'static> Engine<O> {
    /// Computes one batch, or a part of one where passes are cut, and answers what came of it.
    pub fn step(&mut self, now: Duration) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.cancelled);
        self.pace.note(now);
        self.chunk.note(now);
        if !self.passes.main.is_under_way() {
            self.gather(Lane::Main, now);
        } else if self.pace.is_others_turn(now, self.layers_left()) {
            self.part_with_next();
            self.gather(Lane::Side, now);
            if !self.passes.side.is_under_way() {
                self.pace.nobody_waits(now);
            }
        }
        if self.passes.side.is_under_way() {
            self.compute(Lane::Side, now, &mut events);
        } else if self.passes.main.is_under_way() {
            self.compute(Lane::Main, now, &mut events);
        } else {
            self.wait_for_store(now);
        }
        if self.is_idle() || self.is_stalled() {
            self.pace.forget();
            self.chunk.forget();
        }
        events
    }

    /// Whether another engine waits for the threads that compute: steps are shorter then.
    pub(crate) fn in_company(&mut self, waits: bool) {
        self.in_company = waits;
    }

    /// The latest step ended at `now`, and others compute until the next one.
    pub(crate) fn rest(&mut self, now: Duration) {
        self.pace.note(now);
        self.chunk.note(now);
        if let Some(guesser) = &mut self.guesser {
            guesser.begin(now, 0);
            guesser.filled(1, 0); // what comes until the next batch says nothing of one
        }
    }

    /// Puts a batch together of the sequences that are in none.
    fn gather(&mut self, lane: Lane, now: Duration) {
        self.admit(now);
        self.hear_store(now);
        self.take();
        self.ask_store(now);
        self.schedule(lane);
        self.extend();
        self.isolate();
        self.guess(lane, now);
        self.fill(lane, now);
    }

    /// Those that come to their next token leave a pass that takes too long.
    fn part_with_next(&mut self) {
        let pass = &mut self.passes.main;
        if pass.members.iter().all(|m| m.comes_to_next()) {
            return;
        }
        for i in (0..pass.members.len()).rev() {
            if pass.members[i].comes_to_next() {
                let mut sequence = pass.leave(i);
                sequence.stay(&mut self.memory);
                self.running.push(sequence);
            }
        }
        self.running.sort_unstable_by_key(|s| s.id);
    }

    pub(crate) fn is_paused(&self, sequence: &Sequence) -> bool {
        self.paused.contains(&sequence.id)
    }

    /// Starts the requests whose turn it is. Nobody is passed over but those whose answer nobody
    /// reads, so nobody waits for ever.
    fn admit(&mut self, now: Duration) {
        while let Some((first, user)) = self.next_to_begin() {
            if self.running() >= self.plan.options.max_sequences as usize {
                match self.over_share(user) {
                    Some(over) => self.preempt(over),
                    None => return,
                }
                continue;
            }
            let to_come = |s: &Sequence| {
                pages_for(s.needs() as u64).saturating_sub(s.held.pages().len() as u64)
            };
            let inside = self.passes.main.members.iter().map(|m| &m.sequence);
            let working = self.running.iter().chain(inside);
            let working = working.filter(|s| !self.is_paused(s));
            let promised: u64 = working.map(to_come).sum();
            let sequence = &self.waiting[first];
            let pages = promised + pages_for(sequence.needs() as u64);
            if self.memory.fits(sequence.may_take(), pages) {
                let Some(mut sequence) = self.waiting.remove(first) else {
                    return;
                };
                sequence.start();
                if let Some(warm) = &self.warm {
                    sequence.fetch = warm.plan(&sequence, &self.memory, &self.chunk, now);
                }
                let place = self.running.partition_point(|s| s.id < sequence.id);
                self.running.insert(place, sequence);
            } else if let Some(unread) = self.youngest(|s| self.is_paused(s)) {
                self.preempt(unread);
            } else if let Some(over) = self.over_share(user) {
                self.preempt(over);
            } else {
                return;
            }
        }
    }

    /// Who begins next, and whose it is: first users with fewer places than their share, then those for
    /// whom the least was done, then the oldest.
    fn next_to_begin(&self) -> Option<(usize, u64)> {
        let share = self.shares.of(self.plan.options.max_sequences as usize);
        let waiting = self.waiting.iter().enumerate();
        let waiting = waiting.filter(|(_, s)| !self.is_paused(s));
        let first = waiting.min_by_key(|(_, s)| {
            let has_share = self.places_of(s.user) >= share;
            (has_share, self.shares.served(s.user), s.id)
        });
        first.map(|(i, s)| (i, s.user))
    }

    /// Requests of a user that run.
    fn places_of(&self, user: u64) -> usize {
        let inside = self.passes.main.members.iter().map(|m| &m.sequence);
        let all = self.running.iter().chain(inside);
        all.filter(|s| s.user == user).count()
    }

    /// Which running sequence makes room for one of `user`, who has less than his share: the youngest of
    /// whoever has the most, if that is more than his.
    fn over_share(&self, user: u64) -> Option<usize> {
        let share = self.shares.of(self.plan.options.max_sequences as usize);
        if self.places_of(user) >= share {
            return None;
        }
        let most = self.running.iter().map(|s| self.places_of(s.user)).max();
        let most = most.filter(|most| *most > share)?;
        let all = self.running.iter().enumerate().rev();
        let such = |(_, s): &(usize, &Sequence)| self.places_of(s.user) == most;
        all.into_iter().find(such).map(|(i, _)| i)
    }

    /// Lets every sequence go on from what others have computed since.
    fn take(&mut self) {
        for sequence in &mut self.running {
            if self.paused.contains(&sequence.id) {
                continue;
            }
            if let Some(copy) = sequence.take(&mut self.memory) {
                self.ops.copy_page(&mut self.cache, copy.from, copy.to);
            }
        }
        for i in 0..self.running.len() {
            if let Some((positions, from)) = self.to_follow(i)
                && let Some(copy) = self.running[i].follow(positions, from, &mut self.memory)
            {
                self.ops.copy_page(&mut self.cache, copy.from, copy.to);
            }
        }
    }

    /// The page that another sequence is filling, from a copy of which running sequence `i` would go on
    /// furthest, and how far.
    fn to_follow(&self, i: usize) -> Option<(usize, PageId)> {
        let sequence = &self.running[i];
        if sequence.behind() < 2 || sequence.fetch.is_some() || self.is_paused(sequence) {
            return None;
        }
        let others = self.running.iter().enumerate().filter(|(j, _)| *j != i);
        let inside = self.passes.main.members.iter().map(|m| &m.sequence);
        let all = others.map(|(_, s)| s).chain(inside);
        let there = all.filter_map(|s| {
            let positions = sequence.could_follow(s)?;
            let page = s.held.pages().get((positions - 1) / PAGE_LEN)?;
            Some((positions, *page))
        });
        there.max_by_key(|(positions, _)| *positions)
    }

    /// Says how many rows each sequence computes. What an older one is computing is awaited, and what
    /// a pass is computing that is under way.
    fn schedule(&mut self, lane: Lane) {
        let (running, step) = (&self.running, &mut self.step);
        let works = |s: &&Sequence| !self.paused.contains(&s.id);
        let inside = &self.passes.main.members;
        step.behind.clear();
        step.behind.extend(running.iter().enumerate().map(|(i, s)| {
            let mut older = running[..i].iter().filter(works);
            let mut inside = inside.iter().map(|m| &m.sequence);
            let awaits = older.any(|other| s.repeats(other)) || inside.any(|m| s.repeats(m));
            match works(&s) && !awaits && s.fetch.is_none() {
                true => s.behind(),
                false => 0,
            }
        }));
        let mut max_rows = self.plan.options.max_batch_rows as usize;
        if lane == Lane::Side {
            // Prompts go beside a pass only if they are short, and by as many rows as cost little.
            let most = self.plan.rows().side;
            let long = step.behind.iter_mut().filter(|behind| **behind > most);
            long.for_each(|behind| *behind = 0);
            let next = step.behind.iter().filter(|behind| **behind == 1).count();
            max_rows = most.min(next + self.pace.prompt_rows());
        }
        step.order.clear();
        step.order.extend(0..running.len());
        let shares = &self.shares;
        step.order
            .sort_by_key(|&i| (shares.served(running[i].user), running[i].id));
        let goes_on = |(s, behind): (&Sequence, &usize)| *behind == 1 && !s.computed().is_empty();
        let company = match running.iter().zip(&step.behind).any(goes_on) {
            true => Company::Answers,
            false if shares.requests() > 1 || self.in_company => Company::Prompts,
            false => Company::None,
        };
        let whole = !self.plan.needs.causal;
        let cost = |i: usize| self.chunk.cost(running[i].computed().len(), company);
        share(
            max_rows,
            whole,
            &step.behind,
            &step.order,
            cost,
            &mut step.counts,
        );
    }

    /// Gets pages for the rows of the next batch, oldest sequence first.
    fn extend(&mut self) {
        let mut i = 0;
        while i < self.running.len() {
            let wanted = self.step.counts[i];
            let room = self.running[i].extend(wanted, &mut self.memory);
            if room < wanted
                && let Some(victim) = self.victim(i)
            {
                self.preempt(victim);
                self.step.counts.remove(victim);
                i -= usize::from(victim < i);
                continue;
            }
            // The pages of an encoder are enough for any batch.
            self.step.counts[i] = room;
            i += 1;
        }
    }

    /// Who gives way to running sequence `i`: the youngest of those that nobody reads, or else of
    /// those that are younger.
    fn victim(&self, i: usize) -> Option<usize> {
        let than = self.running[i].id;
        let unread = self.youngest(|s| s.id != than && self.is_paused(s));
        unread.or_else(|| self.youngest(|s| s.id > than))
    }

    /// The youngest running sequence that holds pages and is such.
    fn youngest(&self, such: impl Fn(&Sequence) -> bool) -> Option<usize> {
        let such = |s: &Sequence| !s.held.pages().is_empty() && such(s);
        self.running.iter().rposition(such)
    }

    /// Takes the pages of a running sequence, which waits from now on.
    pub(crate) fn preempt(&mut self, index: usize) {
        let mut sequence = self.running.remove(index);
        if let Some(warm) = &mut self.warm {
            warm.mark(&sequence, &mut self.memory);
        }
        sequence.release(&mut self.memory);
        sequence.restart();
        let place = self.waiting.partition_point(|s| s.id < sequence.id);
        self.waiting.insert(place, sequence);
        self.preemptions += 1;
    }

    /// Where a batch failed, those that were in it are computed one by one, the oldest first: so only
    /// those end that cannot be computed by themselves.
    fn isolate(&mut self) {
        let counts = &mut self.step.counts;
        let mut all = self.running.iter().zip(counts.iter());
        let Some(one) = all.position(|(s, n)| s.alone && *n > 0) else {
            return;
        };
        for (i, (sequence, n)) in self.running.iter_mut().zip(counts).enumerate() {
            if i != one && *n > 0 {
                *n = 0;
                sequence.stay(&mut self.memory);
            }
        }
    }

    /// Fills what is left of the batch with guesses, for those that come to their next token.
    fn guess(&mut self, lane: Lane, now: Duration) {
        let Some(guesser) = self.guesser.as_deref_mut() else {
            return;
        };
        let rows = self.plan.rows();
        let max_rows = if lane == Lane::Side {
            rows.side
        } else {
            rows.main
        };
        let given: usize = self.step.counts.iter().sum();
        guesser.begin(now, given);
        let mut left = (max_rows - given).min(self.plan.options.max_guesses as usize);
        let all = self.running.iter_mut().zip(&self.step.counts);
        // A wrong guess may need weights that the text itself does not.
        let ready = |(s, n): &(&mut Sequence, &usize)| **n > 0 && **n == s.behind() && !s.alone;
        let mut ready: Vec<_> = all.filter(ready).collect();
        while let Some((sequence, _)) = ready.pop() {
            let max = left / (ready.len() + 1);
            left -= sequence.guess(max, guesser, &mut self.memory);
        }
    }

    /// Puts the rows together.
    fn fill(&mut self, lane: Lane, now: Duration) {
        let pass = self.passes.of_mut(lane);
        let counts = &self.step.counts;
        let mut each = counts.iter();
        let computes = |_: &mut Sequence| each.next().is_some_and(|n| *n > 0);
        let chosen = self.running.extract_if(.., computes);
        for (sequence, &n) in chosen.zip(counts.iter().filter(|n| **n > 0)) {
            pass.add(sequence, n, now);
        }
        if let Some(guesser) = &mut self.guesser {
            guesser.filled(pass.rows.len(), pass.outputs.len());
        }
    }
}
