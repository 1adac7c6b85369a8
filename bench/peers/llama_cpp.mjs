// Prompt and generation speed of llama.cpp, through node-llama-cpp's prebuilt binaries.
//
//     npm install            (once, in this folder)
//     node llama_cpp.mjs MODEL.gguf [--prompt 512] [--generate 64] [--repeat 3] [--threads 2]
//                        [--flash-attention auto|on|off]
//
// Prints one JSON line with the medians: {"prompt_tps": .., "generate_tps": .., ..}.
// prompt_tps: random tokens into an empty context, until the token after them is chosen.
// generate_tps: greedy tokens from an empty context, one forward pass each, end tokens ignored. What is timed
// includes the greedy choice and a hop between threads, together well under a millisecond a token.
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
            repeat: {type: "string", default: "3"},
            threads: {type: "string", default: "2"},
            "flash-attention": {type: "string", default: "auto"},
        },
    });
    const number = (name) => {
        const n = Number(values[name]);
        if (!Number.isInteger(n) || n < 1) throw new Error(`--${name} takes a whole number from 1, not ${values[name]}`);
        return n;
    };
    if (positionals.length !== 1) throw new Error("usage: node llama_cpp.mjs MODEL.gguf [--prompt N] [--threads N] ..");
    return {
        path: positionals[0],
        prompt: number("prompt"),
        generate: number("generate"),
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

/** Seconds from giving `tokens` to an empty context until `count` tokens have come out. */
async function seconds(sequence, tokens, count) {
    await sequence.clearHistory();
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

const args = readArguments();
const llama = await getLlama({build: "never", gpu: false, logLevel: "error", maxThreads: args.threads});
const model = await llama.loadModel({modelPath: args.path, gpuLayers: 0});
const context = await model.createContext({
    contextSize: Math.max(args.prompt, args.generate) + 64,
    batchSize: BATCH,
    threads: args.threads,
    flashAttention: args.flashAttention,
});
const sequence = context.getSequence();
const vocab = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const prompt = randomTokens(args.prompt, vocab);

await seconds(sequence, prompt.slice(0, 32), 4); // reads the file, starts the threads
const promptTps = [], generateTps = [];
for (let i = 0; i < args.repeat; i++) {
    promptTps.push(args.prompt / await seconds(sequence, prompt, 1));
    generateTps.push(args.generate / await seconds(sequence, prompt.slice(0, 1), args.generate));
}
const round = (x) => Math.round(x * 100) / 100;
console.log(JSON.stringify({
    peer: `llama.cpp ${llama.llamaCppRelease.release}`,
    threads: args.threads,
    prompt: args.prompt,
    generate: args.generate,
    prompt_tps: round(median(promptTps)),
    generate_tps: round(median(generateTps)),
    prompt_all: promptTps.map(round),
    generate_all: generateTps.map(round),
}));
process.exit(0);
