//! What comes of a batch.

use crate::engine::Engine;
use crate::pace::Does;
use crate::pass::Member;
use crate::request::{Event, FinishReason};
use crate::sequence::Computed;
use ingle_formats::vocabulary::Vocabulary;
use ingle_model::{Head, Lane, Part};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Batch, Ops, PageId};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

impl<O: Ops + 'static> Engine<O> {
    /// Layers that the pass under way has before it.
    pub(crate) fn layers_left(&self) -> usize {
        self.plan.needs.shape.n_layers - self.passes.main.layer
    }

    /// Computes the batch of a lane: all layers, or as many as there is time for.
    pub(crate) fn compute(&mut self, lane: Lane, now: Duration, events: &mut Vec<Event>) {
        let pass = self.passes.of(lane);
        let (first, n_layers) = (pass.layer, self.plan.needs.shape.n_layers);
        let only_next = pass.members.iter().all(|m| m.comes_to_next());
        let end = match lane {
            Lane::Main if self.pace.cuts() && (first > 0 || !only_next) => {
                if first == 0 {
                    self.pace.begin(now);
                }
                let layers = self.pace.layers(now, self.layers_left());
                self.pace.does(Does::Part { layers }, now);
                first + layers
            }
            _ => {
                let prompts = !only_next;
                self.pace.does(Does::Tokens { prompts }, now);
                if lane == Lane::Main {
                    self.chunk.does(pass.load(), now);
                }
                n_layers
            }
        };
        if first == 0 {
            self.steps += 1;
            self.rows += self.passes.of(lane).rows.len() as u64;
        } else if let Some(guesser) = &mut self.guesser {
            // What this step takes says nothing of a batch.
            guesser.begin(now, 0);
            guesser.filled(1, 0);
        }
        self.parts += 1;
        match self.forward(lane, first..end) {
            Err(error) => self.fail(lane, &error, now, events),
            Ok(()) if end < n_layers => self.passes.of_mut(lane).done(end),
            Ok(()) => self.choose(lane, now, events),
        }
    }

    fn forward(&mut self, lane: Lane, layers: Range<usize>) -> Result<(), SourceError> {
        let pass = self.passes.of(lane);
        let members = pass.members.iter();
        let sequences: Vec<&[PageId]> = members.map(|m| m.sequence.held.pages()).collect();
        let batch = Batch {
            rows: &pass.rows,
            sequences: &sequences,
            outputs: &pass.outputs,
            hidden: pass.members.iter().any(|m| m.sequence.wants_rows()),
        };
        let part = Part {
            layers,
            lane,
            kept: pass.kept(),
        };
        let (ops, cache, logits) = (&mut self.ops, &mut self.cache, &mut self.step.logits);
        self.network.forward_part(ops, cache, &batch, &part, logits)
    }

    /// Nothing came of a batch, because weights could not be read. One sequence by itself ends;
    /// several, or one with guesses, have not gone on, and are computed alone.
    fn fail(&mut self, lane: Lane, error: &SourceError, now: Duration, events: &mut Vec<Event>) {
        let pass = self.passes.of_mut(lane);
        let alone = match &pass.members[..] {
            [one] => one.sequence.guesses() == 0,
            _ => false,
        };
        for Member { mut sequence, .. } in pass.members.drain(..) {
            sequence.stay(&mut self.memory);
            sequence.alone = true;
            if !alone {
                self.running.push(sequence);
                continue;
            }
            let reason = FinishReason::Unreadable(error.to_string());
            events.push(sequence.finished(reason, now));
            sequence.release(&mut self.memory);
            self.shares.went(sequence.user);
            if let Some(guesser) = &mut self.guesser {
                guesser.over(sequence.id);
            }
        }
        pass.clear();
        self.running.sort_unstable_by_key(|s| s.id);
    }

    /// Hands every sequence of the batch its logits and hidden rows, and goes on with each.
    fn choose(&mut self, lane: Lane, now: Duration, events: &mut Vec<Event>) {
        let labels = match self.plan.needs.head {
            Head::Vocabulary => self.vocabulary.len(),
            Head::Labels(n) => n,
            Head::None => 1, // there are none to hand out
        };
        let mut all = std::mem::take(&mut self.step.logits);
        let (mut logits, hidden) = (&mut all[..], &mut self.step.hidden);
        hidden.clear();
        let (pass, mut first) = (self.passes.of_mut(lane), 0);
        let turn = |mut member: Member| {
            let (n, from) = (member.count, hidden.len());
            let sequence = &mut member.sequence;
            sequence.alone = false;
            let guesses = sequence.guesses();
            if sequence.wants_rows() {
                self.ops
                    .read(self.network.hidden(), first..first + n, hidden);
            }
            first += n + guesses;
            let reached = sequence.reached();
            let outputs = sequence.advance(n);
            self.shares
                .charge(sequence.user, sequence.reached() - reached);
            Mutex::new(Turn {
                before: sequence.computed().len(),
                guesses,
                member,
                logits: logits.split_off_mut(..outputs * labels).unwrap_or_default(),
                rows: from..hidden.len(),
                events: Vec::new(),
                reason: None,
            })
        };
        let turns: Vec<Mutex<Turn<'_>>> = pass.members.drain(..).map(turn).collect();
        pass.clear();
        // To choose from a large vocabulary is work, and each sequence's is its own.
        let (hidden, vocabulary) = (&self.step.hidden[..], &*self.vocabulary);
        self.ops.each(turns.len(), &|i| {
            let mut turn = turns[i].lock().unwrap_or_else(PoisonError::into_inner);
            turn.take(hidden, labels, vocabulary, now);
        });
        for turn in turns {
            let turn = turn.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.conclude(turn, now, events);
        }
        self.step.logits = all;
        self.running.sort_unstable_by_key(|s| s.id);
    }

    /// Says what came of a sequence's turn, and lets it go on or end.
    fn conclude(&mut self, turn: Turn<'_>, now: Duration, events: &mut Vec<Event>) {
        let (mut sequence, mut guesser) = (turn.member.sequence, self.guesser.as_deref_mut());
        events.extend(turn.events);
        let right = sequence.computed().len() - turn.before;
        self.speculated.proposed += turn.guesses as u64;
        self.speculated.accepted += right as u64;
        if let (Some(guesser), 1..) = (&mut guesser, turn.guesses) {
            guesser.judged(sequence.id, turn.guesses, right);
        }
        sequence.settle(&mut self.memory);
        let Some(reason) = turn.reason else {
            return self.running.push(sequence);
        };
        events.push(sequence.finished(reason, now));
        if let Some(warm) = &mut self.warm {
            warm.mark(&sequence, &mut self.memory);
        }
        sequence.release(&mut self.memory);
        self.shares.went(sequence.user);
        if let Some(guesser) = guesser {
            guesser.over(sequence.id);
        }
    }
}

/// A sequence that goes on with what a batch gave it.
struct Turn<'a> {
    member: Member,
    /// The logits of its outputs.
    logits: &'a mut [f32],
    /// Its hidden rows, as a range of those of all.
    rows: Range<usize>,
    /// How many guesses were computed with it.
    guesses: usize,
    /// Positions that are computed, guesses left out.
    before: usize,
    events: Vec<Event>,
    reason: Option<FinishReason>,
}

impl Turn<'_> {
    fn take(&mut self, hidden: &[f32], labels: usize, vocabulary: &Vocabulary, now: Duration) {
        let computed = Computed {
            logits: &mut *self.logits,
            labels,
            rows: hidden.get(self.rows.clone()).unwrap_or_default(),
        };
        let sequence = &mut self.member.sequence;
        self.reason = sequence.go_on(computed, vocabulary, now, &mut self.events);
    }
}
