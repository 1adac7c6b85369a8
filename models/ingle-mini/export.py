#!/usr/bin/env python3
"""Write a checkpoint of train.py as GGUF: export.py RUN/final.pt RUN/tokenizer.json ingle-mini.gguf [--type f32]

--beside OTHER.pt=0.25 ... writes the mean of runs that share a beginning, weight by weight (Wortsman et al. 2022).
The layers' matrices are Q6_K, the embedding F16, norms F32. --type f32 leaves everything as trained, to see what the
blocks cost. The embedding is the output matrix too, and what it is multiplied with has one value of 93 among others of
0.1: a program that rounds those to 8 bits, as it does for Q6_K and Q8_0, loses the others, and answers fall apart.
"""
import argparse, json
import gguf, numpy as np, torch
from gguf import GGMLQuantizationType as T, LlamaFileType, TokenType
import data, kquants

# data.system and data.turn write the same. A tool's result comes back as a user's turn.
TEMPLATE = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- 'Tools:\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
    {{- '\\nTOOLS_END<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif message.role == 'assistant' and message.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function if call.function else call %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else (call.arguments | tojson) }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}""".replace("TOOLS_END", data.TOOLS_END.replace("\n", "\\n"))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint"), ap.add_argument("tokenizer"), ap.add_argument("gguf")
    ap.add_argument("--type", choices=["mix", "f32"], default="mix")
    ap.add_argument("--beside", metavar="CHECKPOINT=SHARE", nargs="+", default=[], help="other runs that share a beginning: the mean of all is written")
    a = ap.parse_args()
    state = torch.load(a.checkpoint, weights_only=False, map_location="cpu")
    others = [(torch.load(path, weights_only=False, map_location="cpu")["model"], float(share)) for path, share in (b.split("=") for b in a.beside)]
    own = 1 - sum(share for _, share in others)
    state["model"] = {k: own * p + sum(share * other[k] for other, share in others) for k, p in state["model"].items()}
    c = state["config"]
    w = gguf.GGUFWriter(a.gguf, "qwen3")
    w.add_name("ingle-mini")
    w.add_description("A very small model for demonstration, trained from scratch for Ingle")
    w.add_context_length(c["context"])
    w.add_embedding_length(c["hidden"])
    w.add_block_count(c["layers"])
    w.add_feed_forward_length(c["ffn"])
    w.add_head_count(c["heads"])
    w.add_head_count_kv(c["kv_heads"])
    w.add_key_length(c["head_dim"])
    w.add_value_length(c["head_dim"])
    w.add_rope_dimension_count(c["head_dim"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_layer_norm_rms_eps(c["eps"])
    w.add_vocab_size(c["vocab"])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_file_type(LlamaFileType.MOSTLY_Q6_K if a.type == "mix" else LlamaFileType.ALL_F32)

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

    worst = 0.0
    for name, p in state["model"].items():
        x = p.float().numpy()
        if a.type == "f32" or x.ndim < 2:
            w.add_tensor(name + ".weight", x)
            continue
        if name == "token_embd":
            w.add_tensor(name + ".weight", x.astype(np.float16))
            continue
        blocks = kquants.q6_k(x.reshape(-1, kquants.BLOCK))
        back = gguf.quants.dequantize(blocks, T.Q6_K).reshape(x.shape)
        worst = max(worst, float(np.sqrt(((back - x) ** 2).mean() / (x ** 2).mean())))
        w.add_tensor(name + ".weight", blocks.reshape(x.shape[:-1] + (-1,)), raw_dtype=T.Q6_K)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print(f"largest relative error of a tensor: {worst:.4f}; {state['at']}, dev loss {state['dev']:.4f}")


if __name__ == "__main__":
    main()
