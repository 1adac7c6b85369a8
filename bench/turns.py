#!/usr/bin/env python3
"""How soon does the second turn of a long conversation begin: cold, warm from memory, warm from disk?

    cargo build --release
    bench/turns.py MODEL.gguf [--peer llama-server] [--prompt 8000]

Sends a conversation of about --prompt tokens, then the same with its answer and --more tokens: once to the same server
(memory), once after a restart (disk), and once to a server that has never seen it (cold). Beside these the time of a
prompt that is only the new tokens. Python 3.9, no packages.
"""
import argparse
import os
import pathlib
import tempfile
import time

from serving import Server, digits, source, stream

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--peer", type=pathlib.Path, help="llama-server; without it no peer is measured")
    parser.add_argument("--prompt", type=int, default=8000, metavar="TOKENS")
    parser.add_argument("--more", type=int, default=64, metavar="TOKENS")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--port", type=int, default=18435)
    return parser.parse_args()


def first_token(args, prompt, tokens=1):
    """Seconds until the first token, and the answer."""
    begin, seen = time.monotonic(), []
    answer = stream(args.port, prompt, tokens, seen, seed=1)
    return seen[0] - begin, answer


def turns(args, name, command, health, disk):
    numbers = source(5)
    prompt, more = digits(numbers, args.prompt), " " + digits(numbers, args.more)
    print(f"{name}: conversation of about {args.prompt} tokens, then about {args.more} more")
    with Server(command, args.port, health):
        first_token(args, "1 2 3")
        alone, _ = first_token(args, digits(numbers, args.more))
        cold, answer = first_token(args, prompt, 16)
        second = prompt + answer + more
        memory, _ = first_token(args, second)
        time.sleep(8)  # what is kept on disk is written when there is time
    print(f"  first turn, cold: {cold:.2f} s; the new tokens alone: {alone:.3f} s")
    print(f"  second turn from memory: {memory:.3f} s, {memory / alone:.1f} times the new tokens alone")
    if disk:
        with Server(command, args.port, health) as server:
            first_token(args, "1 2 3")
            warm, _ = first_token(args, second)
            print(f"  second turn after a restart, from disk: {warm:.3f} s (the restart: {server.started:.2f} s)")


def main():
    args = arguments()
    room = args.prompt + args.more + 400
    with tempfile.TemporaryDirectory() as folder:
        ours = [args.ingle, "serve", args.model, "--quiet", "--port", args.port, "--parallel", 1, "--ctx", room,
                "--threads", args.threads, "--prefix-store", "8GiB", "--prefix-folder", folder]
        turns(args, "Ingle", ours, "/v1/models", True)
    if args.peer:
        peer = [args.peer, "-m", args.model, "--port", args.port, "-np", 1, "-c", room, "-t", args.threads,
                "--log-disable", "--no-webui"]
        turns(args, "llama.cpp", peer, "/health", False)


if __name__ == "__main__":
    main()
