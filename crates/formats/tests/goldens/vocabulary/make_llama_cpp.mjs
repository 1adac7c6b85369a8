// Writes llama_cpp.json: what llama.cpp makes of nasty texts, and of their tokens again.
//
//     npm install node-llama-cpp && node make_llama_cpp.mjs FOLDER TEXTS
//
// FOLDER holds the vocabularies (*.gguf); TEXTS is a file with one JSON string a line.
// node-llama-cpp 3.22.1 was used, with the llama.cpp that it brings.
import fs from "node:fs";
import path from "node:path";
import {getLlama} from "node-llama-cpp";

const [folder, file] = process.argv.slice(2);
const here = path.dirname(new URL(import.meta.url).pathname);
const texts = fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const llama = await getLlama({gpu: false, build: "never", logLevel: "disabled"});
const found = {};
for (const name of fs.readdirSync(folder).filter((name) => name.endsWith(".gguf")).sort()) {
    const model = await llama.loadModel({modelPath: path.join(folder, name), vocabOnly: true});
    found[name] = texts.map((text) => {
        const plain = model.tokenize(text, false);
        const special = model.tokenize(text, true);
        return [plain.join(" "), special.join(" ") === plain.join(" ") ? null : special.join(" "), model.detokenize(plain)];
    });
}
const rows = (list) => list.map((row) => JSON.stringify(row)).join(",\n");
const names = Object.keys(found).map((name) => `${JSON.stringify(name)}: [\n${rows(found[name])}]`);
const json = `{"texts": [\n${rows(texts)}],\n${names.join(",\n")}}\n`;
fs.writeFileSync(path.join(here, "llama_cpp.json"), json);
process.exit(0);
