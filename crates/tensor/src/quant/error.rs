//! What can be wrong with a request to decode or encode blocks.

use ingle_formats::TensorType;

/// Why blocks could not be decoded or encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The bytes end inside a block.
    #[error(
        "{bytes} bytes of {ty} end inside a block of {block} bytes; \
         the tensor is cut short or its type is wrong",
        block = ty.block_bytes()
    )]
    PartialBlock {
        /// The storage type asked for.
        ty: TensorType,
        /// Bytes given.
        bytes: usize,
    },
    /// The two sides hold different numbers of elements.
    #[error(
        "{bytes} bytes of {ty} hold {len} elements a block of {block} bytes, \
         which is not the {elements} elements given; make both sides whole rows of the same length",
        len = ty.block_len(),
        block = ty.block_bytes()
    )]
    WrongLength {
        /// The storage type asked for.
        ty: TensorType,
        /// Bytes on the quantised side.
        bytes: usize,
        /// Elements on the f32 side.
        elements: usize,
    },
    /// Blocks of this type can be read and not made.
    #[error("{ty} blocks can be read but not made; choose another type, such as Q4_K")]
    NoEncoder {
        /// The storage type asked for.
        ty: TensorType,
    },
    /// A number that the scale of a block cannot hold.
    #[error(
        "element {index} is {value}, and {ty} holds numbers from -65504 to 65504; \
         store this tensor as F32"
    )]
    OutOfRange {
        /// The storage type asked for.
        ty: TensorType,
        /// Which element.
        index: usize,
        /// The element.
        value: f32,
    },
}
