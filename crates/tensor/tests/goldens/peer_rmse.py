"""Measures how closely llama.cpp stores `bells` of make.py: `python peer_rmse.py LIBGGML_BASE.so`.

peer_rmse.txt   NAME RMSE: the root of the mean over blocks of 256 of |decoded - x|^2 / |x|^2, with no
                importance matrix.
"""

import ctypes
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

from make import bells

TYPES = [T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS]
COUNT = 2**16


def main() -> None:
    quantize = ctypes.CDLL(sys.argv[1]).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    values = bells(COUNT)
    lines = []
    for t in TYPES:
        length, size = gguf.GGML_QUANT_SIZES[t]
        blocks = np.zeros(COUNT // length * size, dtype=np.uint8)
        quantize(int(t), values.ctypes.data, blocks.ctypes.data, 0, COUNT // 256, 256, None)
        decoded = gguf.quants.dequantize(blocks.reshape(COUNT // 256, -1), t).ravel()
        error = ((decoded - values) ** 2).reshape(-1, 256).sum(axis=1)
        share = error / (values**2).reshape(-1, 256).sum(axis=1)
        lines.append(f"{t.name} {np.sqrt(share.mean()):.5f}\n")
    Path(__file__).with_name("peer_rmse.txt").write_text("".join(lines))


main()
