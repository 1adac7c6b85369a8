//! Floor 3: tokens in, tokens out.

pub mod sampler;
