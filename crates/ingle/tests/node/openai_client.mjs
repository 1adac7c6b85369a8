// Drives `ingle serve` (the built-in model, at the address given) with the official openai package of npm.

import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0, timeout: 120_000 });
const MODEL = (await client.models.list()).data[0].id;
const STORY = [{ role: "user", content: "Tell me a story about a fox" }];
const PERSON = {
  type: "object",
  properties: { name: { enum: ["Ann", "Bob"] }, age: { type: "integer", minimum: 0, maximum: 99 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const ADD = {
  name: "add",
  description: "Adds two numbers.",
  parameters: {
    type: "object",
    properties: { a: { type: "integer", minimum: 0, maximum: 999 }, b: { type: "integer", minimum: 0, maximum: 999 } },
    required: ["a", "b"],
    additionalProperties: false,
  },
};

const chat = (more = {}, options = {}) =>
  client.chat.completions.create({ model: MODEL, messages: STORY, seed: 7, max_tokens: 30, ...more }, options);

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

async function refused(kind, param, code, call) {
  await assert.rejects(call, (error) => {
    assert(error instanceof kind, `${error}`);
    assert.equal(error.param, param);
    assert.equal(error.code, code);
    assert(error.message && error.type && error.requestID);
    return true;
  });
}

function person(text) {
  const value = JSON.parse(text);
  assert.deepEqual(Object.keys(value).sort(), ["age", "name"]);
  assert(PERSON.properties.name.enum.includes(value.name) && value.age >= 0 && value.age <= 99, text);
}

async function models() {
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  await refused(OpenAI.NotFoundError, "model", "model_not_found", () => client.models.retrieve("gpt-4o"));
  await refused(OpenAI.NotFoundError, "model", "model_not_found", () => chat({ model: "gpt-4o" }));
}

async function chats() {
  const whole = await chat();
  const text = whole.choices[0].message.content;
  assert(text && whole._request_id);
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  const chunks = await all(await chat({ stream: true, stream_options: { include_usage: true } }));
  const said = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  assert.equal(said, text);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
  const helper = client.chat.completions.stream({ model: MODEL, messages: STORY, seed: 7, max_tokens: 30 });
  assert.equal(await helper.finalContent(), text);
  const several = await chat({ n: 3, temperature: 1 });
  assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2]);
  const word = text.split(/\s+/)[3];
  const cut = await chat({ stop: [word] });
  assert(!cut.choices[0].message.content.includes(word) && cut.choices[0].finish_reason === "stop");
  const probable = await chat({ temperature: 0, max_tokens: 2, logprobs: true, top_logprobs: 3 });
  assert.equal(probable.choices[0].logprobs.content[0].top_logprobs.length, 3);
  const banned = await chat({ temperature: 0, max_tokens: 1, logit_bias: { 5: -100 } });
  assert.equal(banned.usage.completion_tokens, 1);
  assert((await chat({ max_tokens: undefined, max_completion_tokens: 5 })).usage.completion_tokens <= 5);
}

async function forms() {
  const schema = { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } };
  const ask = { max_tokens: 400, response_format: schema };
  const one = (await chat(ask)).choices[0];
  assert.equal(one.finish_reason, "stop");
  person(one.message.content);
  person((await all(await chat({ ...ask, stream: true }))).map((c) => c.choices[0].delta.content ?? "").join(""));
  const parsed = await client.chat.completions.parse({ model: MODEL, messages: STORY, ...ask });
  assert(PERSON.properties.name.enum.includes(parsed.choices[0].message.parsed.name));
  const thing = (await chat({ max_tokens: 200, temperature: 0, response_format: { type: "json_object" } })).choices[0];
  assert(thing.finish_reason === "length" || typeof JSON.parse(thing.message.content) === "object");
  await refused(OpenAI.BadRequestError, "response_format", "unsupported_value", () =>
    chat({ response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "string", unknownWord: 1, $dynamicRef: "#x" } } } }),
  );
}

async function tools() {
  const ask = {
    messages: [{ role: "user", content: "What is 3 plus 4?" }],
    tools: [{ type: "function", function: ADD }],
    max_tokens: 120,
    temperature: 0,
    parallel_tool_calls: false,
  };
  const right = (call) => {
    const value = JSON.parse(call.function.arguments);
    assert(call.id && call.function.name === "add" && Number.isInteger(value.a) && Number.isInteger(value.b));
  };
  const one = (await chat({ ...ask, tool_choice: "required" })).choices[0];
  assert.equal(one.finish_reason, "tool_calls");
  right(one.message.tool_calls[0]);
  const named = await chat({ ...ask, tool_choice: { type: "function", function: { name: "add" } } });
  right(named.choices[0].message.tool_calls[0]);
  assert(!(await chat({ ...ask, tool_choice: "none" })).choices[0].message.tool_calls);
  const helper = client.chat.completions.stream({ model: MODEL, ...ask, tool_choice: "required" });
  const streamed = (await helper.finalChatCompletion()).choices[0];
  assert.equal(streamed.finish_reason, "tool_calls");
  assert.equal(streamed.message.tool_calls[0].function.arguments, one.message.tool_calls[0].function.arguments);
  assert(!streamed.message.content);
  // The answer of a tool goes back, and the conversation goes on.
  const talk = [...ask.messages, one.message, { role: "tool", tool_call_id: one.message.tool_calls[0].id, content: "7" }];
  assert((await chat({ ...ask, messages: talk, tool_choice: "none" })).choices[0].message.content !== undefined);
}

async function completions() {
  const ask = { model: MODEL, prompt: "Once upon a time", max_tokens: 8, temperature: 0 };
  const one = await client.completions.create(ask);
  assert(one.choices[0].text);
  const streamed = await all(await client.completions.create({ ...ask, stream: true }));
  assert.equal(streamed.map((chunk) => chunk.choices[0].text).join(""), one.choices[0].text);
  const echoed = await client.completions.create({ ...ask, echo: true });
  assert.equal(echoed.choices[0].text, "Once upon a time" + one.choices[0].text);
  await refused(OpenAI.BadRequestError, "suffix", "unsupported_value", () => client.completions.create({ ...ask, suffix: "x" }));
}

async function embeddings() {
  // The package asks for base64 by itself, and decodes it.
  const several = await client.embeddings.create({ model: MODEL, input: ["a fox", "the sea"] });
  const one = await client.embeddings.create({ model: MODEL, input: "a fox", encoding_format: "float" });
  assert.equal(several.data.length, 2);
  const [first, again] = [several.data[0].embedding, one.data[0].embedding];
  assert.equal(first.length, again.length);
  assert(first.every((x, i) => Math.abs(x - again[i]) < 1e-6));
  const short = await client.embeddings.create({ model: MODEL, input: "a fox", dimensions: 8 });
  assert.equal(short.data[0].embedding.length, 8);
}

async function responses() {
  const ask = { model: MODEL, input: "Tell me a story about a fox", max_output_tokens: 20, temperature: 0 };
  const one = await client.responses.create(ask);
  assert(one.status === "incomplete" && one.output_text);
  const events = await all(await client.responses.create({ ...ask, stream: true }));
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).type, "response.incomplete");
  const said = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(said.join(""), one.output_text);
  const helper = client.responses.stream(ask);
  assert.equal((await helper.finalResponse()).output_text, one.output_text);
  const second = await client.responses.create({ ...ask, previous_response_id: one.id, input: "Tell me more" });
  assert.equal(second.previous_response_id, one.id);
  assert.equal((await client.responses.retrieve(one.id)).output_text, one.output_text);
  assert((await all(client.responses.inputItems.list(second.id))).length >= 3);
  const tool = { type: "function", strict: true, ...ADD };
  const called = await client.responses.create({ ...ask, input: "What is 3 plus 4?", tools: [tool], tool_choice: "required", max_output_tokens: 120, parallel_tool_calls: false });
  const call = called.output.find((item) => item.type === "function_call");
  assert(call.name === "add" && Number.isInteger(JSON.parse(call.arguments).a));
  const text = { format: { type: "json_schema", name: "person", schema: PERSON, strict: true } };
  person((await client.responses.create({ ...ask, text, max_output_tokens: 400 })).output_text);
  await client.responses.delete(one.id);
  await refused(OpenAI.NotFoundError, "response_id", "response_not_found", () => client.responses.retrieve(one.id));
  await refused(OpenAI.BadRequestError, "background", "unsupported_value", () => client.responses.create({ ...ask, background: true }));
}

async function refusals() {
  const bad = (param, code, more) => refused(OpenAI.BadRequestError, param, code, () => chat(more));
  await bad("temperature", "invalid_value", { temperature: -1 });
  await bad("messages", "invalid_value", { messages: [] });
  await bad("messages", "context_length_exceeded", { messages: [{ role: "user", content: "word ".repeat(20000) }] });
  await bad("audio", "unsupported_value", { audio: { voice: "x", format: "mp3" } });
  await assert.rejects(() => chat({ stream: true, model: "nobody" }), OpenAI.NotFoundError);
}

async function running() {
  const health = await fetch(new URL("/health", process.argv[2]));
  return (await health.json()).running;
}

async function goes() {
  const endless = { max_tokens: 450, n: 8, logit_bias: { 0: -100, 1: -100, 2: -100 } };
  const leaving = new AbortController();
  const asked = chat({ ...endless }, { signal: leaving.signal });
  setTimeout(() => leaving.abort(), 20);
  await assert.rejects(asked, OpenAI.APIUserAbortError);
  const stream = await chat({ ...endless, stream: true });
  for await (const chunk of stream) {
    assert(chunk);
    stream.controller.abort();
  }
  const late = Date.now() + 60_000;
  while ((await running()) > 0) {
    assert(Date.now() < late, "an answer that nobody reads goes on");
    await new Promise((done) => setTimeout(done, 50));
  }
}

for (const test of [models, chats, forms, tools, completions, embeddings, responses, refusals, goes]) {
  await test();
}
console.log("all of it holds with the openai package of npm");
