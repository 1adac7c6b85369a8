#!/usr/bin/env python3
"""Make the goldens of encoders: tiny random models as GGUF, and what Hugging Face transformers makes of texts.

    pip install torch transformers gguf numpy
    make_encoders.py OUT_DIR

For every case it writes NAME.gguf (all tensors F32, named and laid out as llama.cpp's converter does), and one
encoders.json with, for every case, its texts as tokens (and where the second of a pair begins) and the pooled vector
(before normalising) or the scores of each. Seeds are fixed.

What differs between a transformers model and the file
* XLM-RoBERTa numbers positions from pad + 1; the file's table begins there.
* nomic-bert: queries, keys and values are one tensor in the file, `attn_qkv`, one below the other.
* A reranker made of Qwen3 has the head's rows of yes and no as `cls.output`; its score is their softmax.
* BERT's classifier reads tanh(pooler), RoBERTa's tanh(dense): both are `cls` and `cls.output`.
"""
import json
import pathlib
import sys

import gguf
import torch
from transformers import (BertConfig, BertForSequenceClassification, BertModel, NomicBertConfig, NomicBertModel,
                          Qwen3Config, Qwen3ForCausalLM, XLMRobertaConfig, XLMRobertaForSequenceClassification)

from make import few_bits

BERT = dict(vocab_size=120, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=160, layer_norm_eps=1e-5, hidden_act="gelu")
QWEN3 = dict(vocab_size=120, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, max_position_embeddings=160,
             tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=5000.0))
YES, NO = 17, 44

# name: (arch, config, model class, pooling, seed)
CASES = {
    "bert-mean": ("bert", BertConfig(**BERT), BertModel, "mean", 1),
    "bert-cls": ("bert", BertConfig(**BERT, type_vocab_size=2), BertModel, "cls", 2),
    "bert-rank": ("bert", BertConfig(**BERT, num_labels=1), BertForSequenceClassification, "rank", 3),
    "bert-labels": ("bert", BertConfig(**BERT, num_labels=3), BertForSequenceClassification, "rank", 4),
    "xlm-roberta-rank": ("bert", XLMRobertaConfig(**{**BERT, "max_position_embeddings": 162}, type_vocab_size=1,
                                                  pad_token_id=1, num_labels=1),
                         XLMRobertaForSequenceClassification, "rank", 5),
    "nomic-bert": ("nomic-bert", NomicBertConfig(
        vocab_size=120, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=160, layer_norm_eps=1e-5, type_vocab_size=2,
        rope_parameters=dict(rope_type="default", rope_theta=1000.0)), NomicBertModel, "mean", 6),
    "qwen3-embedding": ("qwen3", Qwen3Config(**QWEN3), Qwen3ForCausalLM, "last", 7),
    "qwen3-reranker": ("qwen3", Qwen3Config(**QWEN3), Qwen3ForCausalLM, "rank", 8),
}

POOLING = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS, "last": gguf.PoolingType.LAST,
           "rank": gguf.PoolingType.RANK}

NAMES = {
    "embeddings.word_embeddings": "token_embd", "embed_tokens": "token_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.position_embeddings": "position_embd",
    "embeddings.LayerNorm": "token_embd_norm", "norm": "output_norm", "lm_head": "output",
    "pooler.dense": "cls", "classifier.dense": "cls", "classifier.out_proj": "cls.output", "classifier": "cls.output",
    # inside a layer
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    # nomic-bert has the latter two names for norms behind the blocks
    "post_attention_layernorm ": "attn_output_norm", "post_mlp_layernorm": "layer_output_norm",
}


def fill(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            is_norm = "norm" in name.lower() and name.endswith("weight")
            size = 0.3 if name.endswith("bias") or is_norm else (0.8 if "embed" in name else 0.25)
            p.copy_(few_bits(torch.randn_like(p) * size + (1.0 if is_norm else 0.0)))


def tensors(arch, model, pooling):
    """GGUF name and data of every weight."""
    state = dict(model.state_dict())
    for name, data in state.items():
        stem, _, kind = name.rpartition(".")
        for prefix in ("model.", "bert.", "roberta."):
            stem = stem.removeprefix(prefix)
        if kind not in ("weight", "bias") or (stem == "pooler.dense" and pooling != "rank"):
            continue
        if stem == "lm_head":  # tied
            continue
        block, layer = "", stem.removeprefix("encoder.")
        if layer.startswith(("layer.", "layers.")):
            _, i, stem = layer.split(".", 2)
            block = f"blk.{i}."
            if arch == "nomic-bert" and stem == "post_attention_layernorm":
                stem += " "
            if arch == "nomic-bert" and stem in ("self_attn.k_proj", "self_attn.v_proj"):
                continue
            if arch == "nomic-bert" and stem == "self_attn.q_proj":
                parts = [state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
                yield f"{block}attn_qkv.weight", torch.cat(parts)
                continue
        if stem == "embeddings.position_embeddings" and model.config.model_type == "xlm-roberta":
            data = data[model.config.pad_token_id + 1:]
        yield f"{block}{NAMES[stem]}.{kind}", data
    if arch == "qwen3" and pooling == "rank":
        yield "cls.output.weight", model.lm_head.weight[[YES, NO]]


def write(path, name, arch, config, model, pooling):
    w = gguf.GGUFWriter(path, arch)
    w.add_name(name)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(160)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_pooling_type(POOLING[pooling])
    if arch == "qwen3":
        w.add_head_count_kv(config.num_key_value_heads)
        w.add_key_length(config.head_dim)
        w.add_value_length(config.head_dim)
        w.add_layer_norm_rms_eps(config.rms_norm_eps)
        w.add_rope_freq_base(config.rope_parameters["rope_theta"])
        if pooling == "rank":
            w.add_classifier_output_labels(["yes", "no"])
    else:
        w.add_causal_attention(False)
        w.add_layer_norm_eps(config.layer_norm_eps)
    if arch == "nomic-bert":
        w.add_rope_freq_base(config.rope_parameters["rope_theta"])
    # A vocabulary of words, so that llama.cpp opens the file too.
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"▁w{i}" for i in range(config.vocab_size - 5)]
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list(words)
    w.add_token_types([3] * 5 + [1] * (len(words) - 5))
    w.add_token_type_count(getattr(config, "type_vocab_size", 1))
    w.add_bos_token_id(2)
    w.add_unk_token_id(1)
    w.add_sep_token_id(3)
    w.add_pad_token_id(0)
    w.add_mask_token_id(4)
    for tensor, data in tensors(arch, model, pooling):
        w.add_tensor(tensor, data.detach().float().contiguous().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def texts(config, seed):
    g = torch.Generator().manual_seed(seed)
    for length, second in ((1, None), (7, None), (64, None), (65, None), (160, None), (23, 9), (130, 100)):
        # Not the padding tokens 0 and 1: transformers numbers the positions of RoBERTa by them.
        yield torch.randint(2, config.vocab_size, (length,), generator=g).tolist(), second


def numbers(arch, model, pooling, tokens, second):
    ids = torch.tensor([tokens])
    more = {}
    if second is not None and getattr(model.config, "type_vocab_size", 1) > 1:
        more["token_type_ids"] = torch.tensor([[int(i >= second) for i in range(len(tokens))]])
    with torch.no_grad():
        if pooling == "rank":
            logits = model(ids, **more).logits[0]
            return torch.softmax(logits[-1, [YES, NO]], 0) if arch == "qwen3" else logits
        hidden = (model.model if arch == "qwen3" else model)(ids, **more).last_hidden_state[0]
        return {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]


def main():
    out, cases = pathlib.Path(sys.argv[1]), []
    for name, (arch, config, kind, pooling, seed) in CASES.items():
        config._attn_implementation = "eager"
        model = kind(config).eval()
        fill(model, seed)
        write(out / f"{name}.gguf", name, arch, config, model, pooling)
        rows = []
        for tokens, second in texts(config, seed):
            values = numbers(arch, model, pooling, tokens, second).tolist()
            rows.append(dict(tokens=tokens, second=second, values=[float(f"{x:.7g}") for x in values]))
        cases.append(dict(name=name, arch=arch, pooling=pooling, texts=rows))
        print(name, rows[1]["values"][:4])
    (out / "encoders.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
