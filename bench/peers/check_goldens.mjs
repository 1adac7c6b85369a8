// Runs llama.cpp over the network goldens: the GGUF files that make.py wrote must mean there what they
// mean in transformers. Logits agree as far as llama.cpp's 16-bit cache of keys and values allows.
//
//     npm install            (once, in this folder)
//     node check_goldens.mjs ../../crates/model/tests/goldens
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {getLlama} from "node-llama-cpp";

const TOLERANCE = 0.05; // logits deviate by 1.3 to 2
const folder = process.argv[2];
if (folder === undefined) {
    console.error("usage: node check_goldens.mjs GOLDENS_FOLDER");
    process.exit(2);
}

/** The largest difference of any logit over the first `positions`, and over the rest. */
async function differences(llama, golden) {
    const bytes = readFileSync(join(folder, golden.name + ".logits"));
    const want = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    if (want.length !== golden.vocab * golden.tokens.length)
        throw new Error(`${golden.name}.logits has ${want.length} numbers`);
    const model = await llama.loadModel({modelPath: join(folder, golden.name + ".gguf"), gpuLayers: 0});
    const context = await model.createContext({contextSize: 256, batchSize: 256, flashAttention: false});
    const rows = await context.getSequence().controlledEvaluate(
        golden.tokens.map((token) => [token, {generateNext: {logits: true}}]));
    // Beyond these positions llama.cpp computes another model: make.py says for which keys and why.
    const comparable = golden.in_llama_cpp;
    let worst = 0, beyond = 0;
    rows.forEach((row, position) => {
        for (const [token, logit] of row.next.logits) {
            const off = Math.abs(logit - want[position * golden.vocab + token]);
            if (position < comparable) worst = Math.max(worst, off);
            else beyond = Math.max(beyond, off);
        }
    });
    await context.dispose();
    await model.dispose();
    return {worst, beyond, comparable};
}

const llama = await getLlama({build: "never", gpu: false, logLevel: "error"});
let bad = 0;
for (const golden of JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"))) {
    const {worst, beyond, comparable} = await differences(llama, golden);
    const verdict = worst < TOLERANCE ? "ok" : "DIFFERS";
    if (worst >= TOLERANCE) bad++;
    console.log(`${golden.name.padEnd(18)} ${verdict.padEnd(8)} ${worst.toFixed(4)} over ${comparable} positions` +
        (beyond > 0 ? `; ${beyond.toFixed(2)} after them, as expected` : ""));
}
process.exit(bad === 0 ? 0 : 1);
