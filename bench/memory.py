#!/usr/bin/env python3
"""Measure a model larger than its budget beside llama.cpp, both in control groups, and print the table of bench/README.md.

    cargo build --release
    bench/memory.py MODEL.gguf --peer-python PYTHON [--budgets 4GiB,6GiB,8GiB,12GiB] > table.md

For each budget the page cache is dropped and a control group of the budget and 64 MiB is made (see group.py). In it run
`ingle plan` (what is expected), `ingle bench` (a prompt of 512 tokens, then 64 tokens), and llama.cpp with the file
mapped (the same prompt, then a few tokens; PYTHON has llama-cpp-python). What ran so far is kept in --json, and
--resume goes on from there.
Python 3.9, no packages.
"""
import argparse
import json
import os
import pathlib
import sys

import group

HERE = pathlib.Path(__file__).resolve().parent
SPARE = 64 << 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--budgets", default="4GiB,6GiB,8GiB,12GiB")
    parser.add_argument("--ingle", type=pathlib.Path, default=HERE.parent / "target" / "release" / "ingle")
    parser.add_argument("--peer-python", help="a Python that has llama-cpp-python; without it no peer is measured")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--peer-generate", type=int, default=4, help="tokens that llama.cpp generates [4]")
    parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="of each program [1800]")
    parser.add_argument("--json", type=pathlib.Path, default=HERE / "memory.json", help="what was measured")
    parser.add_argument("--resume", action="store_true", help="keep what --json holds already")
    return parser.parse_args()


def in_group(command, budget, args):
    """What the command took in a group, and the JSON object that it printed, if it came so far."""
    result = group.run([str(part) for part in command], budget + SPARE, [args.model], args.timeout)
    output, errors = result.pop("output"), result.pop("errors")
    result["answer"] = None
    if result["code"] == 0:
        result["answer"] = json.loads(output.strip().splitlines()[-1])
    else:
        result["last"] = errors.strip().splitlines()[-1:] or [""]
        print(f"{command[0]} ended with {result['code']}: {errors[-1500:]}", file=sys.stderr)
    return result


def measure(budget, args):
    memory, common = ["--memory", budget], ["--threads", args.threads]
    shape = ["--prompt", args.prompt, "--repeat", args.repeat]
    ctx = ["--ctx", args.prompt + 128]
    programs = {
        "plan": [args.ingle, "plan", args.model, "--json", *memory, *common, *ctx],
        "ingle": [args.ingle, "bench", args.model, "--json", *memory, *common, *shape, "--generate", args.generate],
    }
    if args.peer_python:
        peer = [args.peer_python, HERE / "peers" / "llama_cpp_avx2.py", args.model, "--cold"]
        programs["peer"] = [*peer, *common, *shape, "--generate", args.peer_generate]
    results = {}
    for name, command in programs.items():
        results[name] = in_group(command, budget, args)
        seconds, peak = results[name]["seconds"], results[name]["peak"] or 0
        print(f"{budget / 2**30:g} GiB: {name} {seconds:.0f} s, peak {peak / 2**30:.2f} GiB", file=sys.stderr, flush=True)
    return results


def run_of(result, kind):
    answer = (result or {}).get("answer")
    runs = [run for run in answer["runs"] if run["kind"] == kind] if answer else []
    return runs[0] if runs else None


def number(value, form="{:.2f}"):
    return "-" if value is None else form.format(value)


def generation_row(budget, results):
    ours, theirs = run_of(results["ingle"], "generation"), run_of(results.get("peer"), "generation")
    plan, peer = results["plan"]["answer"] or {}, results.get("peer")
    cells = [f"{budget / 2**30:g} GiB"]
    if not ours:
        return [*cells, f"failed: {results['ingle'].get('last', [''])[0][:80]}"] + [""] * 11
    stream = ours.get("stream") or {}
    disk = ((results["ingle"]["answer"].get("stream")) or {}).get("disk_bytes_per_second")
    missing = (stream.get("missing_bytes_per_token") or 0) / disk if disk else 0
    both = 1 / (1 / ours["limit_tps"] + missing)
    cells += [number(ours["tps"]), number(stream.get("hit_rate"), "{:.1%}"),
              number((stream.get("disk_bytes_per_token") or 0) / 2**20, "{:.0f}"),
              number((stream.get("kernel_disk_bytes_per_token") or 0) / 2**20, "{:.0f}"),
              number(stream.get("waiting_share"), "{:.0%}"), f"{ours['limit_tps']:.1f}", number(both, "{:.1f}"),
              number(ours["tps"] / both, "{:.0%}"), number(plan.get("tokens_per_second"))]
    if theirs:
        cells += [number(theirs["tps"], "{:.3f}"), number(ours["tps"] / max(theirs["tps"], 1e-9), "{:.0f}")]
    elif peer:
        cells += ["killed" if peer["kills"] else "no end in time" if peer["timed_out"] else "failed", "-"]
    else:
        cells += ["-", "-"]
    return cells


def prompt_row(budget, results):
    ours, theirs = run_of(results["ingle"], "prompt"), run_of(results.get("peer"), "prompt")
    result = results["ingle"]
    cells = [f"{budget / 2**30:g} GiB"]
    if not ours:
        return cells + [""] * 8
    seconds = ours["tokens"] / ours["tps"]
    stream = result["answer"].get("stream")
    once = None
    if stream and stream.get("disk_bytes_per_second"):
        missing = stream["streamed_bytes"] - stream["cache_bytes"]
        once = missing / stream["disk_bytes_per_second"]
    cells += [number(seconds, "{:.1f}"), number(once, "{:.1f}"), number(seconds / once if once else None),
              number(theirs["tokens"] / theirs["tps"] if theirs else None, "{:.1f}")]
    peer = results.get("peer")
    cells += [number((result["peak"] or 0) / 2**30), "yes" if (result["peak"] or 0) <= budget else "no",
              f"{result['kills']}, {result['major_faults']:,}",
              f"{peer['kills']}, {peer['major_faults']:,}" if peer else "-"]
    return cells


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + " --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main():
    args = arguments()
    budgets = [group.size(text) for text in args.budgets.split(",")]
    done = json.loads(args.json.read_text()) if args.resume and args.json.is_file() else {}
    for budget in budgets:
        if str(budget) not in done:
            try:
                done[str(budget)] = measure(budget, args)
            except group.NoGroup as error:
                sys.exit(f"no control group: {error}")
            args.json.write_text(json.dumps(done, indent=1))
    rows = [(budget, done[str(budget)]) for budget in budgets]
    size = args.model.stat().st_size / 1e9
    print(f"{args.model.stem}, {size:.1f} GB; {args.threads} threads; page cache cold, control group (version "
          f"{rows[0][1]['ingle']['version']}) of the budget and 64 MiB.\n\nGeneration, {args.generate} tokens "
          f"(llama.cpp: {args.peer_generate}):\n")
    table(["budget", "Ingle, tokens/s", "found in the cache", "MiB read a token", "by the kernel's count",
           "waiting for the disk", "bound: memory alone", "memory, then what is missing from disk", "share of it", "`ingle plan` said", "llama.cpp", "ratio"], [generation_row(*row) for row in rows])
    print(f"\nA prompt of {args.prompt} tokens, and memory:\n")
    table(["budget", "Ingle, s", "one read of what is not held, s", "ratio", "llama.cpp, s", "peak, GiB", "within",
           "killed, major faults", "llama.cpp's"], [prompt_row(*row) for row in rows])


if __name__ == "__main__":
    main()
