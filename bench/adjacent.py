#!/usr/bin/env python3
"""Measure what it would bring to have the three matrices of an expert side by side in a file.

    bench/adjacent.py MODEL.gguf [--bytes 950272] [--depth 8]

Reads pieces of --bytes from random places of a large file, past the page cache, with --depth reads in flight: three
pieces from three places, as an expert lies in a GGUF file, and one piece three times as long, as it would lie in a
file packed for that. The two take turns. Prints a line for each in MB/s, and their ratio. Python 3.9, Linux, no
packages.
"""
import argparse
import mmap
import os
import pathlib
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

ALIGN = 4096


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--bytes", type=int, default=950272, help="of one matrix [950272: 768 x 2048 in Q4_K, about]")
    parser.add_argument("--experts", type=int, default=200, help="read in each turn [200]")
    parser.add_argument("--depth", type=int, default=8, help="reads in flight [8]")
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


def rate(file, size, reads, depth, source):
    """Bytes a second of so many reads of `size` bytes from random places."""
    pages = os.fstat(file).st_size // ALIGN - size // ALIGN
    places = [source.randrange(pages) * ALIGN for _ in range(reads)]
    buffers = [mmap.mmap(-1, size) for _ in range(depth)]

    def run(lane):
        for place in places[lane::depth]:
            got = os.preadv(file, [buffers[lane]], place)
            assert got == size, (got, size)

    start = time.perf_counter()
    with ThreadPoolExecutor(depth) as pool:
        list(pool.map(run, range(depth)))
    return size * reads / (time.perf_counter() - start)


def main():
    args = arguments()
    file = os.open(args.model, os.O_RDONLY | os.O_DIRECT)
    source = random.Random(1)
    one = args.bytes // ALIGN * ALIGN
    apart, together = [], []
    for _ in range(args.turns):
        apart.append(rate(file, one, 3 * args.experts, args.depth, source))
        together.append(rate(file, 3 * one, args.experts, args.depth, source))
    for name, rates in (("apart", apart), ("together", together)):
        print(f"{name:8} {statistics.median(rates) / 1e6:6.0f} MB/s  (of {min(rates) / 1e6:.0f} to {max(rates) / 1e6:.0f})")
    print(f"together over apart: {statistics.median(t / a for t, a in zip(together, apart)):.2f}")


if __name__ == "__main__":
    main()
