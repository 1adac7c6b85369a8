//! Pre-tokenizers of byte-level BPE, by the names that `tokenizer.ggml.pre` holds.
//!
//! The patterns are those of the models' own tokenizers. llama.cpp, whose names these are, writes
//! some of them in a simpler form (letters of unknown case in gpt-4o, tekken, youtu, tiny_aya and
//! kimi-k2); here the original holds, so text with accented capitals or combining marks is cut as it
//! was in training.

mod set;
mod split;

use set::CharSet;
pub(crate) use split::Stages;
use split::{Lead, Run, Spaces, Stage};

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

/// Pre-tokenizers that share their stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Default,
    Gpt2,
    Llama3,
    Jais2,
    DeepseekLlm,
    DeepseekCoder,
    DeepseekV3,
    Spark,
    Youtu,
    Falcon,
    Starcoder,
    Qwen2,
    Qwen35,
    Bloom,
    Viking,
    Tekken,
    Chameleon,
    Gpt4o,
    TinyAya,
    KimiK2,
    SuperBpe,
    BailingMoe,
    SeedCoder,
    Ufakzeka,
    Afmoe,
    Laguna,
    ExaoneMoe,
    Lines,
    MiniCpm5,
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
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const CONTRACTION: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)";
/// A letter, and before it any one character but a line break, a letter or a number.
const WORD: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+";
const PUNCTUATION: &str = r" ?[^\s\p{L}\p{N}]+[\r\n]*";
const BREAKS_AND_SPACES: &str = r"\s*[\r\n]+|\s+";
/// Words that end where a capital follows a small letter; letters without case are both.
const CASED_WORD: [&str; 2] = [
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
];
const DEEPSEEK_V3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+",
);
const CJK: &str = "一-龥ࠀ-一가-퟿";
const HAN_AND_KANA: &str = "一-龥぀-ゟ゠-ヿ";
/// Cased letters, as listed in the tokenizer of DeepSeek LLM. (Characters that Unicode normalisation
/// would change are written as numbers, here and below.)
const DEEPSEEK_LETTERS: &str = "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u{1f5f}-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌ\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-\u{212d}ℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";
const BLOOM: &str = "^(\\s|.,!?…。，、।۔،)";
/// Scripts that AFMoE keeps apart: Han, kana, Thai, Lao, Khmer, Myanmar, Hangul.
const AFMOE_SCRIPTS: &str = "一-鿿㐀-䶿\u{f900}-\u{faff}぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ";
/// The script Han (Unicode 15.1).
const HAN: &str = "⺀-⺙⺛-⻳⼀-⿕々〇〡-〩〸-〻㐀-䶿一-鿿\u{f900}-\u{fa6d}\u{fa70}-\u{fad9}\u{16fe2}\u{16fe3}\u{16ff0}\u{16ff1}\u{20000}-\u{2a6df}\u{2a700}-\u{2b739}\u{2b740}-\u{2b81d}\u{2b820}-\u{2cea1}\u{2ceb0}-\u{2ebe0}\u{2ebf0}-\u{2ee5d}\u{2f800}-\u{2fa1d}\u{30000}-\u{3134a}\u{31350}-\u{323af}";

/// `[set]+`, and the like.
fn run(lead: Lead, set: &str, min: usize, max: usize) -> Run {
    Run {
        lead,
        set: CharSet::parse(set),
        min,
        max,
    }
}

fn runs(set: &str) -> Stage {
    Stage::Runs(vec![run(Lead::Nothing, set, 1, usize::MAX)])
}

/// `[set]{1,max}`
fn up_to(max: usize, set: &str) -> Stage {
    Stage::Runs(vec![run(Lead::Nothing, set, 1, max)])
}

fn lines() -> Stage {
    let of = |set| run(Lead::Nothing, set, 1, usize::MAX);
    Stage::Runs(vec![of("^\n"), of("\n")])
}

fn gpt2() -> Result<Stage, String> {
    Stage::pattern(GPT2, Spaces::LeaveOne)
}

/// The pattern that Llama 3 and its kin have: contractions, words, numbers, punctuation, spaces.
fn llama3(contraction: &str, word: &str, number: &str, punctuation: &str) -> Result<Stage, String> {
    let parts = [contraction, word, number, punctuation, BREAKS_AND_SPACES];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Stage::pattern(&parts.join("|"), Spaces::LeaveOneButLineBreak)
}

/// The pattern that GPT-4o and its kin have: as [`llama3`], with words cut by case.
fn gpt4o(contraction: &str, number: &str) -> Result<Stage, String> {
    let [small, capital] = CASED_WORD;
    let suffix = if contraction.is_empty() {
        String::new()
    } else {
        format!("{contraction}?")
    };
    let words = format!("{small}{suffix}|{capital}{suffix}");
    llama3("", &words, number, r" ?[^\s\p{L}\p{N}]+[\r\n/]*")
}

impl Family {
    fn stages(self) -> Result<Stages, String> {
        let flagged = (self == Self::KimiK2).then(|| CharSet::parse(HAN));
        Ok(Stages {
            stages: self.list()?,
            flagged,
        })
    }

    fn list(self) -> Result<Vec<Stage>, String> {
        let pattern = Stage::pattern;
        let any_space = |set| Stage::Runs(vec![run(Lead::AnySpace, set, 1, usize::MAX)]);
        let bloom = || Stage::Runs(vec![run(Lead::Space, BLOOM, 1, usize::MAX)]);
        let three_digits = || Stage::Runs(vec![run(Lead::Nothing, "0-9", 3, 3)]);
        let qwen2 = || llama3(CONTRACTION, WORD, r"\p{N}", PUNCTUATION);
        let thousands = |set, whole_words| Stage::Thousands {
            digits: CharSet::parse(set),
            whole_words,
        };
        Ok(match self {
            Self::Default => {
                vec![
                    runs(r"\p{P}$+<=>^~|"),
                    gpt2()?,
                    runs(r"\p{N}"),
                    three_digits(),
                ]
            }
            Self::Gpt2 => vec![gpt2()?],
            Self::Llama3 => vec![llama3(CONTRACTION, WORD, r"\p{N}{1,3}", PUNCTUATION)?],
            Self::Jais2 => {
                let parts = [
                    CONTRACTION,
                    WORD,
                    r"\p{N}{1,3}",
                    PUNCTUATION,
                    BREAKS_AND_SPACES,
                ];
                vec![pattern(&parts.join("|"), Spaces::PowersOfTwo)?]
            }
            Self::DeepseekLlm => vec![
                up_to(1, "\r\n"),
                any_space(DEEPSEEK_LETTERS),
                any_space("!-/:-~！-／：-～‘-‟\u{3000}-。"),
                Stage::TrailingSpace,
                runs(CJK),
                runs(r"\p{N}"),
            ],
            Self::DeepseekCoder => vec![
                up_to(1, "\r\n"),
                any_space(r"\p{L}"),
                any_space(r"\p{P}"),
                runs(CJK),
                up_to(1, r"\p{N}"),
            ],
            Self::DeepseekV3 => vec![
                up_to(3, r"\p{N}"),
                runs(HAN_AND_KANA),
                pattern(DEEPSEEK_V3, Spaces::LeaveOneButLineBreak)?,
            ],
            Self::Spark => {
                let one_break = DEEPSEEK_V3
                    .replace(r"[\p{P}\p{S}]+[\r\n]*", r"[\p{P}\p{S}]+")
                    .replace(r"\s*[\r\n]+", r"[\r\n]");
                vec![
                    up_to(3, r"\p{N}"),
                    runs(HAN_AND_KANA),
                    pattern(&one_break, Spaces::LeaveOne)?,
                    up_to(1, r"\p{N}"),
                ]
            }
            Self::Youtu => {
                let of = |set| run(Lead::Nothing, set, 1, usize::MAX);
                let scripts = [
                    "가-힣ㄱ-ㆎ",
                    "！…“”‘’—：；，、-〿︰-﹏",
                    "ㄅ-ㄯ",
                    HAN_AND_KANA,
                ];
                vec![
                    Stage::Runs(scripts.map(of).to_vec()),
                    gpt4o(CONTRACTION, r"\p{N}")?,
                ]
            }
            Self::Falcon => vec![runs(r"\p{P}$+<=>^~|`"), gpt2()?, three_digits()],
            Self::Starcoder => vec![up_to(1, r"\p{N}"), gpt2()?],
            Self::Qwen2 => vec![qwen2()?],
            Self::Qwen35 => vec![llama3(
                CONTRACTION,
                r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
                r"\p{N}",
                r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
            )?],
            Self::Bloom => vec![bloom()],
            Self::Viking => vec![bloom(), up_to(1, r"\p{N}")],
            Self::Tekken => vec![gpt4o("", r"\p{N}")?],
            Self::Chameleon => vec![
                pattern("<sentinel:[0-9]+>", Spaces::Keep)?,
                pattern("IMGIMG[A-I]{1,4}Z", Spaces::Keep)?,
                pattern("[\t\n]|    |  ", Spaces::Keep)?,
                up_to(1, r"\p{N}"),
                up_to(1, r"\p{P}!-/:-@[-`{-~"),
                gpt2()?,
            ],
            Self::Gpt4o => vec![gpt4o(CONTRACTION, r"\p{N}{1,3}")?],
            Self::TinyAya => {
                vec![
                    thousands(r"\p{Nd}", true),
                    gpt4o(CONTRACTION, r"\p{N}{1,3}")?,
                ]
            }
            Self::KimiK2 => vec![pattern(&kimi_k2(), Spaces::LeaveOneButLineBreak)?],
            Self::SuperBpe => vec![runs(r"\p{N}"), thousands(r"\p{Nd}", false)],
            Self::BailingMoe => {
                let parts = [
                    r"'(?i:[sdmt]|ll|ve|re)",
                    WORD,
                    r"\p{N}",
                    PUNCTUATION,
                    r"\s*[\r\n]|\s+",
                ];
                vec![pattern(&parts.join("|"), Spaces::LeaveOneButLineBreak)?]
            }
            Self::SeedCoder => {
                vec![llama3(
                    CONTRACTION,
                    WORD,
                    r"\p{N}",
                    r" ?[^\s\p{L}\p{N}\r\n]+",
                )?]
            }
            Self::Ufakzeka => vec![llama3("", WORD, r"\p{N}", PUNCTUATION)?],
            Self::Afmoe => vec![
                thousands(r"\p{N}", false),
                runs(AFMOE_SCRIPTS),
                pattern(DEEPSEEK_V3, Spaces::LeaveOneButLineBreak)?,
            ],
            Self::Laguna => vec![lines(), qwen2()?],
            Self::ExaoneMoe => {
                let word = r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+";
                let punctuation = r" ?[^\s\p{L}\p{N}]+[\r\n/]?";
                let parts = [CONTRACTION, word, r"\p{N}", punctuation, r"\s*[\r\n]|\s+"];
                vec![pattern(&parts.join("|"), Spaces::LeaveOneButLineBreak)?]
            }
            Self::Lines => vec![lines()],
            Self::MiniCpm5 => {
                vec![
                    up_to(3, r"\p{N}"),
                    llama3(CONTRACTION, WORD, r"\p{N}+", PUNCTUATION)?,
                ]
            }
        })
    }
}

/// As GPT-4o, with words of Han characters apart and no slash after punctuation.
fn kimi_k2() -> String {
    let [small, capital] = CASED_WORD.map(|word| {
        // The set difference applies to the two bracketed classes of letters, not to the lead.
        word.replace(r"\p{M}]", r"\p{M}&&[^\p{Flagged}]]")
    });
    let parts = [
        r"\p{Flagged}+",
        &format!("{small}{CONTRACTION}?"),
        &format!("{capital}{CONTRACTION}?"),
        r"\p{N}{1,3}",
        PUNCTUATION,
        BREAKS_AND_SPACES,
    ];
    parts.join("|")
}

#[cfg(test)]
mod tests;
