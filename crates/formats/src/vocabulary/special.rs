//! Tokens with a role: beginning, end, unknown, fill in the middle.
//!
//! Many files do not name the tokens that end an answer, so they are also known by their text, as
//! llama.cpp has collected them.

use super::tokens::{Attributes, Tokens};
use super::{Model, VocabularyError};
use crate::TokenId;
use crate::gguf::Metadata;

/// The tokens that have a role; `None` where a vocabulary has no such token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the roles are named")]
pub struct Roles {
    pub bos: Option<TokenId>,
    pub eos: Option<TokenId>,
    /// End of a turn.
    pub eot: Option<TokenId>,
    /// End of a message: the model waits for the answer of a tool.
    pub eom: Option<TokenId>,
    pub unk: Option<TokenId>,
    pub sep: Option<TokenId>,
    pub pad: Option<TokenId>,
    pub mask: Option<TokenId>,
    pub fim_prefix: Option<TokenId>,
    pub fim_suffix: Option<TokenId>,
    pub fim_middle: Option<TokenId>,
    pub fim_pad: Option<TokenId>,
    pub fim_repository: Option<TokenId>,
    pub fim_file: Option<TokenId>,
}

const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];
const END_OF_MESSAGE: &[&str] = &["<|eom_id|>"];
const FIM_PREFIX: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
];
const FIM_SUFFIX: &[&str] = &[
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
];
const FIM_MIDDLE: &[&str] = &[
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];
const FIM_PAD: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FIM_REPOSITORY: &[&str] = &[
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
];
const FIM_FILE: &[&str] = &["<|file_sep|>"];

/// Texts that end an answer wherever a vocabulary has them.
const END_OF_GENERATION: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];
/// Control tokens of the harmony format that are part of the answer's text.
const SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

impl Roles {
    /// What a file of this model has where it does not say.
    fn defaults(model: Model, no_default_bos: bool) -> Self {
        let id = |id| Some(TokenId(id));
        match model {
            Model::SentencePiece => Self {
                bos: id(1),
                eos: id(2),
                unk: id(0),
                ..Self::default()
            },
            Model::Gpt2 => Self {
                bos: id(11).filter(|_| !no_default_bos),
                eos: id(11),
                ..Self::default()
            },
            Model::Gemma4 => Self::default(),
            Model::WordPiece => Self {
                bos: id(101),
                unk: id(100),
                sep: id(102),
                pad: id(0),
                mask: id(103),
                ..Self::default()
            },
            Model::Unigram => Self {
                eos: id(1),
                unk: id(2),
                pad: id(0),
                ..Self::default()
            },
        }
    }

    /// Reads the roles from the metadata, and finds by their text those that it does not name.
    /// A token found so is a control token, whatever the file says.
    pub(super) fn read(
        metadata: &Metadata,
        model: Model,
        no_default_bos: bool,
        tokens: &mut Tokens,
    ) -> Result<Self, VocabularyError> {
        let mut roles = Self::defaults(model, no_default_bos);
        for (key, slot) in roles.keys() {
            // A default that the vocabulary is too small for means nothing.
            *slot = slot.filter(|id| tokens.text(*id).is_some());
            *slot = token_id(metadata, key, tokens.len())?.or(*slot);
        }
        let by_text: [(&mut Option<TokenId>, &[&str]); 8] = [
            (&mut roles.eot, END_OF_TURN),
            (&mut roles.eom, END_OF_MESSAGE),
            (&mut roles.fim_prefix, FIM_PREFIX),
            (&mut roles.fim_suffix, FIM_SUFFIX),
            (&mut roles.fim_middle, FIM_MIDDLE),
            (&mut roles.fim_pad, FIM_PAD),
            (&mut roles.fim_repository, FIM_REPOSITORY),
            (&mut roles.fim_file, FIM_FILE),
        ];
        for (slot, texts) in by_text {
            if slot.is_none() {
                *slot = texts.iter().find_map(|text| tokens.find(text));
                slot.iter().for_each(|&id| make_control(tokens, id));
            }
        }
        Ok(roles)
    }

    /// The key of each role; of two keys for one role the later counts.
    fn keys(&mut self) -> Vec<(&'static str, &mut Option<TokenId>)> {
        vec![
            ("tokenizer.ggml.bos_token_id", &mut self.bos),
            ("tokenizer.ggml.eos_token_id", &mut self.eos),
            ("tokenizer.ggml.eot_token_id", &mut self.eot),
            ("tokenizer.ggml.eom_token_id", &mut self.eom),
            ("tokenizer.ggml.unknown_token_id", &mut self.unk),
            ("tokenizer.ggml.seperator_token_id", &mut self.sep), // spelt so in the format
            ("tokenizer.ggml.padding_token_id", &mut self.pad),
            ("tokenizer.ggml.mask_token_id", &mut self.mask),
            ("tokenizer.ggml.fim_pre_token_id", &mut self.fim_prefix),
            ("tokenizer.ggml.fim_suf_token_id", &mut self.fim_suffix),
            ("tokenizer.ggml.fim_mid_token_id", &mut self.fim_middle),
            ("tokenizer.ggml.fim_pad_token_id", &mut self.fim_pad),
            ("tokenizer.ggml.fim_rep_token_id", &mut self.fim_repository),
            ("tokenizer.ggml.fim_sep_token_id", &mut self.fim_file),
        ]
    }

    /// The tokens after which the model has nothing more to say, sorted.
    pub(super) fn end_of_generation(&self, tokens: &mut Tokens) -> Vec<TokenId> {
        let mut ends: Vec<TokenId> = [self.fim_pad, self.fim_repository, self.fim_file]
            .into_iter()
            .flatten()
            .collect();
        for id in END_OF_GENERATION
            .iter()
            .filter_map(|text| tokens.find(text))
            .collect::<Vec<_>>()
        {
            ends.push(id);
            make_control(tokens, id);
        }
        for id in SHOWN
            .iter()
            .filter_map(|text| tokens.find(text))
            .collect::<Vec<_>>()
        {
            tokens.set_attributes(id, Attributes::USER_DEFINED);
        }
        ends.extend([self.eos, self.eot, self.eom].into_iter().flatten());
        ends.sort_unstable();
        ends.dedup();

        let has = |text| tokens.find(text).is_some_and(|id| ends.contains(&id));
        // In the harmony format `<|end|>` ends a part of the answer, not the answer.
        let harmony = (has("<|return|>") && (has("<|call|>") || has("<|calls|>")))
            || (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")));
        let gemma4 = has("<|tool_response>");
        let spared = [
            ("<|end|>", harmony, Attributes::USER_DEFINED),
            ("</s>", gemma4, Attributes::NORMAL),
        ];
        for (text, is_spared, attributes) in spared {
            if let Some(id) = tokens
                .find(text)
                .filter(|id| is_spared && ends.contains(id))
            {
                ends.retain(|end| *end != id);
                tokens.set_attributes(id, attributes);
            }
        }
        ends
    }
}

fn make_control(tokens: &mut Tokens, id: TokenId) {
    tokens.set_attributes(id, tokens.attributes(id).with(Attributes::CONTROL));
}

/// The token that a key names. -1, of either sign, stands for none.
fn token_id(
    metadata: &Metadata,
    key: &'static str,
    tokens: usize,
) -> Result<Option<TokenId>, VocabularyError> {
    const NONE: [i128; 2] = [-1, 0xffff_ffff];
    let Some(id) = metadata.get(key).and_then(|value| value.as_integer()) else {
        metadata.u32(key)?; // says what is wrong where the value is no integer
        return Ok(None);
    };
    if NONE.contains(&id) {
        return Ok(None);
    }
    let in_range = u32::try_from(id)
        .ok()
        .filter(|id| usize::try_from(*id).is_ok_and(|index| index < tokens));
    match in_range {
        Some(id) => Ok(Some(TokenId(id))),
        None => Err(VocabularyError::TokenOutOfRange { key, id, tokens }),
    }
}

/// Marks the tokens that drop white space beside them. Files do not say which these are; they are
/// known for some models, by name.
pub(super) fn mark_stripping(
    metadata: &Metadata,
    tokens: &mut Tokens,
    special: &[TokenId],
) -> Result<(), VocabularyError> {
    if mark_said(metadata, tokens)? {
        return Ok(());
    }
    let pre = metadata.str("tokenizer.ggml.pre")?.unwrap_or("");
    let architecture = metadata.str("general.architecture")?.unwrap_or("");
    let name = metadata
        .str("general.name")?
        .unwrap_or("")
        .to_ascii_lowercase();
    let any = |text: &str, parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let mut mark_left = |text| {
        if let Some(id) = tokens.find(text) {
            tokens.set_attributes(id, tokens.attributes(id).with(Attributes::LEFT_STRIP));
        }
    };
    if any(pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"])
        || any(architecture, &["nomic-bert-moe", "jina-bert-v3"])
    {
        mark_left("<mask>");
    } else if any(&name, &["phi-3", "phi3"]) {
        let end = tokens.find("</s>");
        for id in special.iter().copied().chain(end) {
            tokens.set_attributes(id, tokens.attributes(id).with(Attributes::RIGHT_STRIP));
        }
        for id in ["<unk>", "<s>", "<|endoftext|>"]
            .iter()
            .filter_map(|text| tokens.find(text))
            .collect::<Vec<_>>()
        {
            tokens.set_attributes(id, tokens.attributes(id).without(Attributes::RIGHT_STRIP));
        }
    } else if any(&name, &["modern-bert"]) {
        mark_left("[MASK]");
    }
    Ok(())
}

/// Marks those that the file names, which only files converted here do; whether there are such.
fn mark_said(metadata: &Metadata, tokens: &mut Tokens) -> Result<bool, VocabularyError> {
    let mut said = false;
    for (key, side) in [
        ("tokenizer.ingle.left_strip", Attributes::LEFT_STRIP),
        ("tokenizer.ingle.right_strip", Attributes::RIGHT_STRIP),
    ] {
        for id in metadata.u32s(key)?.unwrap_or_default() {
            said = true;
            let id = TokenId(id);
            tokens.set_attributes(id, tokens.attributes(id).with(side));
        }
    }
    Ok(said)
}
