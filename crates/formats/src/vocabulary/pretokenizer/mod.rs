//! Pre-tokenizers of byte-level BPE, by the names that `tokenizer.ggml.pre` holds.

mod family;
mod given;
mod set;
mod split;

use family::Family;
pub(crate) use split::Stages;

use super::{VocabularyError, Warning};

/// How text becomes the characters that merges are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Bytes, by the alphabet of GPT-2.
    Bytes,
    /// Characters as they are, spaces as `▁`; bytes that have no token as `<0x0A>`.
    Characters,
}

/// What a name in `tokenizer.ggml.pre` stands for.
#[derive(Debug, Clone)]
pub(crate) struct PreTokenizer {
    pub(crate) stages: Stages,
    pub(crate) encoding: Encoding,
    /// A piece that is a token is taken whole, whatever the merges say.
    pub(crate) whole_pieces: bool,
    /// As `whole_pieces`, for pieces of line breaks alone.
    pub(crate) whole_line_breaks: bool,
    /// Whether a beginning token is added where the file does not say.
    pub(crate) add_bos: bool,
    /// Whether a beginning token is added even where the file says otherwise.
    pub(crate) always_bos: bool,
    /// Whether a file that names no beginning token has none.
    pub(crate) no_default_bos: bool,
    /// Whether decoding whole texts drops spaces before punctuation.
    pub(crate) clean_spaces: bool,
}

/// The family of a name, and whether decoding cleans spaces.
fn family(name: &str) -> Option<(Family, bool)> {
    use Family as F;
    Some(match name {
        "default" => (F::Default, true),
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
        | "lfm2" | "jina-v5-nano" | "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => {
            (F::Llama3, true)
        }
        "jais-2" => (F::Jais2, true),
        "deepseek-llm" => (F::DeepseekLlm, false),
        "deepseek-coder" => (F::DeepseekCoder, false),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => (F::DeepseekV3, false),
        "spark2_5" => (F::Spark, false),
        "youtu" => (F::Youtu, false),
        "falcon" => (F::Falcon, true),
        "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
            (F::Starcoder, true)
        }
        "command-r" | "smollm" => (F::Starcoder, false),
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "gigachat" | "jina-v2-es" | "jina-v2-de"
        | "a.x-4.0" | "mellum" | "modern-bert" | "jina-v1-en" | "jina-v2-code" | "roberta-bpe"
        | "mpt" | "olmo" | "jais" | "exaone4" => (F::Gpt2, true),
        "trillion" | "granite-docling" => (F::Gpt2, false),
        "stablelm2" | "megrez" => (F::Qwen2, true),
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "hunyuan" | "solar-open"
        | "grok-2" => (F::Qwen2, false),
        "qwen35" => (F::Qwen35, false),
        "bloom" | "gpt3-finnish" => (F::Bloom, true),
        "poro-chat" => (F::Bloom, false),
        "viking" => (F::Viking, false),
        "tekken" => (F::Tekken, false),
        "chameleon" => (F::Chameleon, false),
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" | "granite-embed-multi-97m" => {
            (F::Gpt4o, false)
        }
        "tiny_aya" | "cohere2moe" => (F::TinyAya, false),
        "kimi-k2" => (F::KimiK2, false),
        "superbpe" => (F::SuperBpe, false),
        "bailingmoe" | "bailingmoe2" | "llada-moe" => (F::BailingMoe, false),
        "seed-coder" => (F::SeedCoder, false),
        "ufakzeka" => (F::Ufakzeka, false),
        "afmoe" => (F::Afmoe, false),
        "laguna" => (F::Laguna, false),
        "exaone-moe" => (F::ExaoneMoe, true),
        "gemma4" | "granite-embed-multi-311m" => (F::Lines, true),
        "sarvam-moe" => (F::Lines, false),
        "minicpm5" => (F::MiniCpm5, true),
        _ => return None,
    })
}

impl PreTokenizer {
    /// The pre-tokenizer with this name. An absent or unknown name stands for the default, with a
    /// warning.
    pub(crate) fn by_name(name: Option<&str>) -> Result<(Self, Option<Warning>), VocabularyError> {
        let name = name.filter(|name| !name.is_empty());
        let found = name.and_then(family);
        let warning = match (name, found) {
            (_, Some(_)) => None,
            (None, None) => Some(Warning::NoPreTokenizer),
            (Some(name), None) => Some(Warning::UnknownPreTokenizer {
                name: name.to_owned(),
            }),
        };
        let (family, clean_spaces) = found.unwrap_or((Family::Default, true));
        let name = name.unwrap_or("default");
        let stages = family.stages().map_err(|reason| VocabularyError::Pattern {
            name: name.to_owned(),
            reason,
        })?;
        let llama3 = family == Family::Llama3
            && !matches!(name, "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe");
        let gemma4 = matches!(name, "gemma4" | "granite-embed-multi-311m");
        let pre_tokenizer = Self {
            stages,
            encoding: match family {
                Family::Lines => Encoding::Characters,
                _ => Encoding::Bytes,
            },
            whole_pieces: llama3
                || matches!(
                    name,
                    "tekken" | "youtu" | "minicpm5" | "granite-embed-multi-97m"
                ),
            whole_line_breaks: gemma4,
            add_bos: llama3 || matches!(name, "tekken" | "chameleon"),
            always_bos: gemma4,
            no_default_bos: matches!(name, "glm4" | "chatglm-bpe"),
            clean_spaces,
        };
        Ok((pre_tokenizer, warning))
    }

    /// A pre-tokenizer of byte-level BPE that a file gives by its patterns.
    pub(crate) fn given<'a>(
        patterns: impl ExactSizeIterator<Item = &'a str>,
        whole_pieces: bool,
    ) -> Result<Self, VocabularyError> {
        let stages = given::stages(patterns).map_err(|reason| VocabularyError::Pattern {
            name: "given by the file itself".to_owned(),
            reason,
        })?;
        Ok(Self {
            stages,
            encoding: Encoding::Bytes,
            whole_pieces,
            whole_line_breaks: false,
            add_bos: false,
            always_bos: false,
            no_default_bos: false,
            clean_spaces: false,
        })
    }
}

#[cfg(test)]
mod tests;
