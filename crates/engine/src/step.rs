//! One batch: who gets rows, who gets pages, and what comes of it.
//!
//! Requests are served in the order in which they came. One that waits begins when there are pages
//! for what is known of it; it gets them as it grows. Where there are no more, texts that nobody
//! runs on go first, then the youngest sequence that runs gives way: it waits at the front of the
//! queue and begins again, with what is left of its text in the tree. So the oldest always goes on
//! to its end, and everyone becomes the oldest.

use crate::engine::Engine;
use crate::memory::pages_for;
use crate::request::{Event, FinishReason};
use crate::schedule::share;
use crate::sequence::{Computed, Sequence};
use ingle_model::Head;
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Batch, Ops, PageId};
use std::time::Duration;

impl<O: Ops + 'static> Engine<O> {
    /// Computes one batch, and answers what came of it.
    pub fn step(&mut self, now: Duration) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.cancelled);
        self.admit();
        self.take();
        self.schedule();
        self.extend();
        self.isolate();
        self.guess(now);
        self.fill(now);
        if !self.step.rows.is_empty() {
            self.steps += 1;
            match self.forward() {
                Ok(()) => self.choose(now, &mut events),
                Err(error) => self.fail(&error, now, &mut events),
            }
        }
        events
    }

    pub(crate) fn is_paused(&self, sequence: &Sequence) -> bool {
        self.paused.contains(&sequence.id)
    }

    /// Starts the requests that have waited longest. Nobody is passed over but those whose answer
    /// nobody reads, so nobody waits for ever.
    fn admit(&mut self) {
        while self.running.len() < self.plan.options.max_sequences as usize
            && let Some(first) = self.waiting.iter().position(|s| !self.is_paused(s))
        {
            let to_come = |s: &Sequence| {
                pages_for(s.needs() as u64).saturating_sub(s.held.pages().len() as u64)
            };
            let working = self.running.iter().filter(|s| !self.is_paused(s));
            let promised: u64 = working.map(to_come).sum();
            let sequence = &self.waiting[first];
            let pages = promised + pages_for(sequence.needs() as u64);
            if self.memory.fits(sequence.may_take(), pages) {
                let Some(mut sequence) = self.waiting.remove(first) else {
                    return;
                };
                sequence.start();
                let place = self.running.partition_point(|s| s.id < sequence.id);
                self.running.insert(place, sequence);
            } else if let Some(unread) = self.youngest(|s| self.is_paused(s)) {
                self.preempt(unread);
            } else {
                return;
            }
        }
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
    }

    /// Says how many rows each sequence computes. What an older one is computing is awaited.
    fn schedule(&mut self) {
        let (running, step) = (&self.running, &mut self.step);
        let works = |s: &&Sequence| !self.paused.contains(&s.id);
        step.behind.clear();
        step.behind.extend(running.iter().enumerate().map(|(i, s)| {
            let mut older = running[..i].iter().filter(works);
            match works(&s) && !older.any(|older| s.repeats(older)) {
                true => s.behind(),
                false => 0,
            }
        }));
        let max_rows = self.plan.options.max_batch_rows as usize;
        let whole = !self.plan.needs.causal;
        share(max_rows, whole, &step.behind, &mut step.counts);
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
    fn guess(&mut self, now: Duration) {
        let Some(guesser) = self.guesser.as_deref_mut() else {
            return;
        };
        let options = &self.plan.options;
        let given: usize = self.step.counts.iter().sum();
        guesser.begin(now, given);
        let mut left = (options.max_batch_rows as usize - given).min(options.max_guesses as usize);
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
    fn fill(&mut self, now: Duration) {
        let step = &mut self.step;
        step.rows.clear();
        step.outputs.clear();
        for (index, (sequence, &n)) in self.running.iter_mut().zip(&step.counts).enumerate() {
            if n > 0 {
                sequence.rows(n, index as u32, now, &mut step.rows, &mut step.outputs);
            }
        }
        if let Some(guesser) = &mut self.guesser {
            guesser.filled(step.rows.len(), step.outputs.len());
        }
    }

    fn forward(&mut self) -> Result<(), SourceError> {
        let s = &mut self.step;
        let sequences: Vec<&[PageId]> = self.running.iter().map(|q| q.held.pages()).collect();
        let mut computed = self.running.iter().zip(&s.counts);
        let batch = Batch {
            rows: &s.rows,
            sequences: &sequences,
            outputs: &s.outputs,
            hidden: computed.any(|(q, n)| *n > 0 && q.wants_rows()),
        };
        self.network
            .forward(&mut self.ops, &mut self.cache, &batch, &mut s.logits)
    }

    /// Nothing came of a batch, because weights could not be read. One sequence by itself ends;
    /// several, or one with guesses, have not gone on, and are computed alone.
    fn fail(&mut self, error: &SourceError, now: Duration, events: &mut Vec<Event>) {
        let counts = &self.step.counts;
        let computed = || self.running.iter().zip(counts).filter(|(_, n)| **n > 0);
        let alone = computed().count() == 1 && computed().all(|(s, _)| s.guesses() == 0);
        let (mut counts, memory) = (counts.iter(), &mut self.memory);
        let guesser = &mut self.guesser;
        self.running.retain_mut(|sequence| {
            if counts.next().is_none_or(|n| *n == 0) {
                return true;
            }
            sequence.stay(memory);
            sequence.alone = true;
            if !alone {
                return true;
            }
            let reason = FinishReason::Unreadable(error.to_string());
            events.push(sequence.finished(reason, now));
            sequence.release(memory);
            if let Some(guesser) = guesser {
                guesser.over(sequence.id);
            }
            false
        });
    }

    /// Hands every sequence of the batch its logits and hidden rows.
    fn choose(&mut self, now: Duration, events: &mut Vec<Event>) {
        let labels = match self.plan.needs.head {
            Head::Vocabulary => self.vocabulary.len(),
            Head::Labels(n) => n,
            Head::None => 1, // there are none to hand out
        };
        let s = &mut self.step;
        let mut logits = &mut s.logits[..];
        let (mut counts, mut first) = (s.counts.iter(), 0);
        let (ops, network, hidden) = (&mut self.ops, &self.network, &mut s.hidden);
        let (vocabulary, memory, guesser) = (&self.vocabulary, &mut self.memory, &mut self.guesser);
        let speculated = &mut self.speculated;
        self.running.retain_mut(|sequence| {
            let n = counts.next().copied().unwrap_or(0);
            if n == 0 {
                return true;
            }
            sequence.alone = false;
            hidden.clear();
            if sequence.wants_rows() {
                ops.read(network.hidden(), first..first + n, hidden);
            }
            let guesses = sequence.guesses();
            first += n + guesses;
            let outputs = sequence.advance(n);
            let before = sequence.computed().len();
            let own = logits.split_off_mut(..outputs * labels).unwrap_or_default();
            let computed = Computed {
                logits: own,
                labels,
                rows: hidden,
            };
            let mut guesser = guesser.as_deref_mut();
            let reason = sequence.go_on(computed, vocabulary, guesser.as_deref_mut(), events);
            speculated.proposed += guesses as u64;
            speculated.accepted += (sequence.computed().len() - before) as u64;
            sequence.settle(memory);
            let Some(reason) = reason else {
                return true;
            };
            events.push(sequence.finished(reason, now));
            sequence.release(memory);
            if let Some(guesser) = guesser {
                guesser.over(sequence.id);
            }
            false
        });
    }
}
