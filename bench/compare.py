#!/usr/bin/env python3
"""Measure Ingle beside llama.cpp on the same files and print the table of bench/README.md.

    cargo build --release
    npm install --prefix bench/peers
    bench/compare.py --models DIR [--quick] [--llama-bench FILE] [--avx2-python PYTHON] > table.md

DIR holds the files of the cases below, by their names; a case whose file or peer is not there is marked as skipped.
With --llama-bench an llama.cpp built for this processor is the peer; node-llama-cpp's prebuilt one is otherwise.
The programs take turns (A B A B) on each file, so that a machine that is slower for a while is slower for both; what
is printed are medians over the turns. What ran so far is kept in --json, and --resume goes on from there.
Needs Python 3.9, no packages.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
NODE = ["node", str(HERE / "peers" / "llama_cpp.mjs")]
AVX2 = str(HERE / "peers" / "llama_cpp_avx2.py")

# File; options; which peer; whether it takes minutes; aims: {(kind, depth, sequences): (prompt or generation ratio)}.
CASES = [
    ("qwen3-0.6b-q8_0", {"sequences": 16}, "node", False,
     {("prompt", 0, 1): 3, ("generation", 0, 1): "90% of memory", ("generation", 0, 16): 2.5}),
    ("qwen3-0.6b-q4_k_m", {"depth": "0,4096"}, "node", False,
     {("prompt", 0, 1): 5, ("generation", 0, 1): 1.5, ("prompt", 4096, 1): 5, ("generation", 4096, 1): 2.5}),
    ("qwen3-0.6b-q4_0", {}, "node", False, {("prompt", 0, 1): 3, ("generation", 0, 1): 1.5}),
    ("qwen3-1.7b-q4_k_m", {}, "node", False, {("prompt", 0, 1): 5, ("generation", 0, 1): 1.5}),
    ("moe-tiny-q4_k_m", {}, "node", False, {("prompt", 0, 1): 4, ("generation", 0, 1): 2}),
    ("moe-3b-q4_k_m", {}, "node", False, {("prompt", 0, 1): 4, ("generation", 0, 1): 2}),
    ("moe-30b-a3b-q4_k_m", {}, "node", True, {("prompt", 0, 1): 4, ("generation", 0, 1): 2}),
    ("llama3-8b-q4_k_m", {}, "node", True, {("prompt", 0, 1): 5, ("generation", 0, 1): "88% of memory"}),
    ("llama3-8b-q4_0", {}, "node", True, {("prompt", 0, 1): 3}),
    ("qwen3-0.6b-q4_k_m", {"depth": "16384"}, "node", True, {("prompt", 16384, 1): 5, ("generation", 16384, 1): 2.5}),
    ("qwen3-0.6b-q4_k_m", {}, "avx2", False, {("prompt", 0, 1): 1.5, ("generation", 0, 1): 1.3}),
    ("qwen3-0.6b-q8_0", {}, "avx2", False, {("prompt", 0, 1): 1.5, ("generation", 0, 1): 1.3}),
    ("qwen3-0.6b-q4_0", {}, "avx2", False, {("prompt", 0, 1): 1.5, ("generation", 0, 1): 1.3}),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--avx2-python", help="a Python whose llama-cpp-python was built for AVX2")
    parser.add_argument("--llama-bench", metavar="FILE", help="llama.cpp's own benchmark, built for this processor")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", action="append", default=[], help="cases whose file's name contains this")
    parser.add_argument("--quick", action="store_true",
                        help="one measurement a turn, one turn for large files, and no depth of 16,384")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each program on each file")
    parser.add_argument("--repeat", type=int, default=3, help="measurements in each turn")
    parser.add_argument("--json", type=pathlib.Path, default=HERE / "compare.json", help="what was measured")
    parser.add_argument("--resume", action="store_true", help="keep what --json holds already")
    parser.add_argument("--realtime", action="store_true",
                        help="run both with real-time priority, where other work goes on (needs the right to)")
    args = parser.parse_args()
    if not args.ingle.is_file():
        parser.error(f"there is no {args.ingle}: run `cargo build --release`")
    if not args.llama_bench and not (HERE / "peers" / "node_modules").exists():
        parser.error(f"llama.cpp is not there: run `npm install --prefix {HERE / 'peers'}`")
    return args


def prefer():
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))


def measure(command, realtime, env=None):
    """The JSON object that the command prints."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})},
                          preexec_fn=prefer if realtime else None)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\nfailed with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def llama_bench(args, model, options, repeat):
    """What llama.cpp's own programs measure of a model, in the form of the other peers: the prompt at each depth, then
    generation behind the prompt, as it is measured elsewhere; several sequences by llama-batched-bench, which lies beside."""
    def command(program, *more):
        return [str(program), "-m", model, "-t", str(args.threads), *more]

    runs = []
    for depth in map(int, str(options.get("depth", "0")).split(",")):
        for kind, tokens in (("prompt", ["-p", "512", "-n", "0", "-d", str(depth)]),
                             ("generation", ["-p", "0", "-n", "64", "-d", str(depth + 512)])):
            found = measure(command(args.llama_bench, *tokens, "-r", str(repeat), "-o", "jsonl"), args.realtime)
            runs.append({"kind": kind, "depth": depth, "sequences": 1, "tps": found["avg_ts"]})
    sequences = options.get("sequences", 1)
    if sequences > 1:
        batched = pathlib.Path(args.llama_bench).with_name("llama-batched-bench")
        found = measure(command(batched, "-tb", str(args.threads), "-c", str(sequences * 128), "-npp", "1", "-ntg", "64",
                                "-npl", str(sequences), "--output-format", "jsonl"), args.realtime)
        runs.append({"kind": "generation", "depth": 0, "sequences": sequences, "tps": found["speed_tg"]})
    return {"peer": "llama.cpp by llama-bench", "runs": runs}


def by_shape(result):
    return {(run["kind"], run["depth"], run["sequences"]): run for run in result["runs"]}


def compare(case, args):
    """What was measured of one case: rows, and what is the same for all of them."""
    name, options, peer_kind, large, aims = case
    model = str(args.models / f"{name}.gguf")
    repeat = 1 if args.quick else args.repeat
    rounds = 1 if args.quick and large else args.rounds
    common = ["--repeat", str(repeat), "--threads", str(args.threads)]
    for key, value in options.items():
        common += [f"--{key}", str(value)]
    ingle = [str(args.ingle), "bench", model, *common, "--json"]
    peer = [*(NODE if peer_kind == "node" else [args.avx2_python, AVX2]), model, *common]
    env = {"INGLE_ISA": "avx2"} if peer_kind == "avx2" else {}
    ours, theirs = [], []
    for turn in range(rounds):
        start = time.time()
        ours.append(measure(ingle, args.realtime, env))
        middle = time.time()
        if peer_kind == "node" and args.llama_bench:
            theirs.append(llama_bench(args, model, options, repeat))
        else:
            theirs.append(measure(peer, args.realtime))
        print(f"{name} {options} {peer_kind}: turn {turn + 1} of {rounds}, {middle - start:.0f} s and "
              f"{time.time() - middle:.0f} s", file=sys.stderr, flush=True)
    rows = []
    mine, yours = [by_shape(r) for r in ours], [by_shape(r) for r in theirs]
    for shape in mine[0]:
        if shape not in yours[0]:
            continue
        tps, limit = (statistics.median(r[shape][key] for r in mine) for key in ("tps", "limit_tps"))
        rows.append({
            "model": name, "peer": peer_kind, "kind": shape[0], "tokens": mine[0][shape]["tokens"], "depth": shape[1],
            "sequences": shape[2], "aim": aims.get(shape), "ingle": tps, "limit": limit, "bound": mine[0][shape]["bound"],
            "other": statistics.median(r[shape]["tps"] for r in yours), "work": {
                key: mine[0][shape].get(key) for key in ("bytes", "int8_ops", "f32_ops")},
        })
    common = {key: statistics.median(r[key] for r in ours)
              for key in ("read_gbps", "int8_tops", "f32_tflops", "load_seconds", "peak_bytes")}
    return {"rows": rows, "common": common, "isa": ours[0]["isa"], "name": theirs[0]["peer"]}


def key_of(case):
    return f"{case[0]} {case[2]} {json.dumps(case[1])}"


def why_skipped(case, args):
    if args.only and not any(part in case[0] for part in args.only):
        return "not asked for"
    if not (args.models / f"{case[0]}.gguf").is_file():
        return "the file is not there"
    if case[2] == "avx2" and not args.avx2_python:
        return "no --avx2-python"
    if args.quick and case[1].get("depth") == "16384":
        return "--quick"
    return None


def run_all(args):
    results = {}
    if args.resume and args.json.is_file():
        results = json.loads(args.json.read_text())
    for case in CASES:
        key, skipped = key_of(case), why_skipped(case, args)
        if key in results and "rows" in results[key]:
            continue
        if skipped:
            results[key] = {"skipped": skipped}
            continue
        try:
            results[key] = compare(case, args)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            print(error, file=sys.stderr)
            results[key] = {"skipped": f"failed: {str(error).splitlines()[-1][:80]}"}
        args.json.write_text(json.dumps(results, indent=1))
    return results


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def commit():
    done = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown commit"


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}"


def row(r):
    what = f"{r['kind']} {r['tokens']}"
    if r["depth"]:
        what += f" at depth {r['depth']:,}"
    if r["sequences"] > 1:
        what += f", {r['sequences']} together"
    if r["peer"] == "avx2":
        what += ", both AVX2"
    aim = r["aim"] or ""
    aim = aim if isinstance(aim, str) else f"{aim:.1f}x"
    return (f"| {r['model']} | {what} | {number(r['ingle'])} | {number(r['other'])} | {r['ingle'] / r['other']:.2f} | {aim} "
            f"| {r['ingle'] / r['limit']:.0%} of {r['bound']} | {r['other'] / r['limit']:.0%} |")


def table(results, args, load):
    done = [r for r in results.values() if "rows" in r]
    if not done:
        sys.exit("nothing was measured")
    best = {key: max(r["common"][key] for r in done if r["isa"] != "avx2" or len(done) == 1 or key == "read_gbps")
            for key in ("read_gbps", "int8_tops", "f32_tflops")} if any(r["isa"] != "avx2" for r in done) else \
        {key: max(r["common"][key] for r in done) for key in ("read_gbps", "int8_tops", "f32_tflops")}
    peers = ", ".join(dict.fromkeys(r["name"] for r in done))
    turns = f"{args.rounds} turns of one (one turn of the largest)" if args.quick else f"{args.rounds} turns of {args.repeat}"
    print(f"{datetime.date.today()}, {processor()}, {os.cpu_count()} processors, {args.threads} threads; reads "
          f"{best['read_gbps']:.1f} GB/s, {best['int8_tops']:.2f} TOPS of 8-bit integers, {best['f32_tflops']:.2f} TFLOPS of f32. "
          f"Ingle {commit()}; {peers}. Medians of {turns}; load {load:.1f} before the start"
          f"{', real-time priority' if args.realtime else ''}.\n")
    print("| model | what | Ingle, tokens/s | llama.cpp | ratio | aim | Ingle's share of the limit | llama.cpp's |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for result in results.values():
        for r in result.get("rows", []):
            print(row(r))
    for case in CASES:
        result = results.get(key_of(case), {})
        if "skipped" in result and result["skipped"] != "not asked for":
            depth = f" at depth {case[1]['depth']}" if "depth" in case[1] else ""
            print(f"| {case[0]} |{' both AVX2,' if case[2] == 'avx2' else ''}{depth} skipped: {result['skipped']} | | | | | | |")
    print("\n| model | ready after, s | memory at most, GiB |\n| --- | ---: | ---: |")
    for result in done:
        if result["isa"] != "avx2":
            c = result["common"]
            print(f"| {result['rows'][0]['model']} | {c['load_seconds']:.2f} | {c['peak_bytes'] / 2**30:.2f} |")


def main():
    args = arguments()
    load = os.getloadavg()[0]
    table(run_all(args), args, load)


if __name__ == "__main__":
    main()
