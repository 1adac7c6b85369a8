#!/usr/bin/env python3
"""Write a checkpoint of train.py as GGUF: export.py RUN/final.pt RUN/tokenizer.json ingle-mini.gguf [--type f32]

Experts, query and key are Q4_K; embedding (which is the output too), value and attention output Q6_K; router
and norms F32. --type f32 leaves everything as trained, to see what the blocks cost.
"""
import argparse, json
import gguf, numpy as np, torch
from gguf import GGMLQuantizationType as T, LlamaFileType, TokenType
import data, kquants

TEMPLATE = ("{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
            "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}")
Q4 = ("attn_q", "attn_k", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
Q6 = ("token_embd", "attn_v", "attn_output")


def kind(name):
    last = name.split(".")[-1]
    return T.Q4_K if last in Q4 else T.Q6_K if last in Q6 else T.F32


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint"), ap.add_argument("tokenizer"), ap.add_argument("gguf")
    ap.add_argument("--type", choices=["mix", "f32"], default="mix")
    a = ap.parse_args()
    state = torch.load(a.checkpoint, weights_only=False, map_location="cpu")
    c = state["config"]
    w = gguf.GGUFWriter(a.gguf, "qwen3moe")
    w.add_name("ingle-mini")
    w.add_description("A very small story model, trained from scratch for Ingle")
    w.add_context_length(c["context"])
    w.add_embedding_length(c["hidden"])
    w.add_block_count(c["layers"])
    w.add_feed_forward_length(c["expert_ffn"])
    w.add_head_count(c["heads"])
    w.add_head_count_kv(c["kv_heads"])
    w.add_key_length(c["head_dim"])
    w.add_value_length(c["head_dim"])
    w.add_rope_dimension_count(c["head_dim"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_layer_norm_rms_eps(c["eps"])
    w.add_vocab_size(c["vocab"])
    w.add_expert_count(c["experts"])
    w.add_expert_used_count(c["top_k"])
    w.add_expert_feed_forward_length(c["expert_ffn"])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_file_type(LlamaFileType.MOSTLY_Q4_K_M if a.type == "mix" else LlamaFileType.ALL_F32)

    with open(a.tokenizer) as f:
        tok = json.load(f)["model"]
    pieces = sorted(tok["vocab"], key=tok["vocab"].get)
    assert [tok["vocab"][p] for p in pieces] == list(range(c["vocab"]))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(pieces)
    w.add_token_types([TokenType.CONTROL if p in data.SPECIAL else TokenType.NORMAL for p in pieces])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tok["merges"]])
    end, _, turn = (tok["vocab"][s] for s in data.SPECIAL)
    w.add_bos_token_id(end)
    w.add_eos_token_id(turn)
    w.add_pad_token_id(end)
    w.add_eot_token_id(turn)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    worst = {}
    for name, p in state["model"].items():
        x = p.float().numpy()
        t = kind(name) if a.type == "mix" else T.F32
        if t == T.F32:
            w.add_tensor(name + ".weight", x)
            continue
        blocks = (kquants.q4_k if t == T.Q4_K else kquants.q6_k)(x.reshape(-1, kquants.BLOCK))
        back = gguf.quants.dequantize(blocks, t).reshape(x.shape)
        worst[t.name] = max(worst.get(t.name, 0), float(np.sqrt(((back - x) ** 2).mean() / (x ** 2).mean())))
        w.add_tensor(name + ".weight", blocks.reshape(x.shape[:-1] + (-1,)), raw_dtype=t)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print("largest relative error of a tensor:", {k: round(v, 4) for k, v in worst.items()},
          f"; {state['seen']} tokens, {state['spent'] / 60:.1f} minutes, dev loss {state['dev']:.4f}")


if __name__ == "__main__":
    main()
