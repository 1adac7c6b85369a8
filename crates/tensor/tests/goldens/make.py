"""Makes the goldens of blocks with gguf-py: `python make.py` (needs `gguf` and `numpy`).

blocks/NAME.bin   blocks, then the f32 numbers that gguf.quants.dequantize makes of them. Most blocks
                  have scales of the size that a model has; the last few are bytes of any kind.
digests.txt       NAME COUNT DIGEST: COUNT blocks of bytes from `stream(COUNT)`, decoded; the digest
                  covers every bit of every number, so it sees all entries of the IQ tables.
encoded/NAME.bin  the blocks that gguf.quants.quantize makes of the f32 numbers in encoded/values.bin.
encoded.txt       NAME COUNT DIGEST: the blocks made of the COUNT numbers of `bells`.
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

# The types that gguf-py can make.
ENCODED = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.TQ1_0, T.TQ2_0, T.MXFP4]


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


def digest_bytes(data: np.ndarray) -> int:
    """The sum of byte * (2 i + 1) modulo 2^64."""
    odd = 2 * np.arange(data.size, dtype=np.uint64) + 1
    return int((data.ravel().astype(np.uint64) * odd).sum(dtype=np.uint64))


def bells(n: int) -> np.ndarray:
    """`n` numbers of about a normal distribution; the spread of each 256 is another power of two."""
    words = stream(8 * n).view("<u2").reshape(n, 4).astype(np.int64).sum(axis=1) - 131070
    return (words * 2.0 ** (np.arange(n) // 256 % 16 - 24)).astype(np.float32)


def edges() -> np.ndarray:
    """Blocks of 256 that a quantiser may stumble over, and two plain ones."""
    rng = np.random.default_rng(7)
    rows = np.zeros((12, 256), dtype=np.float32)
    rows[1] = -0.0
    rows[2] = 1.0
    rows[3] = -0.375
    rows[4, 5::32] = -3.0
    rows[5, 31::32] = 60000.0
    rows[6] = np.arange(256) % 32 - 15.5
    rows[7] = np.where(np.arange(256) % 2, 2.0, -2.0)
    rows[8] = rng.normal(0, 1e-7, 256)
    rows[9] = np.abs(rng.normal(0, 1, 256)) + 4
    rows[10:] = rng.normal(0, 0.02, (2, 256))
    return rows


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

    (HERE / "encoded").mkdir(exist_ok=True)
    values = edges()
    (HERE / "encoded" / "values.bin").write_bytes(values.tobytes())
    digests = []
    for t in ENCODED:
        blocks = gguf.quants.quantize(values, t)
        (HERE / "encoded" / f"{t.name}.bin").write_bytes(blocks.tobytes())
        count = 2**18
        blocks = gguf.quants.quantize(bells(count).reshape(-1, 256), t).view(np.uint8)
        digests.append(f"{t.name} {count} {digest_bytes(blocks):016x}\n")
    (HERE / "encoded.txt").write_text("".join(digests))


if __name__ == "__main__":
    main()
