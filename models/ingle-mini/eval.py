#!/usr/bin/env python3
"""The figures of the model card, from the GGUF file itself: eval.py ingle-mini.gguf [--data DIR] [--ingle BINARY]

runner.py decodes the weights from their blocks and runs train.py's network in f32. With --ingle the program itself
does the tasks too, its answers held to a schema; then its free answers are compared with those of PyTorch, and it tells
the 100 stories: as it samples by itself, and with DRY.

bits per byte   each held-out story after the request "Tell me a story."; the bits of its own tokens (the end
                mark left out), over its UTF-8 bytes. On the first 100 stories whole, and on the first 20 cut where
                stories260K's tokenizer has 511 tokens and a BOS, which is how that model's 0.883 was measured.
                The first 20 are among the easier ones.
subject named   100 requests, one answer each at temperature 0.8, top-p 0.95: the subject's noun stands in the answer.
copied          of the words 8 in a row in those answers, the share that stands in the training stories;
                beside it the same for the held-out stories, which nobody copied.
repeated        of the words 4 in a row in an answer, the share that was there before in the same answer;
                beside it the same for the held-out stories.
The other tasks stand in tasks_eval.py, each beside a TF-IDF logistic regression that learned from the same split.
"""
import argparse, json, os, random, re, subprocess
import numpy as np, torch
import torch.nn.functional as F
import data, tasks_eval
from runner import agree, generate, load, prompt, served

SUBJECTS = """fox;wolf;bear;cat;dog;rabbit;mouse;frog;bird;duck;fish;horse;cow;pig;lion;tiger;monkey;elephant;owl;bee;
turtle;snake;squirrel;hedgehog;sheep;penguin;dragon;dinosaur;crab;whale;ball;doll;car;train;boat;kite;bike;hat;
balloon;box;tree;flower;garden;apple;cake;cookie;carrot;pumpkin;star;moon;rock;river;house;castle;robot;
king;queen;princess;pirate;farmer;teacher;doctor;baby;grandma;boy;girl;witch;giant;fairy;clown;book;bell;
drum;key;lamp;spoon;blanket;pillow;puzzle;truck;airplane;bus;rainbow;cloud;snowman;beach;forest;farm;zoo;shop;
brave knight;red ball;lost puppy;little bird;magic stone;boy who lost his ball;girl and a cat;dog and a cat;
fox and a rabbit;birthday party""".replace("\n", "").split(";")


@torch.no_grad()
def bits(model, tok, kv, stories):
    before, total, size = tok.encode(prompt(kv, "Tell me a story.")).ids, 0.0, 0
    for s in stories:
        ids = (before + tok.encode(s).ids)
        # A story longer than the context is measured up to the context, in tokens and in bytes.
        ids = ids[:model.c["context"]]
        size += len(tok.decode(ids[len(before):]).encode())
        x = torch.tensor(ids)
        logits = model(x[None, :-1])
        total += F.cross_entropy(logits[0, len(before) - 1:], x[len(before):], reduction="sum").item() / np.log(2)
    return total / size, total, size


def grams(text, n):
    w = data.words(text)
    return [tuple(w[i:i + n]) for i in range(len(w) - n + 1)]


def repeated(text):
    g = grams(text, 4)
    return 1 - len(set(g)) / max(1, len(g))


def stories(a, model, tok, kv):
    held = data.held_out(a.data)
    b, total, size = bits(model, tok, kv, held[:100])
    print(f"bits per byte, 100 held-out stories: {b:.4f} ({total:.0f} bits, {size} bytes)")
    b, _, _ = bits(model, tok, kv, [data.clean(s) for s in held[:100]])
    print(f"the same with plain quotes and dashes, as in training: {b:.4f}", flush=True)
    peer = os.path.join(a.data, "models", "stories260K", "tok512.model")
    if os.path.exists(peer):
        from sentencepiece import SentencePieceProcessor
        sp = SentencePieceProcessor(model_file=peer)
        b, total, size = bits(model, tok, kv, [sp.decode(sp.encode(s)[:511]) for s in held[:20]])
        print(f"bits per byte, first 20, cut as for stories260K (0.883): {b:.4f} ({total:.0f} bits, {size} bytes)")
    texts, done = generate(model, tok, kv, requests(), 0.8, limit=400)
    print("temperature 0.8, top-p 0.95: " + told(texts, done))
    known = {g for s in data.load(a.data)[0] for g in grams(s, 8)}
    share = lambda ts: sum(g in known for t in ts for g in grams(t, 8)) / sum(len(grams(t, 8)) for t in ts)
    print(f"8 words in a row copied from training: {share(texts):.2%} (held-out stories: {share(held[:200]):.2%})")
    print(f"4 words in a row repeated in held-out stories: {sum(map(repeated, held[:200])) / 200:.2%}", flush=True)


def requests():
    rng = random.Random(7)
    return [rng.choice(data.ASK[:16]).format(s=data.article(s)) for s in SUBJECTS]


def told(texts, done):
    """What can be counted in the answers to `requests()`."""
    noun = lambda s: re.split(r" who | and ", s)[0].split(" ")[-1]
    hits, n = sum(bool(re.search(rf"\b{noun(s)}", o.lower())) for s, o in zip(SUBJECTS, texts)), len(texts)
    return (f"subject named: {hits} of {n} answers; ended by itself: {sum(done)} of {n}; mean length "
            f"{sum(len(data.words(t)) for t in texts) / n:.0f} words; 4 words in a row repeated: {sum(map(repeated, texts)) / n:.2%}")


def told_by(binary, path, more):
    """The same 100 requests, answered by the program."""
    texts, done = [], []
    for ask in requests():
        out = subprocess.run([binary, "run", path, ask, "--seed", "1", "--json", *more], capture_output=True, check=True)
        answer = json.loads(out.stdout)
        texts.append(answer["text"])
        done.append(answer["finish_reason"] == "stop")
    print(f"the program, {' '.join(more) or 'as it samples by itself'}: {told(texts, done)}", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("gguf")
    ap.add_argument("--data", default=data.DATA)
    ap.add_argument("--ask", nargs="*", help="only answer these, greedy and sampled")
    ap.add_argument("--ingle", help="the program, to compare its answers")
    ap.add_argument("--only", nargs="*", default=["stories", "spam", "intent", "pii", "tools"])
    ap.add_argument("--n", type=int, default=0, help="at most so many items of each task, for a look while it trains")
    ap.add_argument("--alone", action="store_true", help="without TF-IDF beside it")
    a = ap.parse_args()
    torch.set_num_threads(1)  # two wait for each other on a busy machine
    model, tok, kv = load(a.gguf)
    if a.ask is not None:
        asks = a.ask or ["Tell me a story about a fox"]
        for title, temperature in (("greedy", 0), ("temperature 0.8", 0.8)):
            for ask, out in zip(asks, generate(model, tok, kv, asks, temperature)[0]):
                print(f"--- {ask} ({title})\n{out}\n")
        return
    print(f"{os.path.getsize(a.gguf)} bytes, {sum(p.numel() for p in model.parameters())} parameters")
    if "stories" in a.only:
        stories(a, model, tok, kv)
    tasks = [getattr(tasks_eval, name) for name in ("spam", "intent", "pii", "tools") if name in a.only]
    for task in tasks:
        task(a.data, lambda asks, limit, _: generate(model, tok, kv, asks, limit=limit)[0], a.n, not a.n and not a.alone)
    if a.ingle:
        print("the program, which holds labels, intents and personal data to a schema, and calls to their tools:")
        with served(a.ingle, a.gguf) as say:
            for task in tasks:
                task(a.data, say, a.n, False)
    if a.ingle and "stories" in a.only:
        agree(a.ingle, a.gguf, model, tok, kv, tasks_eval.a_few(a.data))
        for more in ([], ["--dry-multiplier", "0.8"]):
            told_by(a.ingle, a.gguf, more)


if __name__ == "__main__":
    main()
