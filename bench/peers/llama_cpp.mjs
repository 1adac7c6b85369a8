// Prompt and generation speed of llama.cpp, through node-llama-cpp's prebuilt binaries.
//
//     npm install            (once, in this folder)
//     node llama_cpp.mjs MODEL.gguf [--prompt 512] [--generate 64] [--depth 0,4096] [--sequences 16]
//                        [--repeat 3] [--threads 2] [--flash-attention auto|on|off]
//
// Prints one JSON line; `runs` holds the medians in the form of `ingle bench --json`.
// prompt: random tokens behind `depth` others, until the token after them is chosen, in batches of up to 512.
// generation: greedy tokens, one forward pass each, end tokens ignored. What is timed includes the greedy choice and
// a hop between threads, together well under a millisecond a token.
// sequences: so many of them at the same time in one context, one token of prompt each; tokens of all, a second.
import {performance} from "node:perf_hooks";
import {parseArgs} from "node:util";
import {getLlama} from "node-llama-cpp";

const BATCH = 512;

function readArguments() {
    const {values, positionals} = parseArgs({
        allowPositionals: true,
        options: {
            prompt: {type: "string", default: "512"},
            generate: {type: "string", default: "64"},
            depth: {type: "string", default: "0"},
            sequences: {type: "string", default: "1"},
            repeat: {type: "string", default: "3"},
            threads: {type: "string", default: "2"},
            "flash-attention": {type: "string", default: "auto"},
        },
    });
    const number = (name, text = values[name], least = 1) => {
        const n = Number(text);
        if (!Number.isInteger(n) || n < least) throw new Error(`--${name} takes a whole number, not ${text}`);
        return n;
    };
    if (positionals.length !== 1) throw new Error("usage: node llama_cpp.mjs MODEL.gguf [--prompt N] [--threads N] ..");
    return {
        path: positionals[0],
        prompt: number("prompt"),
        generate: number("generate"),
        depths: values.depth.split(",").map((text) => number("depth", text, 0)),
        sequences: number("sequences"),
        repeat: number("repeat"),
        threads: number("threads"),
        flashAttention: {auto: "auto", on: true, off: false}[values["flash-attention"]],
    };
}

/** `count` tokens below `vocab` from a fixed sequence. */
function randomTokens(count, vocab) {
    let state = 12345n;
    return Array.from({length: count}, () => {
        state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
        return Number((state >> 33n) % BigInt(vocab));
    });
}

/** Gives `tokens` to a sequence behind `depth` others that are kept, and takes `count` tokens of it. */
async function take(sequence, tokens, count, depth = 0) {
    if (sequence.nextTokenIndex > depth)
        await sequence.eraseContextTokenRanges([{start: depth, end: sequence.nextTokenIndex}]);
    const start = performance.now();
    let left = count;
    for await (const _ of sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true})) {
        left -= 1;
        if (left === 0) break;
    }
    const end = performance.now();
    if (left !== 0) throw new Error(`llama.cpp stopped ${left} tokens early`);
    return (end - start) / 1000;
}

const median = (xs) => {
    const sorted = [...xs].sort((a, b) => a - b);
    const middle = Math.floor(sorted.length / 2);
    return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const round = (x) => Math.round(x * 100) / 100;
const run = (kind, tokens, depth, sequences, rates) =>
    ({kind, tokens, depth, sequences, tps: round(median(rates)), all: rates.map(round)});

const args = readArguments();
const llama = await getLlama({build: "never", gpu: false, logLevel: "error", maxThreads: args.threads});
const model = await llama.loadModel({modelPath: args.path, gpuLayers: 0});
const vocab = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const random = randomTokens(Math.max(...args.depths) + args.prompt, vocab);
const runs = [];

async function alone() {
    const context = await model.createContext({
        contextSize: Math.max(...args.depths) + Math.max(args.prompt, args.generate) + 64,
        batchSize: BATCH,
        threads: args.threads,
        flashAttention: args.flashAttention,
    });
    const sequence = context.getSequence();
    await take(sequence, random.slice(0, 32), 4); // reads the file, starts the threads
    for (const depth of args.depths) {
        const text = random.slice(depth, depth + args.prompt);
        await sequence.clearHistory();
        if (depth > 0) await take(sequence, random.slice(0, depth), 1);
        const prompts = [], generated = [];
        for (let i = 0; i < args.repeat; i++) {
            prompts.push(args.prompt / await take(sequence, text, 1, depth));
            generated.push(args.generate / await take(sequence, text.slice(0, 1), args.generate, depth));
        }
        runs.push(run("prompt", args.prompt, depth, 1, prompts));
        runs.push(run("generation", args.generate, depth, 1, generated));
    }
    await context.dispose();
}

async function together() {
    const context = await model.createContext({
        sequences: args.sequences,
        contextSize: args.generate + 64,
        batchSize: BATCH,
        threads: args.threads,
        flashAttention: args.flashAttention,
    });
    const sequences = Array.from({length: args.sequences}, () => context.getSequence());
    const rates = [];
    for (let i = 0; i <= args.repeat; i++) {
        const count = i === 0 ? 4 : args.generate;
        const start = performance.now();
        await Promise.all(sequences.map((sequence, s) => take(sequence, random.slice(s, s + 1), count)));
        const seconds = (performance.now() - start) / 1000;
        if (i > 0) rates.push(args.sequences * count / seconds);
    }
    runs.push(run("generation", args.generate, 0, args.sequences, rates));
    await context.dispose();
}

await alone();
if (args.sequences > 1) await together();
console.log(JSON.stringify({peer: `llama.cpp ${llama.llamaCppRelease.release}`, threads: args.threads, runs}));
process.exit(0);
