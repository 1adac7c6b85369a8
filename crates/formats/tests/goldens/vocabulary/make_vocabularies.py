"""Writes NAME.json: small vocabularies as GGUF metadata, and texts with the ids that the libraries of
their makers give.

    pip install tokenizers sentencepiece && python make_vocabularies.py TEXTFILE

TEXTFILE is any plain English text of some hundred kilobytes; its words decide the tokens.
"""

import io
import json
import sys
from pathlib import Path

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from make_splits import NASTY, PATTERNS, texts

HERE = Path(__file__).parent
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
ENGLISH = [
    "Once upon a time, there was a little girl named Lily.",
    " The king's daughter, who couldn't sleep, went into the forest. ",
    "In the year 1812 the brothers wrote 86 tales;  200 came later.",
]
CASES = [text.replace("\0", "") for text in texts()] + ENGLISH


def corpus():
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()[:4000]
    return lines + [text for text in NASTY if "\n" not in text] * 8


def write(name, metadata, ids):
    cases = [[text, ids(text)] for text in CASES]
    content = {"metadata": metadata, "cases": cases}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    (HERE / f"{name}.json").write_text(text.replace("],[", "],\n[") + "\n")


def hugging_face_bpe(name, whole_pieces):
    """Byte-level BPE with a pre-tokenizer."""
    split = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PATTERNS[name]]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole_pieces))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, level])
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    if whole_pieces:  # a token that no merge makes
        model["vocab"]["Ġforest"] = len(tokens)
        tokens.append("Ġforest")
        merges = [tuple(merge) for merge in model["merges"] if "".join(merge) not in (" forest",)]
        tokenizer.model = models.BPE(model["vocab"], merges, ignore_merges=True)
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
    }
    write(f"bpe-{name}", metadata, lambda text: tokenizer.encode(text).ids)


def gemma_bpe():
    """BPE over characters, spaces as U+2581, bytes for what has no token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    lines = Regex(r"[^\n]+|[\n]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(lines, "isolated")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False, limit_alphabet=90)
    words = (line[i : i + 40] for line in corpus() for i in range(0, len(line), 40))
    tokenizer.train_from_iterator(words, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    plain = Tokenizer(models.BPE(model["vocab"], [tuple(m) for m in model["merges"]],
                                 byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    plain.normalizer, plain.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    metadata = {
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [CONTROL] * 3 + [UNKNOWN] + [BYTE] * 256 + [NORMAL] * (len(tokens) - 260),
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 3,
    }
    write("gemma-bpe", metadata, lambda text: plain.encode(text).ids)


def sentence_piece(name, ggml_model, add_prefix, merge_spaces, **options):
    """BPE and unigram models of the library that defined them."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, add_dummy_prefix=add_prefix,
        remove_extra_whitespaces=merge_spaces, minloglevel=2, num_threads=1, **options,
    )
    spec = proto.ModelProto.FromString(model.getvalue())
    processor = spm.SentencePieceProcessor(model_proto=model.getvalue())
    metadata = {
        "tokenizer.ggml.model": ggml_model,
        "tokenizer.ggml.tokens": [piece.piece for piece in spec.pieces],
        "tokenizer.ggml.scores": [piece.score for piece in spec.pieces],
        "tokenizer.ggml.token_type": [piece.type for piece in spec.pieces],
        "tokenizer.ggml.add_space_prefix": add_prefix,
        "tokenizer.ggml.remove_extra_whitespaces": merge_spaces,
        "tokenizer.ggml.unknown_token_id": processor.unk_id(),
        "tokenizer.ggml.bos_token_id": processor.bos_id(),
        "tokenizer.ggml.eos_token_id": processor.eos_id(),
    }
    charsmap = spec.normalizer_spec.precompiled_charsmap
    if charsmap:
        metadata["tokenizer.ggml.precompiled_charsmap"] = list(charsmap)
    write(name, metadata, processor.encode)


RULES = [("\uff21", "A"), ("\uff11", "1"), ("\uff12", "2"), ("\ufb01", "fi"), ("e\u0301", "\u00e9"), ("\u00a0", " "),
         ("\u3000", " "), ("\t", " "), ("\n", " "), ("\r", " "), ("\u00bd", "1/2"), ("\u3002", "."), ("\u200d", ""),
         ("\u01c5", "D\u017e"), ("\U0001f600", ":-)")]


def unigram():
    rules = HERE / "rules.tsv"
    code = lambda text: " ".join(f"{ord(c):X}" for c in text)
    rules.write_text("".join(f"{code(a)}\t{code(b)}\n" for a, b in RULES))
    sentence_piece(
        "unigram", "t5", True, True, model_type="unigram", vocab_size=600,
        normalization_rule_tsv=str(rules), user_defined_symbols=["<mask>"],
    )
    rules.unlink()


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus() + ["한국어 हिन्दी में e\u0301"] * 50, trainer)
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)

    def phantom(token):
        if token in special:
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    metadata = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [phantom(token) for token in tokens],
        "tokenizer.ggml.token_type": [CONTROL] * 5 + [NORMAL] * (len(tokens) - 5),
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
    }
    write("word-piece", metadata, lambda text: tokenizer.encode(text).ids)


hugging_face_bpe("llama-bpe", True)
hugging_face_bpe("gpt-4o", False)
gemma_bpe()
sentence_piece("sentence-piece", "llama", True, False, model_type="bpe", vocab_size=800, byte_fallback=True,
               normalization_rule_name="identity", character_coverage=0.99, max_sentence_length=99999)
sentence_piece("sentence-piece-no-prefix", "llama", False, False, model_type="bpe", vocab_size=600, byte_fallback=True,
               normalization_rule_name="identity", character_coverage=0.98, split_by_whitespace=False, max_sentence_length=99999)
unigram()
word_piece()
