"""Makes the files in gguf/ and, beside each, a .json of what gguf-py reads from it.

    pip install gguf==0.19.0
    python gguf_files.py

Run in this folder. The split model goes to the goldens of crates/store.
Floats stand in the .json as the integer of their bits, so that every value is exact.
"""

import json
import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf import GGUFReader, GGUFValueType as T, GGUFWriter

HERE = pathlib.Path(__file__).parent
NAMES = {T.UINT8: "u8", T.INT8: "i8", T.UINT16: "u16", T.INT16: "i16", T.UINT32: "u32", T.INT32: "i32",
         T.FLOAT32: "f32", T.BOOL: "bool", T.STRING: "string", T.ARRAY: "array", T.UINT64: "u64",
         T.INT64: "i64", T.FLOAT64: "f64"}


def add_kinds(w):
    """Every kind of value, at the ends of its range; arrays of every kind, empty ones too."""
    w.add_uint8("kind.u8", 255)
    w.add_int8("kind.i8", -128)
    w.add_uint16("kind.u16", 65535)
    w.add_int16("kind.i16", -32768)
    w.add_uint32("kind.u32", 2**32 - 1)
    w.add_int32("kind.i32", -2**31)
    w.add_float32("kind.f32", 1e-45)
    w.add_float32("kind.f32.infinite", float("inf"))
    w.add_bool("kind.bool", True)
    w.add_bool("kind.bool.false", False)
    w.add_string("kind.string", "Grüße, 世界 🔥\n")
    w.add_uint64("kind.u64", 2**64 - 1)
    w.add_int64("kind.i64", -2**63)
    w.add_float64("kind.f64", 5e-324)
    arrays = {
        T.UINT8: [0, 255], T.INT8: [-128, 127], T.UINT16: [0, 65535], T.INT16: [-32768, 32767],
        T.UINT32: [0, 2**32 - 1], T.INT32: [-2**31, 2**31 - 1], T.FLOAT32: [0.5, -0.0, 3.4e38],
        T.BOOL: [True, False, True], T.STRING: ["a", "ß", "▁the", "x" * 300],
        T.UINT64: [0, 2**64 - 1], T.INT64: [-2**63, 2**63 - 1], T.FLOAT64: [0.1, -1e308],
    }
    for kind, values in arrays.items():
        w.add_key_value(f"array.{NAMES[kind]}", values, T.ARRAY, sub_type=kind)
    w.add_key_value("array.of_arrays", [[1, 2], [3]], T.ARRAY)


def add_tensors(w):
    """One to four axes, several types, one tensor that ends off the alignment."""
    rng = np.random.default_rng(1)
    w.add_tensor("one", rng.standard_normal(5, dtype=np.float32))
    w.add_tensor("two", rng.standard_normal((3, 7), dtype=np.float32).astype(np.float16))
    w.add_tensor("three", rng.standard_normal((2, 3, 4), dtype=np.float32))
    w.add_tensor("four", rng.standard_normal((2, 1, 3, 2), dtype=np.float32))
    for kind in [Q.Q8_0, Q.Q4_0, Q.BF16]:
        rows = gguf.quants.quantize(rng.standard_normal((2, 64), dtype=np.float32), kind)
        w.add_tensor(f"rows.{kind.name}", rows, raw_dtype=kind)
    size = gguf.GGML_QUANT_SIZES[Q.Q6_K][1]
    w.add_tensor("rows.Q6_K", rng.integers(0, 255, (2, size), dtype=np.uint8), raw_dtype=Q.Q6_K)


def close(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make(name, fill, alignment=None, **options):
    path = HERE / "gguf" / name
    w = GGUFWriter(path, "llama", **options)
    if alignment:
        w.add_custom_alignment(alignment)
    fill(w)
    close(w)
    return path


def exact(kind, value):
    if kind == T.FLOAT32:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    if kind == T.FLOAT64:
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    if kind == T.BOOL:
        return bool(value)
    return value if kind == T.STRING else int(value)


def value_of(field):
    kind = field.types[0]
    if kind != T.ARRAY:
        return {"type": NAMES[kind], "value": exact(kind, field.contents())}
    if T.ARRAY in field.types[1:]:
        # gguf-py flattens what lies deeper, so the shape is checked elsewhere.
        return {"type": "array", "element": "array"}
    if len(field.types) < 2:
        return {"type": "array", "value": []}
    element = field.types[1]
    values = field.contents()
    return {"type": "array", "element": NAMES[element], "value": [exact(element, v) for v in values]}


def describe(path):
    reader = GGUFReader(path)
    keys = {name: value_of(field) for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = [
        {"name": t.name, "shape": [int(n) for n in t.shape], "type": t.tensor_type.name,
         "offset": int(t.data_offset), "bytes": bytes(t.data.tobytes()).hex()}
        for t in reader.tensors
    ]
    version = int(reader.fields["GGUF.version"].contents())
    text = json.dumps({"version": version, "keys": keys, "tensors": tensors}, ensure_ascii=False, indent=0)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def main():
    def everything(w):
        add_kinds(w)
        add_tensors(w)

    v3 = make("v3.gguf", everything)
    # gguf-py writes version 3 only; version 2 has the same bytes but for the number.
    v2 = v3.with_name("v2.gguf")
    v2.write_bytes(v3.read_bytes()[:4] + struct.pack("<I", 2) + v3.read_bytes()[8:])
    aligned = make("alignment.gguf", add_tensors, alignment=128)
    words = make("no-tensors.gguf", lambda w: w.add_token_list(["a", "b", "▁c"]))
    for path in [v3, v2, aligned, words]:
        describe(path)
    make("big-endian.gguf", add_tensors, endianess=gguf.GGUFEndian.BIG)

    folder = HERE.parents[2] / "store/tests/goldens"
    w = GGUFWriter(folder / "split.gguf", "llama", split_max_tensors=3)
    w.add_context_length(64)
    add_tensors(w)
    close(w)


main()
