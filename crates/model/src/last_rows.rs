//! The rows that the last layer still works on.
//!
//! Behind the last attention nothing reads a row but the output head and those who ask for hidden
//! rows: of a prompt, all but the last row end there, their keys and values stored.

use ingle_tensor::ops::{Batch, Ops};

/// Numbers the rows that go on.
pub(crate) struct LastRows {
    /// 0, 1, 2, ...: as many as a batch can have.
    numbers: Vec<u32>,
}

impl LastRows {
    pub fn new(max_rows: usize) -> Self {
        Self {
            numbers: (0..).take(max_rows).collect(),
        }
    }

    /// Keeps, of two buffers, the rows that somebody wants; beside each stands one of the same width
    /// to do it with. Answers the batch in whose `outputs` the rows are numbered as they now stand,
    /// `None` where no row is wanted.
    pub fn keep<'a, O: Ops>(
        &'a self,
        ops: &mut O,
        batch: &Batch<'a>,
        buffers: [(&mut O::Buf, &mut O::Buf); 2],
    ) -> Option<Batch<'a>> {
        let n = batch.outputs.len();
        if batch.hidden || n == batch.rows.len() {
            return Some(*batch);
        }
        let outputs = self.numbers.get(..n).filter(|rows| !rows.is_empty())?;
        for (buffer, spare) in buffers {
            ops.select(buffer, batch.outputs, spare);
            std::mem::swap(buffer, spare);
        }
        Some(Batch { outputs, ..*batch })
    }
}
