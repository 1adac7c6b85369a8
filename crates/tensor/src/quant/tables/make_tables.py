"""Makes grids.rs from gguf-py: `python make_tables.py` (needs `gguf`), then `cargo fmt`.

The grids are the codebooks of the IQ types: facts of the file format. gguf-py holds a grid as hex
digits, a number of a few bits for each element; two bytes are one u16 here.
"""

from pathlib import Path

import numpy as np
from gguf import quants

GRIDS = [
    ("IQ1", quants.IQ1_S, "Eight elements of 2 bits, lowest first, for IQ1_S and IQ1_M: 0, 1, 2 mean -1, 0, 1."),
    ("IQ2_XXS", quants.IQ2_XXS, "Eight elements of 2 bits, lowest first: 0, 1, 2 mean 8, 25, 43."),
    ("IQ2_XS", quants.IQ2_XS, "Eight elements of 2 bits, as in IQ2_XXS."),
    ("IQ2_S", quants.IQ2_S, "Eight elements of 2 bits, as in IQ2_XXS."),
    ("IQ3_XXS", quants.IQ3_XXS, "Four elements of 4 bits, lowest first: 0 to 7 mean 4, 12, 20, 28, 36, 44, 52, 62."),
    ("IQ3_S", quants.IQ3_S, "Four elements of 4 bits, lowest first: `n` means `2 n + 1`."),
]


def main() -> None:
    text = "//! The grids of the IQ types, packed. Made by `make_tables.py` from gguf-py; not edited by hand.\n"
    for name, cls, doc in GRIDS:
        words = np.frombuffer(bytes.fromhex(cls.grid_hex.decode()), dtype="<u2")
        assert len(words) == cls.grid_shape[0]
        text += f"\n/// {doc}\npub(super) static {name}: [u16; {len(words)}] = [\n"
        for i in range(0, len(words), 12):
            text += "    " + " ".join(f"0x{w:04x}," for w in words[i : i + 12]) + "\n"
        text += "];\n"
    Path(__file__).with_name("grids.rs").write_text(text)


main()
