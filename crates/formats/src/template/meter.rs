//! The bounds of one rendering: every step, byte and level is counted here.
use std::sync::Arc;

use super::error::{Bound, Fault, Run};
use super::value::Value;

/// How much one rendering may use. The bounds on steps, memory and output grow with the size of the
/// template and the conversation, so that a long conversation is not refused and a short one cannot
/// be made expensive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Steps of evaluation.
    pub fuel: u64,
    /// Bytes of values made.
    pub memory: u64,
    /// Bytes of output.
    pub output: u64,
}

impl Limits {
    /// Bounds for `input` bytes of template and conversation together.
    pub fn for_input(input: u64) -> Self {
        Self {
            fuel: input.saturating_mul(16).saturating_add(5_000_000),
            memory: input.saturating_mul(64).saturating_add(64 << 20),
            output: input.saturating_mul(8).saturating_add(4 << 20),
        }
    }
}

/// Levels that evaluation may nest: statements, expressions and macro calls together. They fit a stack
/// of 1 MiB, which a test holds them to.
const DEPTH: u64 = 400;

/// Bytes of text that cost as much as one step.
const BYTES_PER_STEP: usize = 64;

/// Counts what a rendering has used.
pub(super) struct Meter {
    limits: Limits,
    fuel: u64,
    memory: u64,
    depth: u64,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            fuel: limits.fuel,
            memory: limits.memory,
            depth: 0,
        }
    }

    /// The bound on output, in bytes.
    pub(super) fn output_limit(&self) -> u64 {
        self.limits.output
    }

    /// Counts `steps` steps.
    pub(super) fn steps(&mut self, steps: usize) -> Run<()> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        match self.fuel.checked_sub(steps) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => Err(Fault::Limit(Bound::Fuel, self.limits.fuel)),
        }
    }

    /// Counts the work of going through `bytes` bytes of text once.
    pub(super) fn scan(&mut self, bytes: usize) -> Run<()> {
        self.steps((bytes / BYTES_PER_STEP).saturating_add(1))
    }

    /// Counts `bytes` bytes of a new value, before it is made.
    pub(super) fn memory(&mut self, bytes: usize) -> Run<()> {
        match self
            .memory
            .checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX))
        {
            Some(left) => {
                self.memory = left;
                self.scan(bytes)
            }
            None => Err(Fault::Limit(Bound::Memory, self.limits.memory)),
        }
    }

    /// Counts `count` values put together in a new container, before it is made.
    pub(super) fn items(&mut self, count: usize) -> Run<()> {
        self.memory(count.saturating_mul(size_of::<Value>()).saturating_add(64))
    }

    /// Enters a level; `leave` ends it.
    pub(super) fn enter(&mut self) -> Run<()> {
        self.steps(1)?;
        if self.depth >= DEPTH {
            return Err(Fault::Limit(Bound::Depth, DEPTH));
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// A new string value.
    pub(super) fn text(&mut self, text: &str) -> Run<Value> {
        self.memory(text.len())?;
        Ok(Value::Str(Arc::from(text)))
    }
}

/// A string that grows by counted pieces: nothing is appended before it is paid for.
pub(super) struct Text<'m> {
    pub(super) meter: &'m mut Meter,
    buffer: String,
}

impl<'m> Text<'m> {
    pub(super) fn new(meter: &'m mut Meter) -> Self {
        Self {
            meter,
            buffer: String::new(),
        }
    }

    pub(super) fn push(&mut self, piece: &str) -> Run<()> {
        self.meter.memory(piece.len())?;
        self.buffer.push_str(piece);
        Ok(())
    }

    pub(super) fn push_char(&mut self, piece: char) -> Run<()> {
        self.push(piece.encode_utf8(&mut [0; 4]))
    }

    /// Appends `piece` `times` times.
    pub(super) fn repeat(&mut self, piece: &str, times: usize) -> Run<()> {
        self.meter.memory(piece.len().saturating_mul(times))?;
        for _ in 0..times {
            self.buffer.push_str(piece);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> String {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits {
        fuel: 10,
        memory: 100,
        output: 10,
    };

    #[test]
    fn each_bound_holds() {
        let mut meter = Meter::new(SMALL);
        assert!(meter.steps(10).is_ok());
        assert!(matches!(meter.steps(1), Err(Fault::Limit(Bound::Fuel, 10))));

        let mut meter = Meter::new(Limits {
            fuel: 1000,
            ..SMALL
        });
        assert!(meter.memory(100).is_ok());
        assert!(matches!(
            meter.memory(1),
            Err(Fault::Limit(Bound::Memory, 100))
        ));

        let mut meter = Meter::new(Limits {
            fuel: 1000,
            ..SMALL
        });
        let deep = std::iter::repeat_with(|| meter.enter()).find_map(Result::err);
        assert!(matches!(deep, Some(Fault::Limit(Bound::Depth, DEPTH))));
    }

    #[test]
    fn a_long_repetition_is_refused_before_it_is_made() {
        let mut meter = Meter::new(Limits {
            fuel: u64::MAX,
            ..SMALL
        });
        let mut text = Text::new(&mut meter);
        assert!(text.repeat("ab", usize::MAX).is_err());
        assert_eq!(text.finish(), "");
    }
}
