#!/usr/bin/env python3
"""Measure Ingle beside llama.cpp on the same files and print the table of bench/README.md.

    cargo build --release
    npm install --prefix bench/peers
    bench/compare.py MODEL.gguf...

The two take turns (A B A B) on each file, so that a machine that is slower for a while is slower for both;
what is printed are medians over the rounds. Needs Python 3.9, no packages.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PEER = HERE / "peers" / "llama_cpp.mjs"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path, metavar="MODEL.gguf")
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3, help="measurements in each turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each program on each file")
    parser.add_argument("--realtime", action="store_true",
                        help="run both with real-time priority, where other work goes on (needs the right to)")
    args = parser.parse_args()
    for path in [args.ingle, *args.models]:
        if not path.is_file():
            parser.error(f"there is no file {path}")
    if not (HERE / "peers" / "node_modules").exists():
        parser.error(f"llama.cpp is not there: run `npm install --prefix {HERE / 'peers'}`")
    return args


def prefer():
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))


def measure(command, realtime):
    """The JSON object that the command prints."""
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=prefer if realtime else None)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with {done.returncode}:\n{done.stderr}")
    result = json.loads(done.stdout)
    for key in ("prompt_tps", "generate_tps"):
        if not result.get(key, 0) > 0:
            sys.exit(f"{' '.join(command)}\ngave no {key}:\n{done.stdout}")
    return result


def compare(model, args):
    """Medians over the rounds: (Ingle's results, the peer's results)."""
    common = ["--prompt", str(args.prompt), "--generate", str(args.generate), "--repeat", str(args.repeat),
              "--threads", str(args.threads)]
    ingle = [str(args.ingle), "bench", str(model), *common, "--depth", "0", "--json"]
    peer = ["node", str(PEER), str(model), *common]
    ours, theirs = [], []
    for turn in range(args.rounds):
        print(f"{model.name}: turn {turn + 1} of {args.rounds}", file=sys.stderr)
        ours.append(measure(ingle, args.realtime))
        theirs.append(measure(peer, args.realtime))

    def medians(results):
        numbers = [k for k, v in results[0].items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return {k: statistics.median(r[k] for r in results) for k in numbers} | {"peer": results[0].get("peer")}

    return medians(ours), medians(theirs)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def commit():
    done = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown commit"


def row(model, ours, theirs):
    def pair(key):
        a, b = ours[key], theirs[key]
        return f"{a:.0f} | {b:.0f} | {a / b:.2f}" if min(a, b) >= 100 else f"{a:.1f} | {b:.1f} | {a / b:.2f}"

    share = ours["read_share"]
    theirs_share = theirs["generate_tps"] * ours["weight_bytes_per_token"] / (ours["read_gbps"] * 1e9)
    return (f"| {model.stem} | {pair('prompt_tps')} | {pair('generate_tps')} | "
            f"{share:.0%} | {theirs_share:.0%} |")


def main():
    args = arguments()
    load = os.getloadavg()[0]
    rows, reads, release = [], [], None
    for model in args.models:
        ours, theirs = compare(model, args)
        rows.append(row(model, ours, theirs))
        reads.append(ours["read_gbps"])
        release = theirs["peer"]
    print(f"{datetime.date.today()}, {processor()}, {os.cpu_count()} processors, {args.threads} threads, "
          f"reads {statistics.median(reads):.1f} GB/s; Ingle {commit()}, {release}; "
          f"load {load:.1f} before the start{', real-time priority' if args.realtime else ''}. "
          f"Medians of {args.rounds} turns of {args.repeat}.\n")
    print(f"| model | prompt {args.prompt}: Ingle t/s | llama.cpp t/s | ratio | generate {args.generate}: Ingle t/s "
          "| llama.cpp t/s | ratio | Ingle's share of reads | llama.cpp's |")
    print("| --- " + "| ---: " * 8 + "|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
