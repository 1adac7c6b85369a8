"""Writes NAME.json: small tokenizers as Hugging Face saves them, and texts with the ids that its library gives.

    pip install tokenizers transformers sentencepiece protobuf && python make.py TEXTFILE

TEXTFILE is any plain English text of some hundred kilobytes; its words decide the tokens.
"""

import base64
import io
import json
import sys
from pathlib import Path

import sentencepiece as spm
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "vocabulary"))
from make_splits import NASTY, texts  # noqa: E402

EXTRA = ["Once upon a time, there was a little girl named Lily.", "", " ", "  two  spaces  ", "<s>again</s> and <mask> x",
         "e\u0301 A\u030a \u1112\u1161\u11ab", "tab\tnew\nline\r\n", "<|user|>  hi<|user|>", "ﬁ ½ Ⅷ ａｂｃ",
         "x<|user|> y", "\u00a0nbsp\u3000wide", "日本語 한국어 العربية", "12345 1,000.5", "I'm they'LL"]
CASES = [text.replace("\0", "") for text in texts()] + EXTRA
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CUSTOM = r"\p{L}+'?\p{L}*|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def corpus():
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()[:3000]
    return lines + [text for text in NASTY if "\n" not in text] * 8


def write(name, tokenizer, rows=None, config=None, **files):
    """`rows`: those of the embedding, some more than there are tokens."""
    rows = rows or tokenizer.get_vocab_size(with_added_tokens=True) + 3
    cases = [[text, tokenizer.encode(text).ids] for text in CASES]
    files = dict(files)
    if "tokenizer.model" not in files:
        files["tokenizer.json"] = json.loads(tokenizer.to_str())
    if config:
        files["tokenizer_config.json"] = config
    text = json.dumps(dict(rows=rows, files=files, cases=cases), separators=(",", ":"), ensure_ascii=True)
    (HERE / f"{name}.json").write_text(text.replace("],[", "],\n[") + "\n")
    print(name, rows)


def byte_level(name, parts, normalizer=None, bos=False, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts) if len(parts) > 1 else parts[0]
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    if options.get("ignore_merges"):  # a token that no merge makes
        model = json.loads(tokenizer.to_str())["model"]
        model["vocab"]["\u0120forest"] = len(model["vocab"])
        tokenizer.model = models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], **options)
    tokenizer.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False, rstrip=name == "custom")])
    if bos:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])])
    write(name, tokenizer, config=dict(bos_token="<s>", eos_token={"content": "</s>"}))


def train(kind, **options):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=model, model_type=kind,
                                   vocab_size=700, character_coverage=0.98, hard_vocab_limit=False,
                                   minloglevel=2, **options)
    return model.getvalue()


def from_sentencepiece(name, prepend, metaspace):
    """As the Llamas: all pairs of tokens whose joined text is a token, the best token first."""
    proto = train("bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                  split_by_whitespace=True)
    sp = spm.SentencePieceProcessor(model_proto=proto)
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    merges = []
    for piece, i in vocab.items():
        if sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i):
            continue
        local = [(piece[:n], piece[n:]) for n in range(1, len(piece)) if piece[:n] in vocab and piece[n:] in vocab]
        merges += [(i, vocab[a], vocab[b], a, b) for a, b in local]
    merges = [(a, b) for _, _, _, a, b in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if prepend:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=metaspace, split=False)
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    config = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    write(name, tokenizer, config=config)


def unigram():
    """As XLM-R."""
    proto = train("unigram", normalization_rule_name="nmt_nfkc")
    sp = spm.SentencePieceProcessor(model_proto=proto)
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = pb.ModelProto.FromString(proto)
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(sp.id_to_piece(i), sp.get_score(i)) for i in range(3, sp.get_piece_size())] + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap),
        normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<s>", "<pad>", "</s>", "<unk>")]
                                 + [AddedToken("<mask>", special=True, lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>",
                                                             special_tokens=[("<s>", 0), ("</s>", 2)])
    write("unigram", tokenizer, config=dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
                                            sep_token="</s>", cls_token="<s>", mask_token="<mask>"))


def word_piece(name, lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    write(name, tokenizer, config=dict(cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]"))


def main():
    split = lambda pattern: pre_tokenizers.Split(Regex(pattern), "isolated")  # noqa: E731
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level("gpt2", [pre_tokenizers.ByteLevel(add_prefix_space=False)])
    byte_level("llama3", [split(LLAMA3), level], bos=True, ignore_merges=True)
    byte_level("qwen2", [split(LLAMA3.replace("{1,3}", "")), level], normalizers.NFC())
    byte_level("smollm", [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    byte_level("custom", [split(CUSTOM), level])
    from_sentencepiece("llama2", True, None)
    from_sentencepiece("mistral", False, "first")
    from_sentencepiece("metaspace", False, "always")
    from_sentencepiece("gemma", False, None)
    unigram()
    word_piece("bert-uncased", True)
    word_piece("bert-cased", False)


main()
