// Drives `ingle serve` (the built-in model, at the address given) with the AI SDK: the packages `ai` and
// `@ai-sdk/openai-compatible`.

globalThis.AI_SDK_LOG_WARNINGS = false;
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";

const baseURL = process.argv[2];
const ingle = createOpenAICompatible({ name: "ingle", baseURL, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true });
const MODEL = "ingle-mini";
const model = ingle.chatModel(MODEL);
const prompt = "Tell me a story about a fox";
const usual = { model, prompt, seed: 7, temperature: 0, maxOutputTokens: 30, maxRetries: 0 };

async function texts() {
  const whole = await generateText(usual);
  assert(whole.text && ["stop", "length"].includes(whole.finishReason));
  assert(whole.usage.inputTokens > 0 && whole.usage.outputTokens > 0);
  const stream = streamText(usual);
  let said = "";
  for await (const part of stream.textStream) said += part;
  assert.equal(said, whole.text);
  assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
  assert.equal(await stream.finishReason, whole.finishReason);
  const word = whole.text.split(/\s+/)[3];
  const cut = await generateText({ ...usual, stopSequences: [word] });
  assert(!cut.text.includes(word));
  const talk = [
    { role: "system", content: "Be brief." },
    { role: "user", content: prompt },
    { role: "assistant", content: whole.text },
    { role: "user", content: [{ type: "text", text: "And then?" }] },
  ];
  assert((await generateText({ ...usual, prompt: undefined, allowSystemInMessages: true, messages: talk })).text !== undefined);
  const old = await generateText({ ...usual, model: ingle.completionModel(MODEL), prompt: "Once upon a time" });
  assert(old.text);
}

async function objects() {
  const schema = jsonSchema({
    type: "object",
    properties: { name: { enum: ["Ann", "Bob"] }, age: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["name", "age"],
    additionalProperties: false,
  });
  const ask = { ...usual, maxOutputTokens: 400, output: Output.object({ schema }) };
  const right = (value) => assert(["Ann", "Bob"].includes(value.name) && Number.isInteger(value.age), JSON.stringify(value));
  right((await generateText(ask)).output);
  const stream = streamText(ask);
  let pieces = 0;
  for await (const part of stream.partialOutputStream) pieces += part ? 1 : 0;
  assert(pieces > 0);
  right(await stream.output);
}

async function tools() {
  const seen = [];
  const add = tool({
    description: "Adds two numbers.",
    inputSchema: jsonSchema({
      type: "object",
      properties: { a: { type: "integer", minimum: 0, maximum: 999 }, b: { type: "integer", minimum: 0, maximum: 999 } },
      required: ["a", "b"],
      additionalProperties: false,
    }),
    execute: ({ a, b }) => {
      seen.push([a, b]);
      return a + b;
    },
  });
  const ask = { ...usual, prompt: "What is 3 plus 4?", maxOutputTokens: 120, tools: { add }, toolChoice: "required", stopWhen: stepCountIs(2) };
  const whole = await generateText(ask);
  assert.equal(whole.steps.length, 2);
  assert(seen.length >= 1 && seen.flat().every(Number.isInteger), JSON.stringify(whole.steps.map((step) => step.content)));
  assert(whole.steps[0].toolCalls.every((call) => call.toolName === "add" && call.toolCallId));
  const stream = streamText({ ...ask, toolChoice: { type: "tool", toolName: "add" }, stopWhen: stepCountIs(1) });
  const kinds = new Set();
  for await (const part of stream.fullStream) {
    assert.notEqual(part.type, "error", JSON.stringify(part));
    kinds.add(part.type);
  }
  assert(kinds.has("tool-call") && kinds.has("tool-result"), [...kinds].join(" "));
  assert((await generateText({ ...ask, toolChoice: "none", stopWhen: stepCountIs(1) })).toolCalls.length === 0);
}

async function reasoning() {
  const ask = { ...usual, model: ingle.chatModel("thinker"), maxOutputTokens: 24 };
  const whole = await generateText(ask);
  assert(whole.reasoningText);
  let thought = "";
  for await (const part of streamText(ask).fullStream) thought += part.type === "reasoning-delta" ? part.text : "";
  assert.equal(thought, whole.reasoningText);
}

async function numbers() {
  const embedding = ingle.embeddingModel(MODEL);
  const one = await embed({ model: embedding, value: "a fox", maxRetries: 0 });
  const several = await embedMany({ model: embedding, values: ["a fox", "the sea"], maxRetries: 0 });
  assert.equal(several.embeddings.length, 2);
  assert.deepEqual(one.embedding, several.embeddings[0]);
}

async function refusals() {
  const refused = (status, word, more) =>
    assert.rejects(
      () => generateText({ ...usual, ...more }),
      (error) => {
        assert(APICallError.isInstance(error), `${error}`);
        assert.equal(error.statusCode, status);
        assert(error.message.includes(word), error.message);
        return true;
      },
    );
  await refused(404, "model", { model: ingle.chatModel("gpt-4o") });
  await refused(400, "tokens", { prompt: "word ".repeat(20000) });
  await refused(400, "temperature", { temperature: -1 });
}

async function running() {
  const health = await fetch(new URL("/health", baseURL));
  return (await health.json()).running;
}

async function goes() {
  const leaving = new AbortController();
  const endless = { ...usual, maxOutputTokens: 450, providerOptions: { ingle: { logit_bias: { 0: -100, 1: -100, 2: -100 } } } };
  const stream = streamText({ ...endless, abortSignal: leaving.signal, onError: () => {} });
  for await (const part of stream.fullStream) {
    if (part.type === "text-delta") leaving.abort();
  }
  const asked = generateText({ ...endless, abortSignal: AbortSignal.timeout(20) });
  await assert.rejects(asked);
  const late = Date.now() + 60_000;
  while ((await running()) > 0) {
    assert(Date.now() < late, "an answer that nobody reads goes on");
    await new Promise((done) => setTimeout(done, 50));
  }
}

for (const test of [texts, objects, tools, reasoning, numbers, refusals, goes]) {
  await test();
}
console.log("all of it holds with the AI SDK");
