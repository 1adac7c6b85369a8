"""Makes the goldens of block decoding with gguf-py: `python make.py` (needs `gguf` and `numpy`).

blocks/NAME.bin   blocks, then the f32 numbers that gguf.quants.dequantize makes of them. Most blocks
                  have scales of the size that a model has; the last few are bytes of any kind.
digests.txt       NAME COUNT DIGEST: COUNT blocks of bytes from `stream(COUNT)`, decoded; the digest
                  covers every bit of every number, so it sees all entries of the IQ tables.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

HERE = Path(__file__).parent
SANE, WILD = 5, 3

# Type -> offsets of the f16 scales inside a block. IQ1_M spreads its scale over four nibbles.
SCALES = {
    T.F32: [], T.F16: [], T.BF16: [],
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ1_S: [0], T.IQ1_M: [], T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ2_S: [0],
    T.IQ3_XXS: [0], T.IQ3_S: [0], T.IQ4_NL: [0], T.IQ4_XS: [0],
    T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: [],
}  # fmt: skip


def stream(n: int) -> np.ndarray:
    """`n` bytes of the splitmix64 sequence from state 0, little-endian."""
    x = np.arange(1, n // 8 + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))).view(np.uint8)[:n]


def digest(values: np.ndarray) -> int:
    """The sum of bits * (2 i + 1) modulo 2^64; every NaN counts as 0x7fc00000."""
    bits = np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32)).astype(np.uint64)
    return int((bits * (2 * np.arange(bits.size, dtype=np.uint64) + 1)).sum(dtype=np.uint64))


def blocks_of(t: T, rng: np.random.Generator) -> np.ndarray:
    """Random blocks, all but the last `WILD` with sane scales."""
    length, size = gguf.GGML_QUANT_SIZES[t]
    each = 64 if length == 1 else 1
    blocks = rng.integers(0, 256, ((SANE + WILD) * each, size), dtype=np.uint8)
    sane = blocks[: SANE * each]
    for at in SCALES[t]:
        scale = rng.normal(0, 0.02, len(sane)).astype(np.float16)
        sane[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    if t == T.MXFP4:
        sane[:, 0] = rng.integers(112, 128, len(sane))
    if t == T.IQ1_M:
        scale = rng.normal(0, 0.02, len(sane)).astype(np.float16).view(np.uint16)
        for i in range(4):
            sane[:, 49 + 2 * i] = (sane[:, 49 + 2 * i] & 0xF) | ((scale >> (4 * i) & 0xF) << 4)
    return blocks


def main() -> None:
    np.seterr(all="ignore")
    (HERE / "blocks").mkdir(exist_ok=True)
    digests = []
    for i, t in enumerate(SCALES):
        blocks = blocks_of(t, np.random.default_rng(i))
        values = gguf.quants.dequantize(blocks, t).astype(np.float32)
        (HERE / "blocks" / f"{t.name}.bin").write_bytes(blocks.tobytes() + values.tobytes())
        count = 4096
        wild = stream(count * gguf.GGML_QUANT_SIZES[t][1]).reshape(count, -1)
        values = gguf.quants.dequantize(wild, t).astype(np.float32).ravel()
        digests.append(f"{t.name} {count} {digest(values):016x}\n")
    (HERE / "digests.txt").write_text("".join(digests))


main()
