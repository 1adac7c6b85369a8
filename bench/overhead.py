#!/usr/bin/env python3
"""What does the gateway cost an answer that stays here?

    cargo build --release
    bench/overhead.py [MODEL.gguf] [--clients 1,16] [--rounds 30]

Three servers of the same model run side by side: without a gateway, with [ledger], and with a provider that no rule lets
anything go to (so each request is read by the policy, and its conversation looked up). In each round each of them
gets the same requests with the same seeds, one server after the other, in another order each time; so they answer with
the same tokens, and what differs is the gateway. Prints medians: the time to the last token of an answer, by how
much it differs from the same answer without a gateway, and tokens a second of all clients together. Python 3.9, no packages.
"""
import argparse
import contextlib
import os
import pathlib
import statistics
import tempfile
import threading
import time

from serving import Server, digits, source, stream

HERE = pathlib.Path(__file__).resolve().parent
PROVIDER = """
[providers.cloud]
dialect = "openai"
base_url = "http://127.0.0.1:9/v1"
price_date = 2026-11-01
[providers.cloud.models.big]
context = 100000
input = "1.00"
output = "2.00"
"""
SETTINGS = {"no gateway": "", "[ledger]": "[ledger]\nkeep_texts = false\n", "provider, local-only": PROVIDER}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, nargs="?", help="the built-in one, if nothing is said")
    parser.add_argument("--clients", default="1,16")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--prompt", type=int, default=64, metavar="TOKENS")
    parser.add_argument("--generate", type=int, default=64, metavar="TOKENS")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--port", type=int, default=18435)
    return parser.parse_args()


def server(args, home, settings, port, clients):
    """One of the three, with a home of its own."""
    home.mkdir()
    config = home / "ingle.toml"
    config.write_text(settings)
    model = [args.model] if args.model else []
    room = args.prompt + args.generate + 128
    command = [args.ingle, "--config", config, "serve", *model, "--quiet", "--port", port, "--parallel", clients,
               "--ctx", room, "--threads", args.threads, "--prefix-store", 0]
    environment = {**os.environ, "HOME": str(home)}
    for name, folder in [("XDG_STATE_HOME", "s"), ("XDG_CACHE_HOME", "k"), ("XDG_CONFIG_HOME", "c")]:
        environment[name] = str(home / folder)
    return Server(command, port, environment=environment)


def drive(args, port, prompts, seed):
    """Seconds to the last token of each answer, how many tokens there were, and seconds of all together."""
    times, tokens = [0.0] * len(prompts), [0] * len(prompts)

    def client(i):
        begin, seen = time.monotonic(), []
        stream(port, [{"role": "user", "content": prompts[i]}], args.generate, seen, seed=seed + i)
        times[i], tokens[i] = seen[-1] - begin, len(seen)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(len(prompts))]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, tokens, time.monotonic() - begin


def measured(args, ports, clients):
    """By server: times of answers, tokens a second of rounds."""
    numbers = source(clients)
    times, speeds = {name: [] for name in ports}, {name: [] for name in ports}
    for round in range(-2, args.rounds):
        prompts = [digits(numbers, args.prompt) for _ in range(clients)]
        order = list(ports)
        numbers.shuffle(order)
        counts = set()
        for name in order:
            each, tokens, whole = drive(args, ports[name], prompts, 1000 * (round + 2))
            counts.add(tuple(tokens))
            if round >= 0:  # the first two warm up
                times[name].append(each)
                speeds[name].append(sum(tokens) / whole)
        assert len(counts) == 1, f"the answers differ: {counts}"
    return times, speeds


def main():
    args = arguments()
    rows = []
    for clients in map(int, args.clients.split(",")):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            ports = {}
            for i, (name, settings) in enumerate(SETTINGS.items()):
                ports[name] = args.port + i
                stack.enter_context(server(args, pathlib.Path(folder) / str(i), settings, ports[name], clients))
            times, speeds = measured(args, ports, clients)
        without = next(iter(ports))
        for name in ports:
            pairs = zip(sum(times[name], []), sum(times[without], []))
            more = statistics.median(ours - plain for ours, plain in pairs)
            faster = statistics.median(a / b for a, b in zip(speeds[name], speeds[without]))
            rows.append((clients, name, statistics.median(sum(times[name], [])), more, statistics.median(speeds[name]), faster))
    print("| clients | gateway | last token, ms | more than without, ms | tokens/s | of those without |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for clients, name, time_, more, speed, faster in rows:
        print(f"| {clients} | {name} | {1000 * time_:.2f} | {1000 * more:+.2f} | {speed:.1f} | {100 * faster:.1f}% |")


if __name__ == "__main__":
    main()
