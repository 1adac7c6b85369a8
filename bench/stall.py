#!/usr/bin/env python3
"""How long do others wait for their next token while somebody's long prompt is read?

    cargo build --release
    bench/stall.py MODEL.gguf [--memory 6GiB] [--max-stall 2]

Starts `ingle serve`, lets --clients clients stream an answer each, and sends a prompt of about --prompt tokens while
they do. Prints the waits between tokens before and while the prompt is read, the longest of them beside --max-stall,
and how long the prompt took. Python 3.9, no packages.
"""
import argparse
import pathlib
import statistics
import threading
import time

from serving import Server, digits, source, stream

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--memory", default="6GiB")
    parser.add_argument("--max-stall", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=2000, metavar="TOKENS")
    parser.add_argument("--before", type=int, default=20, help="tokens of each client before the prompt comes [20]")
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--port", type=int, default=18435)
    return parser.parse_args()


def waits(seen, begin, end):
    """Waits for tokens that came after `begin` and of which the one before came before `end`."""
    return [b - a for a, b in zip(seen, seen[1:]) if b > begin and a < end]


def main():
    args = arguments()
    command = [args.ingle, "serve", args.model, "--memory", args.memory, "--max-stall", str(args.max_stall)]
    command += ["--ctx", str(args.prompt + 600), "--parallel", str(args.clients + 1), "--port", str(args.port)]
    with Server([*command, "--quiet"], args.port):
        numbers = source(3)
        seen = [[] for _ in range(args.clients)]
        for times in seen:
            ask = (args.port, digits(numbers, 40), 500, times)
            threading.Thread(target=stream, args=ask, daemon=True).start()
        while any(len(times) < args.before for times in seen):
            time.sleep(0.1)
        begin, first = time.monotonic(), []
        stream(args.port, digits(numbers, args.prompt), 1, first)
        end = first[0]
        time.sleep(2)
        before = [wait for times in seen for wait in waits(times[2:], 0, begin)]
        during = [wait for times in seen for wait in waits(times, begin, end)]
        print(f"before: {len(before)} waits, median {statistics.median(before):.2f} s, longest {max(before):.2f} s")
        print(f"while a prompt of about {args.prompt} tokens was read ({end - begin:.1f} s): {len(during)} waits, "
              f"median {statistics.median(during):.2f} s, longest {max(during):.2f} s; asked for: {args.max_stall} s")


if __name__ == "__main__":
    main()
