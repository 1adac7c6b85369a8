//! Encoding by the leaf of an instruction set.

use super::{QuantError, check_encode};
use crate::kernel::{Isa, Leaf};
use ingle_formats::TensorType;

/// Makes blocks by the leaf of an instruction set. All leaves make the same bits as [`super::encode`].
#[derive(Clone, Copy, Debug)]
pub struct Encoder(&'static Leaf);

impl Encoder {
    /// The encoder of an instruction set; `None` where this machine cannot run it.
    pub fn new(isa: Isa) -> Option<Self> {
        Leaf::new(isa).map(Self)
    }

    /// Writes `values` as blocks of type `ty` into `out`. `importance` says for each value how much an
    /// error in it matters, as the mean square of what it is multiplied by: positive finite numbers, of
    /// which only the ratios within a block count. Types whose bits leave no choice take no notice of it.
    ///
    /// # Errors
    /// Those of [`super::encode`]; `importance` has the length of `values`.
    pub fn encode(
        self,
        ty: TensorType,
        values: &[f32],
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<(), QuantError> {
        check_encode(ty, values, importance, out)?;
        self.0.encode(ty, values, importance, out);
        Ok(())
    }
}
