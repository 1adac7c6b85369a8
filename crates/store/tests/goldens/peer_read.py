"""Reads files that `ingle quantize` wrote, with gguf-py: `python peer_read.py IN OUT...`.

For every OUT: each key of IN is there with its value (but for how weights are stored), each tensor has its name,
shape and an aligned offset, and its numbers come back within the error of its type. Prints a line a file.
"""

import sys

import gguf
import numpy as np

CHANGED = {"general.file_type", "general.quantization_version", "GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"}
# Root mean square of the error beside that of the values.
BOUNDS = {"F32": 0, "F16": 5e-4, "BF16": 3e-3, "Q8_0": 0.01, "Q6_K": 0.02, "Q5_K": 0.04, "Q5_1": 0.05, "Q5_0": 0.06,
          "Q4_K": 0.08, "Q4_1": 0.1, "Q4_0": 0.12, "IQ4_NL": 0.1, "IQ4_XS": 0.1, "MXFP4": 0.15, "Q3_K": 0.2, "Q2_K": 0.4}


def pairs(reader):
    return {key: field.contents() for key, field in reader.fields.items() if key not in CHANGED}


def main():
    before = gguf.GGUFReader(sys.argv[1])
    tensors = {t.name: t for t in before.tensors}
    for path in sys.argv[2:]:
        after = gguf.GGUFReader(path)
        assert pairs(after) == pairs(before), path
        assert [t.name for t in after.tensors] == [t.name for t in before.tensors], path
        worst = {}
        for t in after.tensors:
            old = tensors[t.name]
            assert list(t.shape) == list(old.shape) and t.data_offset % after.alignment == 0, (path, t.name)
            a = gguf.quants.dequantize(old.data, old.tensor_type).astype(np.float64).ravel()
            b = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64).ravel()
            error = np.sqrt(((a - b) ** 2).mean() / (a**2).mean())
            name = t.tensor_type.name
            assert error <= BOUNDS[name], (path, t.name, name, error)
            worst[name] = max(worst.get(name, 0), error)
        print(path, ", ".join(f"{name} {error:.4f}" for name, error in sorted(worst.items())))


main()
