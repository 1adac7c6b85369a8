//! The ways of cutting text that names in `tokenizer.ggml.pre` stand for.
//!
//! The patterns are those of the models' own tokenizers. llama.cpp, whose names these are, writes
//! some of them in a simpler form (letters of unknown case in gpt-4o, tekken, youtu, tiny_aya and
//! kimi-k2); here the original holds, so text with accented capitals or combining marks is cut as it
//! was in training.

use super::set::CharSet;
use super::split::{Lead, Run, Spaces, Stage, Stages};

/// Pre-tokenizers that share their stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
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
const DEEPSEEK_SYMBOLS: &str = "!-/:-~！-／：-～‘-‟\u{3000}-。";
const BLOOM: &str = "^(\\s|.,!?…。，、।۔،)";
/// Scripts that AFMoE keeps apart: Han, kana, Thai, Lao, Khmer, Myanmar, Hangul.
const AFMOE_SCRIPTS: &str = "一-鿿㐀-䶿\u{f900}-\u{faff}぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ";
/// What Youtu keeps apart, besides `ㄅ-ㄯ` and [`HAN_AND_KANA`].
const HANGUL: &str = "가-힣ㄱ-ㆎ";
const FULL_WIDTH_MARKS: &str = "！…“”‘’—：；，、-〿︰-﹏";
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

/// Numbers in groups of three digits from the right.
fn thousands(set: &str, whole_words: bool) -> Stage {
    Stage::Thousands {
        digits: CharSet::parse(set),
        whole_words,
    }
}

fn qwen2() -> Result<Stage, String> {
    llama3(CONTRACTION, WORD, r"\p{N}", PUNCTUATION)
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
    /// The stages that text goes through.
    pub(super) fn stages(self) -> Result<Stages, String> {
        let flagged = (self == Self::KimiK2).then(|| CharSet::parse(HAN));
        let stages = match self.pattern() {
            Some(pattern) => vec![pattern?],
            None => self.several()?,
        };
        Ok(Stages { stages, flagged })
    }

    /// The stage of a family that has one pattern and nothing else.
    fn pattern(self) -> Option<Result<Stage, String>> {
        let joined = |parts: &[&str], spaces| Stage::pattern(&parts.join("|"), spaces);
        let three = r"\p{N}{1,3}";
        Some(match self {
            Self::Gpt2 => gpt2(),
            Self::Llama3 => llama3(CONTRACTION, WORD, three, PUNCTUATION),
            Self::Jais2 => {
                let parts = [CONTRACTION, WORD, three, PUNCTUATION, BREAKS_AND_SPACES];
                joined(&parts, Spaces::PowersOfTwo)
            }
            Self::Qwen2 => qwen2(),
            Self::Qwen35 => {
                let word = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+";
                let punctuation = r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*";
                llama3(CONTRACTION, word, r"\p{N}", punctuation)
            }
            Self::SeedCoder => llama3(CONTRACTION, WORD, r"\p{N}", r" ?[^\s\p{L}\p{N}\r\n]+"),
            Self::Ufakzeka => llama3("", WORD, r"\p{N}", PUNCTUATION),
            Self::BailingMoe => {
                let contraction = r"'(?i:[sdmt]|ll|ve|re)";
                let parts = [contraction, WORD, r"\p{N}", PUNCTUATION, r"\s*[\r\n]|\s+"];
                joined(&parts, Spaces::LeaveOneButLineBreak)
            }
            Self::ExaoneMoe => {
                let word = r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+";
                let punctuation = r" ?[^\s\p{L}\p{N}]+[\r\n/]?";
                let parts = [CONTRACTION, word, r"\p{N}", punctuation, r"\s*[\r\n]|\s+"];
                joined(&parts, Spaces::LeaveOneButLineBreak)
            }
            Self::Tekken => gpt4o("", r"\p{N}"),
            Self::Gpt4o => gpt4o(CONTRACTION, three),
            Self::KimiK2 => Stage::pattern(&kimi_k2(), Spaces::LeaveOneButLineBreak),
            _ => return None,
        })
    }

    /// The stages of the other families; the last are those of the default.
    fn several(self) -> Result<Vec<Stage>, String> {
        let any_space = |set| Stage::Runs(vec![run(Lead::AnySpace, set, 1, usize::MAX)]);
        let bloom = || Stage::Runs(vec![run(Lead::Space, BLOOM, 1, usize::MAX)]);
        let three_digits = || Stage::Runs(vec![run(Lead::Nothing, "0-9", 3, 3)]);
        let deepseek_v3 = || Stage::pattern(DEEPSEEK_V3, Spaces::LeaveOneButLineBreak);
        let (one, three) = (|| up_to(1, r"\p{N}"), || up_to(3, r"\p{N}"));
        let breaks = || up_to(1, "\r\n");
        let before = r"\p{P}$+<=>^~|";
        Ok(match self {
            Self::DeepseekLlm => {
                let (letters, symbols) = (any_space(DEEPSEEK_LETTERS), any_space(DEEPSEEK_SYMBOLS));
                vec![
                    breaks(),
                    letters,
                    symbols,
                    Stage::TrailingSpace,
                    runs(CJK),
                    runs(r"\p{N}"),
                ]
            }
            Self::DeepseekCoder => {
                let (letters, marks) = (any_space(r"\p{L}"), any_space(r"\p{P}"));
                vec![breaks(), letters, marks, runs(CJK), one()]
            }
            Self::DeepseekV3 => vec![three(), runs(HAN_AND_KANA), deepseek_v3()?],
            Self::Spark => {
                let pattern = DEEPSEEK_V3
                    .replace(r"[\p{P}\p{S}]+[\r\n]*", r"[\p{P}\p{S}]+")
                    .replace(r"\s*[\r\n]+", r"[\r\n]");
                let pattern = Stage::pattern(&pattern, Spaces::LeaveOne)?;
                vec![three(), runs(HAN_AND_KANA), pattern, one()]
            }
            Self::Afmoe => vec![
                thousands(r"\p{N}", false),
                runs(AFMOE_SCRIPTS),
                deepseek_v3()?,
            ],
            Self::Youtu => youtu()?,
            Self::TinyAya => vec![
                thousands(r"\p{Nd}", true),
                gpt4o(CONTRACTION, r"\p{N}{1,3}")?,
            ],
            Self::SuperBpe => vec![runs(r"\p{N}"), thousands(r"\p{Nd}", false)],
            Self::Falcon => vec![runs(&format!("{before}`")), gpt2()?, three_digits()],
            Self::Starcoder => vec![one(), gpt2()?],
            Self::Bloom => vec![bloom()],
            Self::Viking => vec![bloom(), one()],
            Self::Chameleon => chameleon()?,
            Self::Laguna => vec![lines(), qwen2()?],
            Self::Lines => vec![lines()],
            Self::MiniCpm5 => vec![three(), llama3(CONTRACTION, WORD, r"\p{N}+", PUNCTUATION)?],
            _ => vec![runs(before), gpt2()?, runs(r"\p{N}"), three_digits()],
        })
    }
}

fn youtu() -> Result<Vec<Stage>, String> {
    let of = |set| run(Lead::Nothing, set, 1, usize::MAX);
    let scripts = [HANGUL, FULL_WIDTH_MARKS, "ㄅ-ㄯ", HAN_AND_KANA];
    Ok(vec![
        Stage::Runs(scripts.map(of).to_vec()),
        gpt4o(CONTRACTION, r"\p{N}")?,
    ])
}

fn chameleon() -> Result<Vec<Stage>, String> {
    let keep = |pattern| Stage::pattern(pattern, Spaces::Keep);
    Ok(vec![
        keep("<sentinel:[0-9]+>")?,
        keep("IMGIMG[A-I]{1,4}Z")?,
        keep("[\t\n]|    |  ")?,
        up_to(1, r"\p{N}"),
        up_to(1, r"\p{P}!-/:-@[-`{-~"),
        gpt2()?,
    ])
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
