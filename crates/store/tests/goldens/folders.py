#!/usr/bin/env python3
"""Save the models of crates/model/tests/goldens as Hugging Face folders, with transformers' own save_pretrained.

    pip install torch transformers tokenizers gguf numpy
    folders.py OUT_DIR [NAME...]

The weights are those of the GGUF goldens (same seeds), which hold 8 bits of mantissa, so BF16 keeps them exactly;
what a folder becomes must be equal to the GGUF file, tensor by tensor and key by key.
`llama` is F32 in several files, `mistral` F16, `qwen3moe-stacked` has its experts in the stacks of transformers 5. Encoders (make_encoders.py) are made when named.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "../../../model/tests/goldens"))
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import make

torch.set_num_threads(1)


def save_tokenizer(folder, size):
    """The vocabulary that make.py writes, as transformers would."""
    pieces = ["\u010a", "\u0120"] + [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 172)]
    tokens = ["<unk>", "<s>", "</s>"] + pieces[:size - 4] + ["\u0120a"]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [("\u0120", "a")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in tokens[:3]])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", tokenizer_class="PreTrainedTokenizerFast")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def stack_experts(path):
    """Experts one by one -> stacks, as transformers 5 holds them in memory."""
    old, new, stacks = load_file(path), {}, {}
    for name, x in old.items():
        if ".mlp.experts." not in name:
            new[name] = x
            continue
        layer, rest = name.split(".mlp.experts.")
        number, kind, _ = rest.split(".")
        stacks.setdefault(layer, {}).setdefault(int(number), {})[kind] = x
    for layer, experts in stacks.items():
        ordered = [experts[i] for i in range(len(experts))]
        both = [torch.cat([e["gate_proj"], e["up_proj"]]) for e in ordered]
        new[f"{layer}.mlp.experts.gate_up_proj"] = torch.stack(both)
        new[f"{layer}.mlp.experts.down_proj"] = torch.stack([e["down_proj"] for e in ordered])
    save_file({k: v.contiguous() for k, v in new.items()}, path, {"format": "pt"})


def save(out, name):
    case = make.CASES[name]
    config_class, model_class, values, seed = case[1], case[2], case[3], case[5]
    model = model_class._from_config(config_class(**values, bos_token_id=1, eos_token_id=2)).float().eval()
    make.fill(model, seed)
    dtypes = {"llama": torch.float32, "mistral": torch.float16}
    model = model.to(dtypes.get(name, torch.bfloat16))
    folder = out / name
    model.save_pretrained(folder, max_shard_size="60KB" if name == "llama" else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_tokenizer(folder, values["vocab_size"])
    if name == "qwen3moe":
        stacked = out / f"{name}-stacked"
        stacked.mkdir(exist_ok=True)
        for file in folder.iterdir():
            (stacked / file.name).write_bytes(file.read_bytes())
        stack_experts(stacked / "model.safetensors")


def save_words(folder, size, words=()):
    """The vocabulary of words that make_encoders.py writes."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = special + [f"w{i}" for i in range(size - 5)]
    for i, word in dict(words).items():
        tokens[i] = word
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    roles = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")
    (folder / "tokenizer_config.json").write_text(json.dumps(roles))


def save_encoder(out, name):
    import make_encoders
    arch, config, kind, pooling, seed = make_encoders.CASES[name]
    model = kind(config).eval()
    make_encoders.fill(model, seed)
    folder = out / name
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    words = {make_encoders.YES: "yes", make_encoders.NO: "no"} if name == "qwen3-reranker" else {}
    save_words(folder, config.vocab_size, words)
    if pooling != "rank":
        switches = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token",
                    "last": "pooling_mode_lasttoken"}
        (folder / "1_Pooling").mkdir(exist_ok=True)
        text = json.dumps({key: mode == pooling for mode, key in switches.items()})
        (folder / "1_Pooling/config.json").write_text(text)


def main():
    out = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:] or make.CASES:
        save(out, name) if name in make.CASES else save_encoder(out, name)


if __name__ == "__main__":
    main()
