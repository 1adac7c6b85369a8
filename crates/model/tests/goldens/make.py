#!/usr/bin/env python3
"""Make the network goldens: tiny random models as GGUF, and the logits that Hugging Face transformers gives.

    pip install torch transformers gguf numpy
    make.py OUT_DIR

For every case in CASES it writes
    NAME.gguf     the model, all tensors F32, named and laid out as llama.cpp's converter does
    NAME.logits   float32, little-endian, [positions, vocab]: the logits after each prompt token
and one cases.json with the prompt of each case, the greedy continuation of it and the context to load for.
Seeds are fixed, so the same versions of torch and transformers write the same bytes.

Weights are drawn wide (logits of several units, norms away from 1, biases away from 0) and rounded to
8 bits of mantissa: errors show, and git packs the files to half. Epsilons and rotary bases are not the
usual ones, so that a reader that assumes them fails.

What differs between a transformers config and the GGUF keys
* Archs `llama`, `granite` and `smollm3` rotate neighbouring pairs (2i, 2i+1); transformers rotates (i, i + head_dim/2). The
  converter therefore reorders the rows of Q and K within each head, and so does `interleave` below.
  The Qwen archs keep the order of transformers and rotate halves.
* llama3 scaling has no metadata: it is a tensor `rope_freqs.weight` [head_dim/2] by which each frequency is
  divided.
* linear: `rope.scaling.type` = "linear" and `rope.scaling.factor`; positions are divided by the factor.
* yarn: `rope.scaling.type` = "yarn", `.factor`, `.original_context_length`, and where they are not 32 and 1
  `.yarn_beta_fast` and `.yarn_beta_slow`. Both sides take the correction range as floor(low), ceil(high),
  clamped to 0 .. head_dim - 1, and both multiply cos and sin by 0.1 ln(factor) + 1 unless told otherwise.
  Told otherwise: transformers' `attention_factor` replaces that product, while the GGUF key
  `rope.scaling.attn_factor` is a further factor on top of it (default 1), so the key to write is
  attention_factor / (0.1 ln(factor) + 1). The case `llama-yarn` has one. `yarn_ext_factor` is 1 with yarn.
  llama.cpp reads the two beta keys under a few other archs only and takes 32 and 1 here (measured: with
  those betas it agrees with transformers on `qwen2-yarn` within 0.01). The truth is the config, so Ingle
  must read them.
* Sliding window: `attention.sliding_window` = W; both count the token itself, a query at p sees
  p - W + 1 ..= p. llama.cpp ignores the key under arch `llama` (it attends to everything), so only the
  first W positions of the case `mistral` agree with it; the truth here is transformers.
* Qwen3-MoE: llama.cpp always divides the chosen experts' weights by their sum under arch `qwen3moe`. A
  model with norm_topk_prob = false cannot be told apart in the file, and no such case is here.
* `rope.dimension_count` is written for llama and phi3 and left out for the others, as the converter does; the
  default is `attention.key_length`, and where that is absent too, embedding_length / head_count.
* Gemma: transformers multiplies normed rows by 1 + weight; files hold the sum. The factor on embeddings is
  sqrt(hidden_size), rounded by transformers to the type that the weights are computed in (float32 here) and
  not rounded by llama.cpp. Neither query_pre_attn_scalar nor the pattern of windows has a key that the
  converter writes: a file's scale is 1 / sqrt(head_dim), but for the 27B models 1 / sqrt(hidden_size / heads)
  (the case `gemma2-scale` has the key `attention.scale` all the same, which llama.cpp does not read there);
  the last of two (Gemma 2) or six layers (Gemma 3) has no window, and in Gemma 3 those with a window turn by
  `rope.freq_base_swa`, 10000 where it is absent, unscaled. llama.cpp looks GELU up in a table of half floats.
* Phi-3: queries, keys and values are one tensor, gate and up another; `rope.scaling.type` is not written,
  the tensors rope_factors_short and rope_factors_long say that it is longrope. transformers takes the long
  factors where the sequence is longer than `original_context_length`, llama.cpp where the context is; a case
  here stays on one side of it and names the context to load for. llama.cpp does not use Phi-3's window.
* Granite's attention_multiplier, embedding_multiplier, residual_multiplier and logits_scaling (a divisor) have
  keys. In SmolLM3 every fourth layer turns nothing by its position, which has no key.
* Mixtral is arch `llama` with `expert_count`; expert_feed_forward_length is absent and feed_forward_length is
  an expert's. Files of early 2024 have a tensor for each expert, as the case `mixtral-split` has;
  llama.cpp does not read them any more.
"""
import json
import math
import pathlib
import sys

import gguf
import numpy as np
import torch
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GemmaConfig,
                          GemmaForCausalLM, GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, MixtralConfig,
                          MixtralForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM,
                          SmolLM3Config, SmolLM3ForCausalLM)

N_GREEDY = 16
YARN_OWN_FACTOR = 1.3  # transformers' attention_factor in `llama-yarn`

# name: (arch, config class, model class, config, prompt length, seed)
CASES = {
    "llama": ("llama", LlamaConfig, LlamaForCausalLM, dict(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0)), 150, 31),
    "llama-tied-llama3": ("llama", LlamaConfig, LlamaForCausalLM, dict(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=32, rms_norm_eps=1e-4, max_position_embeddings=512,
        tie_word_embeddings=True,
        rope_parameters=dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64)), 131, 12),
    "llama-linear": ("llama", LlamaConfig, LlamaForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="linear", rope_theta=1000.0, factor=4.0)), 113, 13),
    "llama-yarn": ("llama", LlamaConfig, LlamaForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=64, rms_norm_eps=1e-5, max_position_embeddings=256,
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, attention_factor=YARN_OWN_FACTOR,
                             original_max_position_embeddings=64)), 127, 14),
    "mistral": ("llama", MistralConfig, MistralForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, max_position_embeddings=256,
        tie_word_embeddings=False, sliding_window=24,
        rope_parameters=dict(rope_type="default", rope_theta=20000.0)), 150, 15),
    "qwen2-tied": ("qwen2", Qwen2Config, Qwen2ForCausalLM, dict(
        vocab_size=104, hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-3, max_position_embeddings=256, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), 137, 16),
    "qwen2-yarn": ("qwen2", Qwen2Config, Qwen2ForCausalLM, dict(
        vocab_size=96, hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, rms_norm_eps=1e-6, max_position_embeddings=256, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="yarn", rope_theta=50000.0, factor=8.0, beta_fast=8.0, beta_slow=0.5,
                             original_max_position_embeddings=32)), 121, 17),
    "qwen3": ("qwen3", Qwen3Config, Qwen3ForCausalLM, dict(
        vocab_size=96, hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-5, max_position_embeddings=256,
        tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), 130, 18),
    "qwen3moe": ("qwen3moe", Qwen3MoeConfig, Qwen3MoeForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=64, moe_intermediate_size=32, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-6,
        max_position_embeddings=256, tie_word_embeddings=False, num_experts=8, num_experts_per_tok=2,
        norm_topk_prob=True, rope_parameters=dict(rope_type="default", rope_theta=10000.0)), 129, 19),
    "gemma": ("gemma", GemmaConfig, GemmaForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-5, max_position_embeddings=256,
        hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0)), 120, 20),
    "gemma2": ("gemma2", Gemma2Config, Gemma2ForCausalLM, dict(
        vocab_size=96, hidden_size=16, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256, rms_norm_eps=1e-5,
        max_position_embeddings=256, sliding_window=24, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0)), 140, 21),
    "gemma2-scale": ("gemma2", Gemma2Config, Gemma2ForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=9, rms_norm_eps=1e-5,
        max_position_embeddings=256, sliding_window=70, attn_logit_softcapping=5.0,
        final_logit_softcapping=10.0, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=2000.0)), 140, 22),
    "gemma3": ("gemma3", Gemma3TextConfig, Gemma3ForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=7, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=32, rms_norm_eps=1e-5,
        max_position_embeddings=256, sliding_window=20, tie_word_embeddings=True,
        rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=10000.0),
                             full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000000.0))), 150, 23),
    "phi3": ("phi3", Phi3Config, Phi3ForCausalLM, dict(
        vocab_size=96, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, rms_norm_eps=1e-4, max_position_embeddings=256, sliding_window=40,
        original_max_position_embeddings=256, pad_token_id=0, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0)), 130, 24),
    "phi3-long": ("phi3", Phi3Config, Phi3ForCausalLM, dict(
        vocab_size=96, hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=512, pad_token_id=0,
        original_max_position_embeddings=64, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                             original_max_position_embeddings=64, short_factor=[1.0, 1.1, 1.2, 1.3, 1.5, 2.0],
                             long_factor=[1.1, 1.5, 2.5, 4.0, 7.0, 8.5])), 150, 25),
    "phi3-short": ("phi3", Phi3Config, Phi3ForCausalLM, dict(
        vocab_size=96, hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=512, pad_token_id=0,
        original_max_position_embeddings=256, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=256,
                             short_factor=[1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 2.1, 2.2],
                             long_factor=[1.1, 1.5, 2.5, 4.0, 7.0, 8.5, 9.0, 9.5])), 130, 26),
    "mixtral": ("llama", MixtralConfig, MixtralForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=False,
        num_local_experts=4, num_experts_per_tok=2, sliding_window=None,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), 129, 27),
    "mixtral-split": ("llama", MixtralConfig, MixtralForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=False,
        num_local_experts=3, num_experts_per_tok=2, sliding_window=None,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), 121, 28),
    "granite": ("granite", GraniteConfig, GraniteForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=True,
        embedding_multiplier=2.0, residual_multiplier=0.7, logits_scaling=0.8, attention_multiplier=0.2,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0)), 120, 29),
    "smollm3": ("smollm3", SmolLM3Config, SmolLM3ForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=5, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=True,
        use_sliding_window=False, pad_token_id=0,
        rope_parameters=dict(rope_type="default", rope_theta=50000.0)), 120, 30),
}

# Archs whose files turn neighbouring pairs
NEIGHBOURS = ("llama", "granite", "smollm3")

# transformers' names inside a layer -> GGUF's
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp", "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
}
# ... where they mean something else in Gemma 2 and 3
POST_NORM_NAMES = {
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def few_bits(x):
    """x with 8 bits of mantissa, as float32 (what bfloat16 holds)."""
    return x.to(torch.bfloat16).to(torch.float32)


def fill(model, seed):
    """Wide random weights; the order is that of the sorted names, so it does not hang on the library."""
    g = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings  # then a large embedding would only repeat its token
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if "norm" in name:
                x = (0.0 if is_gemma(model.config) else 1.0) + 0.3 * torch.randn(p.shape, generator=g)
            elif name.endswith("bias"):
                x = 0.5 * torch.randn(p.shape, generator=g)
            elif "embed_tokens" in name:
                size = 0.25 if tied else 0.6
                if is_gemma(model.config):  # the factor makes it of size 1 again
                    size = 1.0 / math.sqrt(model.config.hidden_size)
                x = size * torch.randn(p.shape, generator=g)
            elif name.endswith("mlp.gate.weight"):
                x = 0.5 * torch.randn(p.shape, generator=g)
            else:  # keeps the size of what passes through it, somewhat larger
                x = 1.3 / math.sqrt(p.shape[-1]) * torch.randn(p.shape, generator=g)
            p.copy_(few_bits(x))


def is_gemma(config):
    return config.model_type.startswith("gemma")


def rope_of(config):
    """The rotary parameters of the layers that see everything."""
    return config.rope_parameters.get("full_attention", config.rope_parameters)


def interleave(w, heads):
    """Rows of Q or K from halves (i, i + head_dim/2) to neighbours (2i, 2i + 1), head by head."""
    half = w.shape[0] // heads // 2
    return np.ascontiguousarray(np.swapaxes(w.reshape(heads, 2, half, -1), 1, 2)).reshape(w.shape)


def llama3_factors(rope, head_dim):
    """[head_dim/2] divisors of the frequencies (Llama 3.1's scaling, written from its definition)."""
    out, old = [], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for i in range(head_dim // 2):
        turns = old * rope["rope_theta"] ** (-2 * i / head_dim) / (2 * math.pi)  # over the old context
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        out.append(1.0 / ((1.0 - smooth) / rope["factor"] + smooth))
    return np.array(out, np.float32)


def tensors(name_of_case, arch, model, config):
    """(GGUF name, float32 array) of every tensor of the file."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, p in model.named_parameters():
        w = p.detach().numpy()
        parts = name.removeprefix("model.").split(".")
        if is_gemma(config) and "norm" in name:
            w = w + 1.0
        if parts[0] == "embed_tokens":
            yield "token_embd.weight", w
        elif parts[0] == "lm_head":
            yield "output.weight", w
        elif parts[0] == "norm":
            yield "output_norm.weight", w
        elif parts[-1] in ("gate_up_proj", "down_proj") and name_of_case == "mixtral-split":
            half = config.intermediate_size
            for i, expert in enumerate(w):
                split = dict(down=expert) if parts[-1] == "down_proj" else dict(gate=expert[:half], up=expert[half:])
                for short, matrix in split.items():
                    yield f"blk.{parts[1]}.ffn_{short}.{i}.weight", np.ascontiguousarray(matrix)
        elif parts[-1] == "gate_up_proj":  # [experts, 2 * ffn, hidden]
            half = w.shape[1] // 2
            yield f"blk.{parts[1]}.ffn_gate_exps.weight", np.ascontiguousarray(w[:, :half])
            yield f"blk.{parts[1]}.ffn_up_exps.weight", np.ascontiguousarray(w[:, half:])
        elif parts[-1] == "down_proj":
            yield f"blk.{parts[1]}.ffn_down_exps.weight", w
        else:
            short = LAYER_NAMES.get(".".join(parts[2:-1]))
            if arch in ("gemma2", "gemma3"):
                short = POST_NORM_NAMES.get(".".join(parts[2:-1]), short)
            if arch in NEIGHBOURS and short in heads:
                w = interleave(w, heads[short])
            yield f"blk.{parts[1]}.{short}.{parts[-1]}", w
    rope = rope_of(config)
    if rope["rope_type"] == "llama3":
        yield "rope_freqs.weight", llama3_factors(rope, config.head_dim)
    if rope["rope_type"] == "longrope":
        yield "rope_factors_long.weight", np.array(rope["long_factor"], np.float32)
        yield "rope_factors_short.weight", np.array(rope["short_factor"], np.float32)


def write_rope(w, config):
    rope = rope_of(config)
    if not (is_gemma(config) and rope["rope_theta"] == 10000.0):  # as the converter does
        w.add_rope_freq_base(rope["rope_theta"])
    kind = rope["rope_type"]
    if kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    elif kind == "longrope":
        old = rope["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(old)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(config.max_position_embeddings / old) / math.log(old)))
    elif kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if rope.get("beta_fast") is not None:
            w.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
            w.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        if rope.get("attention_factor") is not None:
            w.add_rope_scaling_attn_factors(rope["attention_factor"] / (0.1 * math.log(rope["factor"]) + 1.0))


def write_vocabulary(w, size, arch):
    """Byte-level BPE over newline, space and the printable bytes: enough to load, and to print what came out."""
    pieces = ["\u010a", "\u0120"] + [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 172)]
    tokens = ["<unk>", "<s>", "</s>"] + pieces[:size - 4] + ["\u0120a"]
    if arch == "phi3":  # without this one llama.cpp does not load a phi3 file
        tokens[-2] = "<|endoftext|>"
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(kinds + [gguf.TokenType.NORMAL] * (size - 3))
    w.add_token_merges(["\u0120 a"])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)


def write_gguf(path, name, arch, model, config):
    w = gguf.GGUFWriter(path, arch)
    w.add_name(f"oracle {name}")
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if head_dim * config.num_attention_heads != config.hidden_size:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch in NEIGHBOURS:
        w.add_rope_dimension_count(head_dim)
    if arch == "granite":
        w.add_attention_scale(config.attention_multiplier)
        w.add_embedding_scale(config.embedding_multiplier)
        w.add_residual_scale(config.residual_multiplier)
        w.add_logit_scale(config.logits_scaling)
    if arch == "qwen3moe":
        w.add_expert_count(config.num_experts)
        w.add_expert_used_count(config.num_experts_per_tok)
        w.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch == "llama" and getattr(config, "sliding_window", None):
        w.add_sliding_window(config.sliding_window)
    if arch == "phi3":
        w.add_rope_dimension_count(int(head_dim * rope_of(config).get("partial_rotary_factor", 1.0)))
        w.add_sliding_window(config.sliding_window or 0)
    if arch in ("gemma2", "gemma3"):
        w.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        w.add_final_logit_softcapping(config.final_logit_softcapping)
        if config.query_pre_attn_scalar != head_dim:
            w.add_attention_scale(config.query_pre_attn_scalar ** -0.5)
    if name.startswith("mixtral"):
        w.add_expert_count(config.num_local_experts)
        w.add_expert_used_count(config.num_experts_per_tok)
    write_rope(w, config)
    write_vocabulary(w, config.vocab_size, arch)
    for tensor, data in tensors(name, arch, model, config):
        if data.dtype != np.float32 or not np.isfinite(data).all():
            sys.exit(f"{name}: {tensor} is {data.dtype} or not finite")
        w.add_tensor(tensor, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].float()


def check_routes(name, model, tokens):
    """A near tie between the last chosen expert and the next would make the golden a matter of luck."""
    gaps = []

    def look(module, inputs, _):
        p = torch.softmax(inputs[0].reshape(-1, inputs[0].shape[-1]) @ module.weight.T, dim=-1)
        top = p.topk(model.config.num_experts_per_tok + 1, dim=-1).values
        gaps.append((top[:, -2] - top[:, -1]).min().item())

    hooks = [layer.mlp.gate.register_forward_hook(look) for layer in model.model.layers]
    logits_of(model, tokens)
    for h in hooks:
        h.remove()
    if len(gaps) != model.config.num_hidden_layers or min(gaps) < 1e-5:
        sys.exit(f"{name}: the routes are nearly tied ({gaps}): choose another seed")


def make(out, name):
    arch, config_class, model_class, values, n_prompt, seed = CASES[name]
    config = config_class(**values, bos_token_id=1, eos_token_id=2)
    model = model_class._from_config(config, attn_implementation="eager").float().eval()
    fill(model, seed)
    g = torch.Generator().manual_seed(1000 + seed)
    tokens = [1] + torch.randint(3, config.vocab_size, (n_prompt - 1,), generator=g).tolist()
    if arch == "qwen3moe" or name.startswith("mixtral"):
        check_routes(name, model, tokens)
    logits = logits_of(model, tokens)
    spread = logits.std().item()
    if not torch.isfinite(logits).all() or not 0.8 < spread < 20:
        sys.exit(f"{name}: logits have a deviation of {spread}: change the weights")
    path, greedy, gap = list(tokens), [], math.inf
    for _ in range(N_GREEDY):
        best = logits_of(model, path)[-1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        greedy.append(best.indices[0].item())
        path.append(greedy[-1])
    if gap < 2e-3:
        sys.exit(f"{name}: the greedy continuation is nearly tied ({gap}): choose another seed")
    write_gguf(out / f"{name}.gguf", name, arch, model, config)
    logits.numpy().astype("<f4").tofile(out / f"{name}.logits")
    size = (out / f"{name}.gguf").stat().st_size
    print(f"{name:18} {size / 1e3:6.0f} KB, {len(tokens)} positions, logits deviate by {spread:.2f}, "
          f"greedy by at least {gap:.3f}: {greedy}")
    in_llama_cpp = len(tokens)  # how many of the first positions llama.cpp gets right: see above
    if arch == "llama" and getattr(config, "sliding_window", None):
        in_llama_cpp = config.sliding_window
    if rope_of(config).get("beta_fast") is not None or name == "gemma2-scale":
        in_llama_cpp = 1
    if name == "phi3":
        in_llama_cpp = config.sliding_window
    if name == "mixtral-split":
        in_llama_cpp = 0
    context = config.max_position_embeddings
    if name == "phi3-short":
        context = config.original_max_position_embeddings
    return dict(name=name, arch=arch, vocab=config.vocab_size, in_llama_cpp=in_llama_cpp, context=context,
                tokens=tokens, greedy=greedy)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cases = [make(out, name) for name in CASES]
    lines = ",\n".join(json.dumps(c) for c in cases)
    (out / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
