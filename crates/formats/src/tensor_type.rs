//! The storage types of tensors.

/// How the numbers of a tensor are stored: the types that GGUF files carry.
///
/// A row is a whole number of blocks. The numbers are those of the GGUF specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the specification")]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq2Xxs,
    Iq2Xs,
    Iq3Xxs,
    Iq1S,
    Iq4Nl,
    Iq3S,
    Iq2S,
    Iq4Xs,
    Iq1M,
    Bf16,
    Tq1_0,
    Tq2_0,
    Mxfp4,
}

impl TensorType {
    /// Every storage type, in the order of the GGUF numbers.
    pub const ALL: &[Self] = &[
        Self::F32,
        Self::F16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq2Xxs,
        Self::Iq2Xs,
        Self::Iq3Xxs,
        Self::Iq1S,
        Self::Iq4Nl,
        Self::Iq3S,
        Self::Iq2S,
        Self::Iq4Xs,
        Self::Iq1M,
        Self::Bf16,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Mxfp4,
    ];

    /// (GGUF number, elements a block, bytes a block, name).
    const fn facts(self) -> (u32, u32, u32, &'static str) {
        match self {
            Self::F32 => (0, 1, 4, "F32"),
            Self::F16 => (1, 1, 2, "F16"),
            Self::Q4_0 => (2, 32, 18, "Q4_0"),
            Self::Q4_1 => (3, 32, 20, "Q4_1"),
            Self::Q5_0 => (6, 32, 22, "Q5_0"),
            Self::Q5_1 => (7, 32, 24, "Q5_1"),
            Self::Q8_0 => (8, 32, 34, "Q8_0"),
            Self::Q2K => (10, 256, 84, "Q2_K"),
            Self::Q3K => (11, 256, 110, "Q3_K"),
            Self::Q4K => (12, 256, 144, "Q4_K"),
            Self::Q5K => (13, 256, 176, "Q5_K"),
            Self::Q6K => (14, 256, 210, "Q6_K"),
            Self::Iq2Xxs => (16, 256, 66, "IQ2_XXS"),
            Self::Iq2Xs => (17, 256, 74, "IQ2_XS"),
            Self::Iq3Xxs => (18, 256, 98, "IQ3_XXS"),
            Self::Iq1S => (19, 256, 50, "IQ1_S"),
            Self::Iq4Nl => (20, 32, 18, "IQ4_NL"),
            Self::Iq3S => (21, 256, 110, "IQ3_S"),
            Self::Iq2S => (22, 256, 82, "IQ2_S"),
            Self::Iq4Xs => (23, 256, 136, "IQ4_XS"),
            Self::Iq1M => (29, 256, 56, "IQ1_M"),
            Self::Bf16 => (30, 1, 2, "BF16"),
            Self::Tq1_0 => (34, 256, 54, "TQ1_0"),
            Self::Tq2_0 => (35, 256, 66, "TQ2_0"),
            Self::Mxfp4 => (39, 32, 17, "MXFP4"),
        }
    }

    /// The type with this GGUF number, if it is one of those above.
    pub fn from_gguf(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.gguf_number() == number)
    }

    /// The type with this name (`Q4_K`), in any case of letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// The number that GGUF gives to this type.
    pub const fn gguf_number(self) -> u32 {
        self.facts().0
    }

    /// Elements in a block.
    pub const fn block_len(self) -> u32 {
        self.facts().1
    }

    /// Bytes in a block.
    pub const fn block_bytes(self) -> u32 {
        self.facts().2
    }

    /// The name that the field uses, as `Q4_K`.
    pub const fn name(self) -> &'static str {
        self.facts().3
    }

    /// Bytes of `elements` consecutive elements; `None` where they are not whole blocks or the
    /// product does not fit in 64 bits.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        let block_len = u64::from(self.block_len());
        if !elements.is_multiple_of(block_len) {
            return None;
        }
        (elements / block_len).checked_mul(u64::from(self.block_bytes()))
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
