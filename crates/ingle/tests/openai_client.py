"""Drives `ingle serve` (the built-in model, at the address given) with the official openai package."""

import asyncio
import json
import math
import re
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


def best():
    make = client.completions.create
    ask = dict(model=MODEL, prompt="Once upon a time", max_tokens=6, temperature=1.5, seed=3)
    all_of = make(**ask, n=4, logprobs=0).choices
    mean = lambda c: sum(c.logprobs.token_logprobs) / len(c.logprobs.token_logprobs)
    chosen = make(**ask, best_of=4).choices
    assert len(chosen) == 1 and chosen[0].text == max(all_of, key=mean).text and chosen[0].logprobs is None
    bad = openai.BadRequestError
    refused(bad, "best_of", "invalid_value", lambda: make(**ask, n=4, best_of=2))
    refused(bad, "best_of", "invalid_value", lambda: make(**ask, best_of=2, stream=True))


def said(response):
    return "".join(c.text for o in response.output if o.type == "message" for c in o.content)


def responses():
    make = client.responses.create
    ask = dict(model=MODEL, input="Tell me a story about a fox", max_output_tokens=20, temperature=0)
    one = make(**ask)
    assert one.id.startswith("resp_") and one.object == "response" and one.status == "incomplete"
    assert one.incomplete_details.reason == "max_output_tokens" and one.output_text == said(one) != ""
    assert one.usage.total_tokens == one.usage.input_tokens + one.usage.output_tokens
    assert one.usage.input_tokens_details.cached_tokens >= 0 and one.usage.output_tokens_details.reasoning_tokens == 0
    same = chat(temperature=0, max_tokens=20).choices[0].message.content
    assert one.output_text == same
    items = make(**(ask | {"input": [{"role": "user", "content": [{"type": "input_text", "text": ask["input"]}]}]}))
    assert items.output_text == same

    events = list(make(**ask, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type for e in events]
    assert kinds[:4] == ["response.created", "response.in_progress", "response.output_item.added",
                         "response.content_part.added"]
    assert kinds[-4:] == ["response.output_text.done", "response.content_part.done", "response.output_item.done",
                          "response.incomplete"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == same
    last = events[-1].response
    assert last.output_text == same and last.id == events[0].response.id and events[0].response.status == "in_progress"
    with client.responses.stream(model=MODEL, input="What is the capital of France?", temperature=0) as stream:
        whole = stream.get_final_response()
        assert whole.status == "completed" and "ingle-mini" in whole.output_text

    # Followed up, asked for again, forgotten.
    second = make(model=MODEL, previous_response_id=one.id, input="Tell me more", max_output_tokens=12, temperature=0,
                  instructions="Be short.", metadata={"a": "b"})
    assert second.previous_response_id == one.id and second.metadata == {"a": "b"}
    talk = [{"role": "system", "content": "Be short."}, *STORY, {"role": "assistant", "content": same},
            {"role": "user", "content": "Tell me more"}]
    assert second.output_text == chat(messages=talk, temperature=0, max_tokens=12).choices[0].message.content
    assert client.responses.retrieve(second.id).output_text == second.output_text
    listed = client.responses.input_items.list(second.id, order="asc").data
    assert [i.type for i in listed] == ["message"] * 3
    assert len(client.responses.input_items.list(second.id, limit=1).data) == 1
    client.responses.delete(one.id)
    gone = openai.NotFoundError
    refused(gone, "response_id", "response_not_found", lambda: client.responses.retrieve(one.id))
    refused(openai.BadRequestError, "previous_response_id", "previous_response_not_found",
            lambda: make(model=MODEL, previous_response_id=one.id, input="x"))
    kept = make(**ask, store=False)
    refused(gone, "response_id", "response_not_found", lambda: client.responses.retrieve(kept.id))

    # How probable, how long.
    shown = make(**ask, include=["message.output_text.logprobs"], top_logprobs=2).output[0].content[0].logprobs
    assert len(shown) == 20 and len(shown[0].top_logprobs) == 2
    count = client.responses.input_tokens.count(model=MODEL, input=ask["input"])
    assert count.input_tokens == one.usage.input_tokens
    bad = openai.BadRequestError
    for name, value, param in [("background", True, "background"), ("truncation", "auto", "truncation"),
                               ("input", [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
                                "input[0].content[0].type"),
                               ("tools", [{"type": "web_search"}], "tools[0].type")]:
        refused(bad, param, "unsupported_value", lambda: make(**(ask | {name: value})))


TIME = {"name": "get_time", "description": "Tells the time in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


def history_of_calls():
    """Calls and their answers in a conversation become the same prompt, however they are sent."""
    calls = [{"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": '{"city": "Rome"}'}}]
    talk = [{"role": "user", "content": "What time is it in Rome?"}, {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": "9:00"}]
    tools = [{"type": "function", "function": TIME}]
    told = chat(messages=talk, tools=tools, tool_choice="none", temperature=0, max_tokens=10)
    items = [talk[0], {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": '{"city": "Rome"}'},
             {"type": "function_call_output", "call_id": "call_1", "output": "9:00"}]
    same = client.responses.create(model=MODEL, input=items, tools=[{"type": "function", "strict": None, **TIME}],
                                   tool_choice="none", temperature=0, max_output_tokens=10)
    assert said(same) == told.choices[0].message.content


PERSON = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
          "required": ["name", "age"], "additionalProperties": False}


def forms():
    """What an answer must look like, it looks like."""
    def person(text):
        value = json.loads(text)
        assert set(value) == {"name", "age"} and value["name"] in ("Ann", "Bob") and 0 <= value["age"] <= 99, value
    ask = dict(max_tokens=400, temperature=0.7)
    schema = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    for seed in range(3):
        one = chat(**ask, seed=seed, response_format=schema).choices[0]
        assert one.finish_reason == "stop", one
        person(one.message.content)
    streamed = list(chat(**ask, stream=True, response_format=schema))
    person("".join(c.choices[0].delta.content or "" for c in streamed))
    for choice in chat(**ask, n=3, response_format=schema).choices:
        person(choice.message.content)
    thing = chat(max_tokens=200, temperature=0, response_format={"type": "json_object"}).choices[0]
    assert thing.finish_reason == "length" or isinstance(json.loads(thing.message.content), dict)
    cut = chat(max_tokens=3, response_format=schema).choices[0]
    assert cut.finish_reason == "length"
    chosen = chat(extra_body={"guided_choice": ["red fox", "blue sea"]}).choices[0].message.content
    assert chosen in ("red fox", "blue sea"), chosen
    matched = chat(extra_body={"guided_regex": "[0-9]{3}-[a-f]{2}"}).choices[0].message.content
    assert re.fullmatch("[0-9]{3}-[a-f]{2}", matched), matched
    written = client.completions.create(model=MODEL, prompt="Yes or no?", max_tokens=9,
                                        extra_body={"grammar": 'root ::= "yes" | "no"'}).choices[0].text
    assert written in ("yes", "no"), written
    told = client.responses.create(model=MODEL, input="Who?", max_output_tokens=400,
                                   text={"format": {"type": "json_schema", "name": "person", "schema": PERSON}})
    person(told.output_text)
    bad = openai.BadRequestError
    refused(bad, "grammar", "invalid_value", lambda: chat(response_format=schema, extra_body={"grammar": 'root ::= "a"'}))


ADD = {"name": "add", "description": "Adds two numbers.",
       "parameters": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 999},
                                                       "b": {"type": "integer", "minimum": 0, "maximum": 999}},
                      "required": ["a", "b"], "additionalProperties": False}}


def tools():
    both = [{"type": "function", "function": ADD}, {"type": "function", "function": TIME}]
    ask = dict(messages=[{"role": "user", "content": "What is 3 plus 4?"}], tools=both, max_tokens=120)

    def right(call):
        arguments = json.loads(call.function.arguments)
        assert call.type == "function" and call.id
        if call.function.name == "add":
            assert set(arguments) == {"a", "b"} and all(isinstance(x, int) for x in arguments.values()), arguments
        else:
            assert call.function.name == "get_time" and isinstance(arguments["city"], str), arguments
    one = chat(**ask, tool_choice="required", parallel_tool_calls=False, temperature=0).choices[0]
    assert one.finish_reason == "tool_calls" and len(one.message.tool_calls) == 1, one
    right(one.message.tool_calls[0])
    named = chat(**ask, tool_choice={"type": "function", "function": {"name": "add"}}, parallel_tool_calls=False).choices[0]
    assert [c.function.name for c in named.message.tool_calls] == ["add"], named
    right(named.message.tool_calls[0])
    assert not chat(**ask, tool_choice="none").choices[0].message.tool_calls
    for seed in range(2):
        free = chat(**(ask | {"seed": seed, "temperature": 0.5})).choices[0]
        assert "<tool_call>" not in (free.message.content or "")
        if free.finish_reason == "tool_calls":
            [right(c) for c in free.message.tool_calls]
    seen = {}
    for chunk in chat(**ask, tool_choice="required", parallel_tool_calls=False, temperature=0, stream=True):
        for choice in chunk.choices:
            assert not choice.delta.content, chunk
            for call in choice.delta.tool_calls or []:
                mine = seen.setdefault(call.index, {"arguments": ""})
                mine["name"] = call.function.name or mine.get("name")
                mine["id"] = call.id or mine.get("id")
                mine["arguments"] += call.function.arguments or ""
            end = choice.finish_reason or None
    assert end == "tool_calls" and len(seen) == 1 and seen[0]["id"], seen
    assert seen[0]["name"] == one.message.tool_calls[0].function.name
    assert seen[0]["arguments"] == one.message.tool_calls[0].function.arguments
    bad = openai.BadRequestError
    refused(bad, "tool_choice", "invalid_value",
            lambda: chat(**ask, tool_choice={"type": "function", "function": {"name": "nothing"}}))

    # The same as responses, whole and in pieces.
    flat = [{"type": "function", "strict": False, **f} for f in (ADD, TIME)]
    ask = dict(model=MODEL, input="What is 3 plus 4?", tools=flat, tool_choice="required", parallel_tool_calls=False,
               temperature=0, max_output_tokens=120)
    whole = client.responses.create(**ask)
    assert whole.status == "completed" and [o.type for o in whole.output] == ["function_call"], whole
    assert whole.output[0].arguments == one.message.tool_calls[0].function.arguments
    events = list(client.responses.create(**ask, stream=True))
    parts = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert "".join(parts) == done[0].arguments == whole.output[0].arguments and done[0].name == whole.output[0].name
    answer = {"type": "function_call_output", "call_id": whole.output[0].call_id, "output": "7"}
    after = client.responses.create(model=MODEL, previous_response_id=whole.id, input=[answer], tools=flat,
                                    tool_choice="none", max_output_tokens=10)
    assert said(after)


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
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "(?=a)b"}}}
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


for test in (models, chats, stops, sampling, completions, best, responses, history_of_calls, forms, tools, numbers, refusals):
    test()
asyncio.run(company())
print(f"all of it holds with openai {openai.__version__}")
