#!/usr/bin/env python3
"""How fast is a server with many clients? Ingle and llama.cpp's server, one after the other for each number of clients.

    cargo build --release
    bench/company.py MODEL.gguf --peer llama-server [--clients 1,4,8,16,32]

Each client sends --requests prompts of its own of about --prompt tokens, one after the other, and streams answers of
--generate tokens. Both servers get the same prompts, as many slots as there are clients, and room for each of them.
What is measured is a server at work: before it, each answers as much with other prompts, which is not counted.
Prints tokens a second of all clients together, from the first request to the last token, and the 99th percentile of the
time between two tokens of an answer. With --shared N all prompts begin with the same N tokens. Python 3.9, no packages.
"""
import argparse
import json
import os
import pathlib
import statistics
import threading
import time

from serving import Server, digits, source, stream

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--peer", type=pathlib.Path, help="llama-server; without it no peer is measured")
    parser.add_argument("--clients", default="1,4,8,16,32")
    parser.add_argument("--requests", type=int, default=2, help="of each client [2]")
    parser.add_argument("--prompt", type=int, default=64, metavar="TOKENS")
    parser.add_argument("--generate", type=int, default=96, metavar="TOKENS")
    parser.add_argument("--shared", type=int, default=0, metavar="TOKENS")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--port", type=int, default=18435)
    parser.add_argument("--json", type=pathlib.Path, help="what was measured")
    return parser.parse_args()


def servers(args, clients):
    """Name, command and extra fields of a request for each server."""
    each = args.shared + args.prompt + args.generate + 64
    ours = [args.ingle, "serve", args.model, "--quiet", "--port", args.port, "--parallel", clients, "--ctx", each,
            "--threads", args.threads, "--prefix-store", 0]
    yield "ingle", ours, "/v1/models", {}
    if args.peer:
        peer = [args.peer, "-m", args.model, "--port", args.port, "-np", clients, "-c", each * clients, "-t", args.threads,
                "--log-disable", "--no-webui"]
        yield "llama.cpp", peer, "/health", {"ignore_eos": True}


def drive(args, clients, fields):
    """What all clients together saw: tokens a second, waits between tokens, waits for the first."""
    numbers = source(clients)
    answers = []

    def client(prompts):
        for prompt in prompts:
            begin, seen = time.monotonic(), []
            stream(args.port, prompt, args.generate, seen, seed=1, **fields)
            answers.append((begin, seen))

    for _ in range(2):
        answers.clear()
        shared = digits(numbers, args.shared) + " " if args.shared else ""
        prompts = [[shared + digits(numbers, args.prompt) for _ in range(args.requests)] for _ in range(clients)]
        threads = [threading.Thread(target=client, args=(mine,)) for mine in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    begin = min(begin for begin, _ in answers)
    end = max(seen[-1] for _, seen in answers)
    tokens = sum(len(seen) for _, seen in answers)
    between = sorted(b - a for _, seen in answers for a, b in zip(seen, seen[1:]))
    first = sorted(seen[0] - begin for begin, seen in answers)
    return {
        "answers": len(answers),
        "tokens": tokens,
        "tps": tokens / (end - begin),
        "p99_between_ms": 1000 * between[int(0.99 * (len(between) - 1))],
        "median_first_ms": 1000 * statistics.median(first),
    }


def main():
    args = arguments()
    rows = []
    for clients in map(int, args.clients.split(",")):
        row = {"clients": clients}
        for name, command, health, fields in servers(args, clients):
            with Server(command, args.port, health):
                row[name] = drive(args, clients, fields)
            print(f"{clients} clients, {name}: {row[name]}", flush=True)
            time.sleep(1)
        rows.append(row)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))
    print("\n| clients | Ingle, tokens/s | llama.cpp | ratio | p99 between tokens, ms | llama.cpp | first token, ms | llama.cpp |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        ours, peer = row["ingle"], row.get("llama.cpp")
        cell = lambda of, key, digits=0: f"{of[key]:.{digits}f}" if of else ""
        ratio = f"{ours['tps'] / peer['tps']:.2f}" if peer else ""
        print(f"| {row['clients']} | {cell(ours, 'tps', 1)} | {cell(peer, 'tps', 1)} | {ratio} "
              f"| {cell(ours, 'p99_between_ms')} | {cell(peer, 'p99_between_ms')} "
              f"| {cell(ours, 'median_first_ms')} | {cell(peer, 'median_first_ms')} |")


if __name__ == "__main__":
    main()
