//! A batch on its way through the layers, whole or in parts.
//!
//! Between two parts its sequences belong to it: nobody takes their pages, and they get no other rows.
//! Any of them may leave it then, as if they had never been in it: what it has stored of their rows is
//! stored again by the batch that computes them.

use crate::chunk::Load;
use crate::request::RequestId;
use crate::sequence::Sequence;
use ingle_model::Lane;
use ingle_tensor::ops::Row;
use std::time::Duration;

/// A sequence in a batch.
pub(crate) struct Member {
    pub sequence: Sequence,
    /// How many of its known tokens the batch computes.
    pub count: usize,
}

impl Member {
    /// Whether it comes to its next token, by one row and perhaps guesses.
    pub fn comes_to_next(&self) -> bool {
        self.count == 1 && self.sequence.behind() == 1
    }

    /// The positions for which it has pages.
    pub fn positions(&self) -> usize {
        self.sequence.computed().len() + self.count + self.sequence.guesses()
    }
}

/// A batch; without members there is none.
#[derive(Default)]
pub(crate) struct Pass {
    /// Oldest first. Rows name them by their place here.
    pub members: Vec<Member>,
    pub rows: Vec<Row>,
    pub outputs: Vec<u32>,
    /// Layers that are done.
    pub layer: usize,
    /// The rows of the latest part that are still here, where some have left.
    kept: Vec<u32>,
    left: bool,
}

impl Pass {
    /// Whether there is one.
    pub fn is_under_way(&self) -> bool {
        !self.members.is_empty()
    }

    /// Adds a sequence that computes `count` known tokens, and its guesses.
    pub fn add(&mut self, mut sequence: Sequence, count: usize, now: Duration) {
        let index = self.members.len() as u32;
        sequence.rows(count, index, now, &mut self.rows, &mut self.outputs);
        self.members.push(Member { sequence, count });
    }

    pub fn find(&self, id: RequestId) -> Option<usize> {
        self.members.iter().position(|m| m.sequence.id == id)
    }

    /// Lets a member go, with its rows.
    pub fn leave(&mut self, index: usize) -> Sequence {
        if !self.left {
            self.left = true;
            self.kept.clear();
            self.kept.extend(0..self.rows.len() as u32);
        }
        let sequence = index as u32;
        let first = self.rows.partition_point(|row| row.sequence < sequence);
        let end = self.rows.partition_point(|row| row.sequence <= sequence);
        self.rows.drain(first..end);
        self.kept.drain(first..end);
        for row in &mut self.rows[first..] {
            row.sequence -= 1;
        }
        let (first, end) = (first as u32, end as u32);
        self.outputs.retain(|i| !(first..end).contains(i));
        for i in self.outputs.iter_mut().filter(|i| **i >= end) {
            *i -= end - first;
        }
        let member = self.members.remove(index);
        if self.members.is_empty() {
            self.clear();
        }
        member.sequence
    }

    /// What it computes.
    pub fn load(&self) -> Load {
        let (mut load, mut depths) = (Load::default(), 0);
        for member in &self.members {
            load.next += member.sequence.guesses();
            if member.comes_to_next() {
                load.next += 1;
            } else {
                load.prompt += member.count;
                depths += member.count * (member.sequence.computed().len() + member.count / 2);
            }
        }
        load.depth = depths / load.prompt.max(1);
        load
    }

    /// The rows of the latest part that are in the next one, where they are not all.
    pub fn kept(&self) -> Option<&[u32]> {
        self.left.then_some(&self.kept)
    }

    /// All layers before `layer` are done.
    pub fn done(&mut self, layer: usize) {
        self.layer = layer;
        self.left = false;
    }

    /// There is none any more; the members have been taken out.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.outputs.clear();
        self.done(0);
    }
}

/// The batch that may be cut, and the one that goes through all layers between its parts.
#[derive(Default)]
pub(crate) struct Passes {
    pub main: Pass,
    pub side: Pass,
}

impl Passes {
    pub fn of(&self, lane: Lane) -> &Pass {
        match lane {
            Lane::Main => &self.main,
            Lane::Side => &self.side,
        }
    }

    pub fn of_mut(&mut self, lane: Lane) -> &mut Pass {
        match lane {
            Lane::Main => &mut self.main,
            Lane::Side => &mut self.side,
        }
    }
}
