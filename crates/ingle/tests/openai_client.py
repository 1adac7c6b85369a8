"""Drives `ingle serve` (the built-in model, at the address given) with the official openai package."""

import asyncio
import math
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
STORY = [{"role": "user", "content": "Tell me a story about a fox"}]


def chat(**more):
    return client.chat.completions.create(**{"model": MODEL, "messages": STORY, "seed": 7, "max_tokens": 30} | more)


def refused(kind, param, code, call):
    try:
        call()
    except kind as error:
        assert error.body["param"] == param, error.body
        assert error.body["code"] == code, error.body
        assert error.body["message"] and error.body["type"], error.body
    else:
        raise AssertionError(f"{param} was taken")


def models():
    assert client.models.retrieve(MODEL).id == MODEL
    refused(openai.NotFoundError, "model", "model_not_found", lambda: client.models.retrieve("gpt-4o"))
    refused(openai.NotFoundError, "model", "model_not_found", lambda: chat(model="gpt-4o"))


def chats():
    whole = chat()
    text = whole.choices[0].message.content
    assert text and whole.choices[0].message.role == "assistant"
    assert whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.prompt_tokens_details.cached_tokens >= 0
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens and not chunks[-1].choices
    parts = [{"type": "text", "text": "Tell me a story "}, {"type": "text", "text": "about a fox"}]
    assert chat(messages=[{"role": "user", "content": parts}]).choices[0].message.content == text
    assert chat(max_tokens=openai.NOT_GIVEN, max_completion_tokens=5).usage.completion_tokens <= 5
    several = chat(n=3, temperature=1.0)
    assert [c.index for c in several.choices] == [0, 1, 2]
    assert chat(temperature=1.0).choices[0].message.content == several.choices[0].message.content
    seen = {}
    for chunk in chat(n=2, stream=True):
        for choice in chunk.choices:
            seen[choice.index] = seen.get(choice.index, "") + (choice.delta.content or "")
    assert seen[0] == text and len(seen) == 2


def stops():
    text = chat(temperature=0).choices[0].message.content
    word = text.split()[3]
    cut = chat(temperature=0, stop=[word, "never this"])
    assert word not in cut.choices[0].message.content and text.startswith(cut.choices[0].message.content)
    assert cut.choices[0].finish_reason == "stop"
    streamed = chat(temperature=0, stop=word, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == cut.choices[0].message.content


def sampling():
    more = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}
    chat(temperature=0.5, top_p=0.9, frequency_penalty=0.5, presence_penalty=-0.5, extra_body=more)
    first = chat(temperature=0, max_tokens=1, logprobs=True, top_logprobs=5).choices[0].logprobs.content[0]
    assert abs(first.logprob - first.top_logprobs[0].logprob) < 1e-6 and first.token == first.top_logprobs[0].token
    assert bytes(first.bytes).decode("utf-8", "replace") == first.token
    assert [t.logprob for t in first.top_logprobs] == sorted((t.logprob for t in first.top_logprobs), reverse=True)
    assert math.exp(first.logprob) <= 1
    streamed = [c for c in chat(temperature=0, logprobs=True, top_logprobs=2, stream=True) if c.choices[0].logprobs]
    assert streamed and len(streamed[0].choices[0].logprobs.content[0].top_logprobs) == 2


def completions():
    make = client.completions.create
    one = make(model=MODEL, prompt="Once upon a time", max_tokens=8, temperature=0)
    assert one.choices[0].text
    echoed = make(model=MODEL, prompt="Once upon a time", max_tokens=8, temperature=0, echo=True)
    assert echoed.choices[0].text == "Once upon a time" + one.choices[0].text
    streamed = make(model=MODEL, prompt="Once upon a time", max_tokens=8, temperature=0, stream=True)
    assert "".join(c.choices[0].text for c in streamed) == one.choices[0].text
    several = make(model=MODEL, prompt=["Once upon a time", "The fox"], max_tokens=8, temperature=0, n=2)
    assert len(several.choices) == 4 and several.choices[0].text == one.choices[0].text
    legacy = make(model=MODEL, prompt="Once upon a time", max_tokens=8, temperature=0, logprobs=3)
    shown = legacy.choices[0].logprobs
    assert "".join(shown.tokens) == legacy.choices[0].text and len(shown.top_logprobs[0]) <= 3
    assert len(shown.tokens) == len(shown.token_logprobs) == len(shown.text_offset)
    make(model=MODEL, prompt=[5, 6, 7], max_tokens=2)
    refused(openai.BadRequestError, "suffix", "unsupported_value", lambda: make(model=MODEL, prompt="a", suffix="b"))


def numbers():
    texts = ["a fox", "a little fox", "the sea"]
    coded = client.embeddings.create(model=MODEL, input=texts)
    plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    for a, b in zip(coded.data, plain.data):
        assert max(abs(x - y) for x, y in zip(a.embedding, b.embedding)) < 1e-6
    assert abs(sum(x * x for x in plain.data[0].embedding) - 1) < 1e-4
    assert [d.index for d in plain.data] == [0, 1, 2] and plain.usage.prompt_tokens > 0
    one = client.embeddings.create(model=MODEL, input="a fox", encoding_format="float")
    assert one.data[0].embedding == plain.data[0].embedding
    assert client.embeddings.create(model=MODEL, input=[[5, 6], [7]]).data[1].embedding
    short = client.embeddings.create(model=MODEL, input="a fox", encoding_format="float", dimensions=16).data[0].embedding
    assert len(short) == 16 and abs(sum(x * x for x in short) - 1) < 1e-4
    assert abs(short[0] / short[1] - one.data[0].embedding[0] / one.data[0].embedding[1]) < 1e-3
    refused(openai.BadRequestError, "dimensions", "invalid_value",
            lambda: client.embeddings.create(model=MODEL, input="a", dimensions=100000))


def refusals():
    bad = openai.BadRequestError
    refused(bad, "temperature", "invalid_value", lambda: chat(temperature=-1))
    refused(bad, "messages", "context_length_exceeded", lambda: chat(max_tokens=10**6))
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    refused(bad, "response_format", "unsupported_value", lambda: chat(response_format=schema))
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    refused(bad, "messages[0].content[0].type", "unsupported_value",
            lambda: chat(messages=[{"role": "user", "content": image}]))


async def company():
    many = openai.AsyncOpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=120)
    alone = chat().choices[0].message.content
    ask = lambda text: many.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], seed=7, max_tokens=30)
    answers = await asyncio.gather(ask(STORY[0]["content"]), *(ask(f"Number {i}") for i in range(7)))
    assert answers[0].choices[0].message.content == alone
    stream = await many.chat.completions.create(model=MODEL, messages=STORY, stream=True)
    async for _ in stream:
        break
    await stream.close()


for test in (models, chats, stops, sampling, completions, numbers, refusals):
    test()
asyncio.run(company())
print(f"all of it holds with openai {openai.__version__}")
