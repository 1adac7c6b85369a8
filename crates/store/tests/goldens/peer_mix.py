"""Asks llama.cpp which type each tensor takes: `python peer_mix.py LIBLLAMA.so` (libggml-base.so beside it).

peer_mix.txt   CASE IMPORTANCE NAME TYPES: the types of the tensors in the order of `by_part`, runs of one type
               together, as `3xQ4_K,1xQ6_K`. The models are those that `model` makes of `MODELS`; the test of the
               same name makes them again.
"""

import ctypes as c
import itertools
import pathlib
import sys
import tempfile

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent
NAMES = {0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 11: "q3_k_s",
         12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m", 18: "q6_k",
         21: "q2_k_s", 25: "iq4_nl", 30: "iq4_xs", 32: "bf16", 38: "mxfp4_moe"}


class Params(c.Structure):
    _fields_ = [("nthread", c.c_int32), ("ftype", c.c_int), ("output_type", c.c_int), ("embedding_type", c.c_int)] + [
        (name, c.c_bool)
        for name in ["allow_requantize", "quantize_output", "only_copy", "pure", "keep_split", "dry_run"]
    ] + [(name, c.c_void_p) for name in ["imatrix", "overrides", "types", "prune"]]


class Importance(c.Structure):
    _fields_ = [("name", c.c_char_p), ("data", c.c_void_p), ("size", c.c_size_t)]


def model(arch, layers, width, heads, kv_heads, experts, tied, fused):
    """Metadata and tensors as (name, shape): columns as in the real thing, and two rows."""
    keys = {"block_count": layers, "context_length": 64, "embedding_length": width, "feed_forward_length": 2 * width,
            "attention.head_count": heads, "attention.head_count_kv": kv_heads,
            "attention.layer_norm_rms_epsilon": 1e-5}
    if experts:
        keys |= {"expert_count": experts, "expert_used_count": 2, "expert_feed_forward_length": width}
    tensors = [("token_embd.weight", (width, 2)), ("output_norm.weight", (width,))]
    if not tied:
        tensors.append(("output.weight", (width, 2)))
    for i in range(layers):
        attention = ["attn_qkv"] if fused else ["attn_q", "attn_k", "attn_v"]
        tensors.append((f"blk.{i}.attn_norm.weight", (width,)))
        tensors += [(f"blk.{i}.{name}.weight", (width, 2)) for name in attention + ["attn_output"]]
        if experts:
            tensors.append((f"blk.{i}.ffn_gate_inp.weight", (width, experts)))
            tensors += [(f"blk.{i}.ffn_{name}_exps.weight", (width, 2, experts)) for name in ["gate", "up", "down"]]
        else:
            tensors += [(f"blk.{i}.ffn_{name}.weight", (width, 2)) for name in ["gate", "up", "down"]]
    return arch, keys, tensors


# arch, layers, width, heads, key and value heads, experts, tied, fused
MODELS = {
    "llama": ("llama", 16, 256, 8, 2, 0, False, False),
    "many-heads": ("llama", 32, 256, 8, 8, 0, True, False),
    "eighty": ("llama", 80, 256, 8, 1, 0, False, False),
    "eighty-qwen": ("qwen2", 80, 256, 8, 1, 0, False, False),
    "eight-experts": ("llama", 12, 256, 8, 2, 8, False, False),
    "many-experts": ("qwen3moe", 18, 256, 8, 4, 16, False, False),
    "narrow": ("qwen3", 9, 288, 8, 4, 0, False, False),
    "odd": ("llama", 8, 64, 8, 4, 0, True, False),
    "fused": ("phi3", 10, 256, 8, 8, 0, False, True),
}


def by_part(name):
    """Tensors of one part of the network together, from the first layer to the last."""
    if not name.startswith("blk."):
        return name, -1
    _, layer, part = name.split(".", 2)
    return part, int(layer)


def write(path, arch, keys, tensors):
    w = gguf.GGUFWriter(path, arch)
    for key, value in keys.items():
        (w.add_float32 if isinstance(value, float) else w.add_uint32)(f"{arch}.{key}", value)
    for name, shape in tensors:
        w.add_tensor(name, np.ones(shape[::-1], dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    folder = pathlib.Path(sys.argv[1]).parent
    c.CDLL(str(folder / "libggml-base.so"), mode=c.RTLD_GLOBAL)
    lib = c.CDLL(sys.argv[1])
    lib.llama_model_quantize_default_params.restype = Params
    lib.llama_model_quantize.argtypes = [c.c_char_p, c.c_char_p, c.POINTER(Params)]
    lib.llama_model_quantize.restype = c.c_uint32
    log = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)(
        lambda level, text, _: sys.stderr.write(text.decode()) if level == 4 else None)
    lib.llama_log_set(log, None)
    lines = []
    with tempfile.TemporaryDirectory() as temp:
        old, new = f"{temp}/old.gguf", f"{temp}/new.gguf"
        for case, facts in MODELS.items():
            arch, keys, tensors = model(*facts)
            write(old, arch, keys, tensors)
            columns = np.ones(1024 * 32, dtype=np.float32)
            entries = [Importance(n.encode(), columns.ctypes.data, s[0] * (s[2] if len(s) > 2 else 1)) for n, s in tensors]
            entries = (Importance * (len(entries) + 1))(*entries)
            for importance, (number, name) in itertools.product([False, True], NAMES.items()):
                p = lib.llama_model_quantize_default_params()
                p.nthread, p.ftype = 1, number
                p.imatrix = c.cast(entries, c.c_void_p) if importance else None
                if lib.llama_model_quantize(old.encode(), new.encode(), c.byref(p)):
                    continue
                types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(new).tensors}
                runs = [f"{len(list(g))}x{k}" for k, g in itertools.groupby(types[n] for n in sorted(types, key=by_part))]
                lines.append(f"{case} {'with' if importance else 'without'} {name} {','.join(runs)}")
    (HERE / "peer_mix.txt").write_text("\n".join(lines) + "\n")


main()
