#!/usr/bin/env python3
"""Hold Ingle's arithmetic and llama.cpp's against the same weights without any rounding of activations.

    cargo build --release --bin ingle --example quality
    npm install --prefix bench/peers
    bench/quality.py --text STORIES.txt MODEL.gguf[:TYPE,TYPE...] ...

For each type of `ingle quantize` the model is written in it, and that file decoded to F32. The decoded weights with
F32 activations, keys and values are the reference: what a program's predictions differ from it is what its
arithmetic loses, the loss of the weights themselves left out. A text that is a .json list of strings is joined.
Prints the table of bench/README.md. Needs Python 3.9, no packages.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RELEASE = HERE.parent / "target" / "release"
TYPES = ["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_s", "q5_1", "q5_0", "q4_k_s", "q4_1", "q4_0", "iq4_nl", "iq4_xs",
         "mxfp4_moe", "q3_k_s", "q2_k"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.gguf[:TYPES]")
    parser.add_argument("--text", type=pathlib.Path, required=True, help="a text that the model was not trained on")
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--no-peer", action="store_true", help="Ingle alone")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures there too")
    return parser.parse_args()


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nfailed with {done.returncode}:\n{done.stderr}")
    return done.stdout


def measure(model, kind, args, folder):
    """The figures of Ingle and of llama.cpp for the model in one type."""
    file, decoded, dump = folder / f"{kind}.gguf", folder / "decoded.gguf", folder / "logits"
    run(RELEASE / "ingle", "quantize", model, file, kind, "--allow-requantize", "--force")
    run(RELEASE / "ingle", "quantize", file, decoded, "f32", "--allow-requantize", "--force")
    command = [RELEASE / "examples" / "quality", file, decoded, folder / "text", args.tokens]
    ours = json.loads(run(*command, *([] if args.no_peer else [dump])))
    theirs = None if args.no_peer else json.loads(run("node", HERE / "peers" / "quality.mjs", file, dump))
    if theirs and theirs["predictions"] != ours["predictions"]:
        sys.exit(f"{theirs['predictions']} predictions of llama.cpp's for {ours['predictions']} of Ingle's")
    file.unlink()
    return ours, theirs


def row(name, kind, ours, theirs):
    cells = [f"| {name} | {kind} | {ours['mean_kl']:.2e}", f"{ours['kl_999']:.2e}", f"{ours['same_top']:.2%}"]
    if theirs:
        ratio = [ours[key] / theirs[key] if theirs[key] else float("inf") for key in ("mean_kl", "kl_999")]
        cells += [f"{theirs['mean_kl']:.2e}", f"{theirs['kl_999']:.2e}", f"{theirs['same_top']:.2%}",
                  f"{ratio[0]:.2f}", f"{ratio[1]:.2f}"]
    return " | ".join(cells) + " |"


def main():
    args, results = arguments(), []
    print("| model | type | mean KL | 99.9% | same top | llama.cpp: mean KL | 99.9% | same top | ratio of means "
          "| of 99.9% |\n| --- | --- " + "| ---: " * 8 + "|")
    text = args.text.read_text()
    if args.text.suffix == ".json":
        text = "\n\n".join(json.loads(text))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "text").write_text(text)
        for argument in args.models:
            path, _, kinds = argument.partition(":")
            for kind in kinds.split(",") if kinds else TYPES:
                ours, theirs = measure(path, kind, args, folder)
                name = pathlib.Path(path).stem
                print(row(name, kind, ours, theirs), flush=True)
                results.append({"model": name, "type": kind, "ingle": ours, "peer": theirs})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    if results and results[0]["peer"]:
        print(f"\n{results[0]['peer']['peer']}, {results[0]['ingle']['predictions']} predictions", file=sys.stderr)


if __name__ == "__main__":
    main()
