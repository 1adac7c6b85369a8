#!/usr/bin/env python3
"""How long do others wait for their next token while somebody's long prompt is read?

    cargo build --release
    bench/stall.py MODEL.gguf [--memory 6GiB] [--max-stall 2]

Starts `ingle serve`, lets --clients clients stream an answer each, and sends a prompt of about --prompt tokens while
they do. Prints the waits between tokens before and while the prompt is read, the longest of them beside --max-stall,
and how long the prompt took. Python 3.9, no packages.
"""
import argparse
import http.client
import json
import pathlib
import random
import statistics
import subprocess
import sys
import threading
import time

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


def ready(port, process):
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v1/models")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("the server ended; its last words are above")


def stream(port, prompt, tokens, seen):
    """Appends the time of each token to `seen`."""
    body = {"prompt": prompt, "max_tokens": tokens, "stream": True, "temperature": 1, "seed": len(prompt)}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    for line in answer:
        if line.startswith(b"data: {"):
            seen.append(time.monotonic())


def waits(seen, begin, end):
    """Waits for tokens that came after `begin` and of which the one before came before `end`."""
    return [b - a for a, b in zip(seen, seen[1:]) if b > begin and a < end]


def main():
    args = arguments()
    command = [args.ingle, "serve", args.model, "--memory", args.memory, "--max-stall", str(args.max_stall)]
    command += ["--ctx", str(args.prompt + 600), "--parallel", str(args.clients + 1), "--port", str(args.port)]
    server = subprocess.Popen([str(part) for part in [*command, "--quiet"]])
    try:
        ready(args.port, server)
        source = random.Random(3)
        text = lambda words: " ".join(str(source.randrange(10)) for _ in range(words))
        seen = [[] for _ in range(args.clients)]
        for times in seen:
            threading.Thread(target=stream, args=(args.port, text(20), 500, times), daemon=True).start()
        while any(len(times) < args.before for times in seen):
            time.sleep(0.1)
        begin, first = time.monotonic(), []
        # A digit and a space are two tokens in most vocabularies.
        stream(args.port, text(args.prompt // 2), 1, first)
        end = first[0]
        time.sleep(2)
        before = [wait for times in seen for wait in waits(times[2:], 0, begin)]
        during = [wait for times in seen for wait in waits(times, begin, end)]
        print(f"before: {len(before)} waits, median {statistics.median(before):.2f} s, longest {max(before):.2f} s")
        print(f"while a prompt of about {args.prompt} tokens was read ({end - begin:.1f} s): {len(during)} waits, "
              f"median {statistics.median(during):.2f} s, longest {max(during):.2f} s; asked for: {args.max_stall} s")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
