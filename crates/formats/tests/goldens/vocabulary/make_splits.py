"""Writes splits.txt: how Hugging Face's `tokenizers` cuts texts into pieces.

    pip install tokenizers && python make_splits.py

The patterns are those of the models' own tokenizer.json files, with their look-aheads.
Lines: `text TAB json`, then for each pre-tokenizer `= name` and a line of piece lengths (UTF-8 bytes) a text.
"""

import json
import random
from pathlib import Path

from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
CASED = [
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
]
GPT4O = (
    "|".join(f"{word}{CONTRACTION}?" for word in CASED)
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = "|".join(CASED) + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = rf"{CONTRACTION}|{WORD}|\p{{N}}|{TAIL}"
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KANA = "[一-龥\u3040-ゟ゠-ヿ]+"
CJK = "[一-龥ࠀ-一가-\ud7ff]+"
HAN = r"\p{Han}"
KIMI = (
    rf"[{HAN}]+|"
    + "|".join(
        word.replace(r"\p{M}]", rf"\p{{M}}&&[^{HAN}]]") + CONTRACTION + "?" for word in CASED
    )
    + rf"|\p{{N}}{{1,3}}|{TAIL}"
)
DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8"
    "-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-"
    "\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00"
    "-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
    "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-"
    "\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a"
    "-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183"
    "\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-"
    "\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70"
    "-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-"
    "\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"

PATTERNS = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "gpt-2": [GPT2],
    "llama-bpe": [rf"{CONTRACTION}|{WORD}|\p{{N}}{{1,3}}|{TAIL}"],
    "jais-2": [
        rf"{CONTRACTION}|{WORD}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|"
        + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
        + r"|\s{1,2}(?!\S)|\s{1}"
    ],
    "deepseek-llm": [
        "[\r\n]",
        rf"\s?[{DEEPSEEK_LETTERS}]+",
        "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
        r"\s+$",
        CJK,
        r"\p{N}+",
    ],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", KANA, DEEPSEEK3],
    "spark2_5": [
        r"\p{N}{1,3}",
        KANA,
        DEEPSEEK3.replace(r"[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+", r"[\p{P}\p{S}]+|[\r\n]"),
        r"\p{N}",
    ],
    "youtu": [
        "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + KANA,
        GPT4O.replace(r"\p{N}{1,3}", r"\p{N}"),
    ],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "starcoder": [r"\p{N}", GPT2],
    "qwen2": [QWEN2],
    "qwen35": [
        QWEN2.replace(WORD, r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+").replace(
            r"[^\s\p{L}\p{N}]+", r"[^\s\p{L}\p{M}\p{N}]+"
        )
    ],
    "bloom": [BLOOM],
    "viking": [BLOOM, r"\p{N}"],
    "tekken": [TEKKEN],
    "chameleon": [
        "<sentinel:[0-9]+>",
        "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
        "([\\t\\n]|    |  )",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        GPT2,
    ],
    "gpt-4o": [GPT4O],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "kimi-k2": [KIMI],
    "bailingmoe": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "seed-coder": [
        rf"{CONTRACTION}|{WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "ufakzeka": [rf"{WORD}|\p{{N}}|{TAIL}"],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "exaone-moe": [
        rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "gemma4": [r"[^\n]+|[\n]+"],
    "minicpm5": [r"\p{N}{1,3}", rf"{CONTRACTION}|{WORD}|\p{{N}}+|{TAIL}"],
}

NASTY = [
    "Hello, y'all! I'LL we'Ve 'tis it's DON'T ' s 'S' ''re 're're",
    "1 12 123 1234 12345 123456 1234567 3.14 ½²Ⅷ ١٢٣٤ 12_34 12a 1234b",
    "   leading\n\n  two\r\n\r\n\ttabs\t \tmixed \n \n end   ",
    "a\u00a0b\u3000c\u2003d\u0085e\u2028f\u200bg\u200dh\ufeffi\x00j\x1fk\x7f",
    "我想在apple工作1314151天～。！？ 々〇〆 カタカナ ひらがな 한국어 ㄱㄴ ㄅㄆ",
    "e\u0301cole ÉCOLE École nai\u0308ve हिन्दी में ภาษาไทย العربية، שלום! ǅungla ʰa",
    "😀👩‍👩‍👧‍👦🏳️‍🌈 ✅ 🇩🇪 \U000e0067 \ue000\U00100000 \u0378",
    "fn main() { let x = 5; } // done/\n/* a\n\n*/ #!/bin/sh\n    return 0;\n\t\tpass",
    "HelloWorld helloWORLD XMLHttpRequest iPhone McDonald éÉéÉ ЖжЖЖ",
    "https://example.com/a?b=c&d=%20 user@host $5.00 +<=>^~|` #tag _under_ --- ... !!!??",
    "<sentinel:12> IMGIMGABCZ IMGIMGZ <|endoftext|> <s> </s>",
    "\n", " ", "  ", "\n ", " \n", "\r", "\t\n ", "a ", " a", "'", "'s", "1", "\u00a0", "\u0301",
    " " * 700 + "x" + " " * 37, "x" + "\n" * 5 + " " * 5 + "y",
]
ALPHABET = (
    list("aZé'sTtLl 1２½.,!?-/\n\r\t") + ["  ", " \n", "\u00a0", "\u3000", "\u0301", "中", "々", "ひ", "한", "ก"]
    + ["Ж", "ж", "ǅ", "ʰ", "(", "。", "$", "+", "😀", "\u200d", "\u0000", "'re", "'LL", "123", "abc"]
)


def texts():
    chance = random.Random(7)
    drawn = ["".join(chance.choices(ALPHABET, k=chance.randint(2, 40))) for _ in range(40)]
    return NASTY + drawn


def main():
    lines = [json.dumps(text) for text in texts()]
    for name, patterns in PATTERNS.items():
        splitter = Sequence([Split(Regex(pattern), "isolated") for pattern in patterns])
        lines.append(f"= {name}")
        for text in texts():
            pieces = [piece for piece, _ in splitter.pre_tokenize_str(text)]
            assert "".join(pieces) == text, (name, text)
            lines.append(" ".join(str(len(piece.encode())) for piece in pieces))
    path = Path(__file__).parent / "splits.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
