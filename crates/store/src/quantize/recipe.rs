//! The names under which people know quantised files, and what each stands for.

use ingle_formats::TensorType;

/// A way to store a whole model: which type most of its weights take, and (see [`super::mix`]) which
/// of them take another.
///
/// Names and numbers are those of `general.file_type` in GGUF files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the field")]
pub enum Recipe {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q6K,
    Q5KM,
    Q5KS,
    Q5_1,
    Q5_0,
    Q4KM,
    Q4KS,
    Q4_1,
    Q4_0,
    Iq4Nl,
    Iq4Xs,
    Mxfp4Moe,
    Q3KL,
    Q3KM,
    Q3KS,
    Q2K,
    Q2KS,
}

impl Recipe {
    /// All of them, those that keep most first.
    pub const ALL: [Self; 21] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q6K,
        Self::Q5KM,
        Self::Q5KS,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q4KM,
        Self::Q4KS,
        Self::Q4_1,
        Self::Q4_0,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Mxfp4Moe,
        Self::Q3KL,
        Self::Q3KM,
        Self::Q3KS,
        Self::Q2K,
        Self::Q2KS,
    ];

    /// (name, number of `general.file_type`, type of most weights)
    const fn facts(self) -> (&'static str, u32, TensorType) {
        match self {
            Self::F32 => ("f32", 0, TensorType::F32),
            Self::F16 => ("f16", 1, TensorType::F16),
            Self::Q4_0 => ("q4_0", 2, TensorType::Q4_0),
            Self::Q4_1 => ("q4_1", 3, TensorType::Q4_1),
            Self::Q8_0 => ("q8_0", 7, TensorType::Q8_0),
            Self::Q5_0 => ("q5_0", 8, TensorType::Q5_0),
            Self::Q5_1 => ("q5_1", 9, TensorType::Q5_1),
            Self::Q2K => ("q2_k", 10, TensorType::Q2K),
            Self::Q3KS => ("q3_k_s", 11, TensorType::Q3K),
            Self::Q3KM => ("q3_k_m", 12, TensorType::Q3K),
            Self::Q3KL => ("q3_k_l", 13, TensorType::Q3K),
            Self::Q4KS => ("q4_k_s", 14, TensorType::Q4K),
            Self::Q4KM => ("q4_k_m", 15, TensorType::Q4K),
            Self::Q5KS => ("q5_k_s", 16, TensorType::Q5K),
            Self::Q5KM => ("q5_k_m", 17, TensorType::Q5K),
            Self::Q6K => ("q6_k", 18, TensorType::Q6K),
            Self::Q2KS => ("q2_k_s", 21, TensorType::Q2K),
            Self::Iq4Nl => ("iq4_nl", 25, TensorType::Iq4Nl),
            Self::Iq4Xs => ("iq4_xs", 30, TensorType::Iq4Xs),
            Self::Bf16 => ("bf16", 32, TensorType::Bf16),
            Self::Mxfp4Moe => ("mxfp4_moe", 38, TensorType::Mxfp4),
        }
    }

    /// The name that a person types.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The number that stands in `general.file_type`.
    pub const fn file_type(self) -> u32 {
        self.facts().1
    }

    /// The type of most weights.
    pub const fn main_type(self) -> TensorType {
        self.facts().2
    }

    /// The recipe of this name, in any case of letters. `q3_k`, `q4_k` and `q5_k` are the medium mixes, as
    /// elsewhere.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let full = match name.as_str() {
            "q3_k" | "q4_k" | "q5_k" => format!("{name}_m"),
            "mxfp4" => "mxfp4_moe".to_owned(),
            _ => name,
        };
        Self::ALL.into_iter().find(|recipe| recipe.name() == full)
    }

    /// Whether it is of any use only with an importance matrix.
    pub const fn needs_importance(self) -> bool {
        matches!(self, Self::Q2KS)
    }
}

impl std::fmt::Display for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_no_number_is_there_twice() {
        let mut numbers: Vec<u32> = Recipe::ALL.iter().map(|r| r.file_type()).collect();
        for recipe in Recipe::ALL {
            assert_eq!(Recipe::from_name(recipe.name()), Some(recipe));
            let loud = recipe.name().to_uppercase();
            assert_eq!(Recipe::from_name(&loud), Some(recipe));
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Recipe::ALL.len());
        assert_eq!(Recipe::from_name("q4_k"), Some(Recipe::Q4KM));
        assert_eq!(Recipe::from_name("q7"), None);
    }
}
