//! Which network config.json describes, and what GGUF calls it.

use super::HuggingFaceError;
use super::json::Json;

/// Families of networks: those that share names of tensors and entries of config.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Mixtral,
    Qwen2,
    Qwen3,
    Qwen3Moe,
    Gemma,
    Gemma2,
    Gemma3,
    Phi3,
    Bert,
    /// BERT whose positions begin behind the padding token's number.
    Roberta,
    NomicBert,
}

/// What stands on top of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Logits of the next token.
    Causal,
    /// Nothing: what the layers give is the answer.
    Nothing,
    /// A score for a text or a pair of texts.
    Classifier,
}

/// A family and its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Architecture {
    pub(super) family: Family,
    pub(super) head: Head,
}

/// The beginning of the class's name, which is `{beginning}ForCausalLM` or the like.
const FAMILIES: &[(&str, Family)] = &[
    ("Llama", Family::Llama),
    ("Mistral", Family::Mistral),
    ("Mixtral", Family::Mixtral),
    ("Qwen2", Family::Qwen2),
    ("Qwen3", Family::Qwen3),
    ("Qwen3Moe", Family::Qwen3Moe),
    ("Gemma", Family::Gemma),
    ("Gemma2", Family::Gemma2),
    ("Gemma3", Family::Gemma3),
    ("Gemma3Text", Family::Gemma3),
    ("Phi3", Family::Phi3),
    ("Bert", Family::Bert),
    ("XLMRoberta", Family::Roberta),
    ("Roberta", Family::Roberta),
    ("NomicBert", Family::NomicBert),
];

/// Kinds of heads, by the end of the class's name. The head that fills in masked words is left out
/// of models that give embeddings.
const HEADS: &[(&str, Head)] = &[
    ("ForCausalLM", Head::Causal),
    ("ForConditionalGeneration", Head::Causal),
    ("ForSequenceClassification", Head::Classifier),
    ("ForMaskedLM", Head::Nothing),
    ("Model", Head::Nothing),
];

impl Architecture {
    /// Reads `architectures`.
    pub(super) fn of(config: &Json) -> Result<Self, HuggingFaceError> {
        let names = config.strings("architectures")?.unwrap_or_default();
        let Some(&name) = names.first() else {
            return Err(config.missing("architectures"));
        };
        let split = HEADS
            .iter()
            .find_map(|&(end, head)| Some((name.strip_suffix(end)?, head)));
        let found = split.and_then(|(base, head)| {
            let &(_, family) = FAMILIES.iter().find(|(known, _)| *known == base)?;
            Some(Self { family, head })
        });
        match found {
            Some(architecture) if architecture.fits() => Ok(architecture),
            _ => Err(HuggingFaceError::Architecture {
                found: name.to_owned(),
                known: known(),
            }),
        }
    }

    /// Encoders write no text, and what scores texts on top of a decoder is known for Qwen3 alone.
    fn fits(&self) -> bool {
        match self.head {
            Head::Causal => !self.is_encoder(),
            Head::Nothing => true,
            Head::Classifier => {
                matches!(self.family, Family::Bert | Family::Roberta | Family::Qwen3)
            }
        }
    }

    /// What `general.architecture` holds.
    pub(super) fn gguf(&self) -> &'static str {
        match self.family {
            Family::Llama | Family::Mistral | Family::Mixtral => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Qwen3Moe => "qwen3moe",
            Family::Gemma => "gemma",
            Family::Gemma2 => "gemma2",
            Family::Gemma3 => "gemma3",
            Family::Phi3 => "phi3",
            Family::Bert | Family::Roberta => "bert",
            Family::NomicBert => "nomic-bert",
        }
    }

    /// Whether positions see those after them.
    pub(super) fn is_encoder(&self) -> bool {
        matches!(
            self.family,
            Family::Bert | Family::Roberta | Family::NomicBert
        )
    }

    /// Whether the GGUF file turns neighbouring pairs of a head, where transformers turns halves.
    pub(super) fn turns_neighbours(&self) -> bool {
        self.gguf() == "llama"
    }

    /// Whether norms are stored minus one.
    pub(super) fn norms_are_less_one(&self) -> bool {
        matches!(self.family, Family::Gemma | Family::Gemma2 | Family::Gemma3)
    }

    /// The part of config.json that describes the text network: a model that sees pictures too has
    /// it in an object of its own.
    pub(super) fn text_config(&self, config: &Json) -> Result<Json, HuggingFaceError> {
        Ok(config
            .object("text_config")?
            .unwrap_or_else(|| config.clone()))
    }
}

fn known() -> String {
    let decoders = FAMILIES.iter().filter_map(|&(name, family)| {
        let head = Head::Causal;
        Architecture { family, head }
            .fits()
            .then(|| format!("{name}ForCausalLM"))
    });
    let encoders = ["BertModel", "XLMRobertaModel", "NomicBertModel"];
    let all: Vec<String> = decoders.chain(encoders.map(str::to_owned)).collect();
    all.join(", ")
}
