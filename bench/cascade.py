#!/usr/bin/env python3
"""The built-in model as the first step of a cascade: questions whose answers are known, for `ingle calibrate --report`.

    bench/cascade.py [--ingle PATH] [--data ../shared/data] [--out FOLDER] [--most N] [--splits N]

Writes FOLDER/spam.jsonl and FOLDER/intents.jsonl and has both reported. All texts were kept out of the model's
training: messages and comments by the same split as in models/ingle-mini/labels.py, requests from the validation part of
clinc150. Each request is asked with two lists of eight names, one of five without the right one; requests outside of all
intents are among them. Answers are held to a schema: one of the labels, or one of the names and "none".

With --splits N the same is measured N times more, with the texts cut into other parts each time, and a line says how the
figures lie: what was chosen by one split was not chosen by these.
"""
import argparse, hashlib, json, os, random, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "ingle-mini"))
import labels


def row(prompt, text, key, right, choices, group):
    schema = {"type": "object", "properties": {key: {"enum": choices}}, "required": [key], "additionalProperties": False}
    return {"prompt": prompt, "text": text, "answers": [json.dumps({key: right})], "schema": schema, "max_tokens": 40, "group": group}


def spam(data):
    _, messages, comments = labels.spam(data)
    return [row(labels.SPAM_ASK[0] % t, t, "label", label, ["spam", "ham"], group)
            for group, rows in (("messages", messages), ("comments", comments)) for t, label in rows]


def intents(data):
    with open(os.path.join(data, "evals", "clinc150.json")) as f:
        clinc = json.load(f)
    names = sorted({i for _, i in clinc["train"]})
    out = []
    for text, intent in clinc["val"] + [(t, None) for t, *_ in clinc["oos_val"]]:
        for n in range(2):
            rng = random.Random(int.from_bytes(hashlib.sha256(f"{n} {text}".encode()).digest()[:8], "big"))
            given = rng.sample([i for i in names if i != intent], 8)
            right = "none"
            if intent is not None and rng.random() >= 0.2:
                given[rng.randrange(8)] = right = intent
            prompt = labels.intent_ask(labels.INTENT_ASK[0], given, text)
            group = "in scope" if right != "none" else "out of scope" if intent is None else "in scope, the right name not given"
            out.append(row(prompt, text, "intent", right, given + ["none"], group))
    return out


def splits(program, task, rows, folder, count):
    """How the figures lie over other splits: the part that a text falls to is by the hash of its letters."""
    figures = []
    for n in range(count):
        word = "split" + "".join(chr(ord("a") + int(c)) for c in str(n))
        path = os.path.join(folder, f"{task}-{word}.jsonl")
        with open(path, "w") as f:
            for r in rows:
                f.write(json.dumps({**r, "text": f"{r['text']} {word}"}) + "\n")
        done = subprocess.run([program, "calibrate", "--data", path, "--task", task, "--report", "--json"],
                              check=True, stdout=subprocess.PIPE)
        report = json.loads(done.stdout)
        figures.append((report["after"], report["raw"]))
    print(f"| {task}, {count} other splits | mean | least | most | raw: mean |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ["captured_at_20_percent", "auroc", "ece", "brier", "better_than_base_rate"]:
        ours, raw = zip(*((a[name], b[name]) for a, b in figures))
        mean = lambda values: sum(values) / len(values)
        print(f"| {name} | {mean(ours):.4f} | {min(ours):.4f} | {max(ours):.4f} | {mean(raw):.4f} |")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("--ingle", default=os.path.join(here, "..", "target", "release", "ingle"))
    p.add_argument("--data", default=os.path.join(here, "..", "..", "shared", "data"))
    p.add_argument("--out", default="/tmp/ingle-cascade")
    p.add_argument("--most", type=int, help="so many of each")
    p.add_argument("--only-write", action="store_true")
    p.add_argument("--splits", type=int, default=0, help="so many other splits, too")
    p.add_argument("--task", choices=["spam", "intents"], help="this one alone")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    for task, make in (("spam", spam), ("intents", intents)):
        if a.task not in (None, task):
            continue
        path = os.path.join(a.out, task + ".jsonl")
        rows = make(a.data)[:a.most]
        with open(path, "w") as f:
            for r in rows:
                f.write(json.dumps(r) + "\n")
        if not a.only_write:
            subprocess.run([a.ingle, "calibrate", "--data", path, "--task", task, "--report"], check=True)
            if a.splits:
                splits(a.ingle, task, rows, a.out, a.splits)


main()
