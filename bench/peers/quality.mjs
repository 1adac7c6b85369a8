// How far llama.cpp's predictions are from a reference, through node-llama-cpp's prebuilt binaries.
//
//     node quality.mjs MODEL.gguf DUMP
//
// DUMP is what `cargo run --release --example quality` wrote: windows of tokens and the reference's logits.
// Prints one JSON line with the figures of that program, for llama.cpp with its own defaults (F16 keys and
// values, flash attention where it chooses it).
import {closeSync, openSync, readSync} from "node:fs";
import {getLlama} from "node-llama-cpp";

const [path, dumpPath] = process.argv.slice(2);
if (dumpPath === undefined) throw new Error("usage: node quality.mjs MODEL.gguf DUMP");

const dump = openSync(dumpPath);
function read(Kind, count) {
    const bytes = new Uint8Array(4 * count);
    let done = 0;
    while (done < bytes.length) {
        const n = readSync(dump, bytes, done, bytes.length - done);
        if (n === 0) throw new Error(`${dumpPath} is cut short`);
        done += n;
    }
    return new Kind(bytes.buffer);
}

const [vocab, windows, length] = read(Uint32Array, 3);
const half = Math.floor(length / 2);

const llama = await getLlama({build: "never", gpu: false, logLevel: "error"});
const model = await llama.loadModel({modelPath: path, gpuLayers: 0});
const context = await model.createContext({contextSize: length + 64, batchSize: length, threads: 2});
const sequence = context.getSequence();

/** The logarithms of the probabilities, and the most likely token. */
function logProbabilities(logits) {
    let top = 0;
    for (let i = 0; i < logits.length; i++) if (logits[i] > logits[top]) top = i;
    let sum = 0;
    for (const x of logits) sum += Math.exp(x - logits[top]);
    const logSum = logits[top] + Math.log(sum);
    return [Float64Array.from(logits, (x) => x - logSum), top];
}

const divergences = [];
let same = 0, surprise = 0;
for (let w = 0; w < windows; w++) {
    const tokens = Array.from(read(Uint32Array, length));
    await sequence.clearHistory();
    const input = tokens.map((token, i) =>
        i >= half && i < length - 1 ? [token, {generateNext: {logits: true}}] : token);
    const outputs = await sequence.controlledEvaluate(input);
    for (let i = half; i < length - 1; i++) {
        const theirs = new Float64Array(vocab).fill(NaN);
        for (const [token, logit] of outputs[i].next.logits) theirs[token] = logit;
        const [p, top] = logProbabilities(Float64Array.from(read(Float32Array, vocab)));
        const [q, theirTop] = logProbabilities(theirs);
        let kl = 0;
        for (let t = 0; t < vocab; t++) kl += Math.exp(p[t]) * (p[t] - q[t]);
        if (Number.isNaN(kl)) throw new Error("llama.cpp gave no logit for some token");
        divergences.push(Math.max(kl, 0));
        same += top === theirTop;
        surprise -= q[tokens[i + 1]];
    }
}
closeSync(dump);
divergences.sort((a, b) => a - b);
const n = divergences.length;
console.log(JSON.stringify({
    peer: `llama.cpp ${llama.llamaCppRelease.release}`,
    predictions: n,
    mean_kl: divergences.reduce((a, b) => a + b, 0) / n,
    kl_999: divergences[Math.ceil(n * 0.999) - 1],
    max_kl: divergences[n - 1],
    same_top: same / n,
    perplexity: Math.exp(surprise / n),
}));
process.exit(0);
