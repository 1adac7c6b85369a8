"""Prompt and generation speed of an llama.cpp that was built for AVX2, through llama-cpp-python.

    python llama_cpp_avx2.py MODEL.gguf [--prompt 512] [--generate 64] [--depth 0,4096] [--repeat 3] [--threads 2]
                             [--cold]

bench/README.md says how it is built. Prints what llama_cpp.mjs prints. It calls llama.cpp's own functions, so that
nothing is timed but forward passes and the greedy choice; flash attention where llama.cpp itself chooses it.
With --cold, for a model that does not fit in memory, the file is mapped, no weight is copied into another order (that
would take memory for all of them), and nothing is run before what is timed; any build will do.
"""
import argparse
import ctypes
import json
import statistics
import sys
import time

import llama_cpp
import numpy

BATCH = 512


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--depth", default="0")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    args.depths = [int(n) for n in args.depth.split(",")]
    return args


class Model:
    def __init__(self, args):
        llama_cpp.llama_backend_init()
        features = llama_cpp.llama_print_system_info().decode()
        if not args.cold and ("AVX512 = 1" in features or "AVX2 = 1" not in features):
            sys.exit(f"this llama.cpp was not built for AVX2 alone: {features}")
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        if args.cold:
            if hasattr(params, "load_mode"):
                params.load_mode = 1  # LLAMA_LOAD_MODE_MMAP
            else:
                params.use_mmap = True
            params.use_extra_bufts = False
        self.model = llama_cpp.llama_model_load_from_file(args.model.encode(), params)
        if not self.model:
            sys.exit(f"llama.cpp could not load {args.model}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = max(args.depths) + max(args.prompt, args.generate) + 64
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = args.threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def cut(self, depth):
        memory = llama_cpp.llama_get_memory(self.context)
        llama_cpp.llama_memory_seq_rm(memory, -1, depth, -1)

    def read(self, tokens):
        """Computes tokens and answers the most likely next one."""
        for start in range(0, len(tokens), BATCH):
            part = tokens[start:start + BATCH]
            array = (llama_cpp.llama_token * len(part))(*part)
            if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(part))) != 0:
                sys.exit("llama.cpp could not compute a batch")
        logits = llama_cpp.llama_get_logits_ith(self.context, -1)
        pointer = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float))
        return int(numpy.ctypeslib.as_array(pointer, shape=(self.vocab,)).argmax())

    def prompt(self, tokens, depth):
        self.cut(depth)
        start = time.perf_counter()
        self.read(tokens)
        return time.perf_counter() - start

    def generate(self, token, count, depth):
        self.cut(depth)
        start = time.perf_counter()
        for _ in range(count):
            token = self.read([token])
        return time.perf_counter() - start


def main():
    args = arguments()
    model = Model(args)
    random = numpy.random.default_rng(1)
    tokens = random.integers(0, model.vocab, max(args.depths) + args.prompt).tolist()
    if not args.cold:
        model.prompt(tokens[:32], 0)
    runs = []
    for depth in args.depths:
        model.cut(0)
        model.read(tokens[:depth]) if depth else None
        text = tokens[depth:depth + args.prompt]
        prompts, generated = [], []
        for _ in range(args.repeat):
            prompts.append(args.prompt / model.prompt(text, depth))
            if args.cold:
                print(f"prompt: {prompts[-1]:.3f} tokens/s", file=sys.stderr, flush=True)
            generated.append(args.generate / model.generate(text[0], args.generate, depth))
        for kind, n, rates in (("prompt", args.prompt, prompts), ("generation", args.generate, generated)):
            runs.append({"kind": kind, "tokens": n, "depth": depth, "sequences": 1,
                         "tps": round(statistics.median(rates), 4), "all": [round(x, 4) for x in rates]})
    print(json.dumps({"peer": f"llama-cpp-python {llama_cpp.__version__}" + (", mapped" if args.cold else ", AVX2"), "threads": args.threads, "runs": runs}))


main()
