"""Drives `ingle serve` (the built-in model, at the address given) with the official anthropic package."""

import asyncio
import json
import sys
import urllib.request

import anthropic

HOST = sys.argv[1].removesuffix("/v1")
client = anthropic.Anthropic(base_url=HOST, api_key="none", max_retries=0, timeout=120)
MODEL = "ingle-mini"
STORY = [{"role": "user", "content": "Tell me a story about a fox"}]


def sampled(more):
    """The newest package sends what it does not know itself, as `temperature`, beside the rest."""
    names = [name for name in ("temperature", "top_k", "top_p") if name in more]
    return {"extra_body": {"temperature": 0.0} | {name: more.pop(name) for name in names}}


def ask(**more):
    beside = sampled(more)
    return client.messages.create(**{"model": MODEL, "messages": STORY, "max_tokens": 20} | beside | more)


def refused(kind, name, word, call):
    try:
        call()
    except kind as error:
        assert error.body["type"] == "error" and error.body["error"]["type"] == name, error.body
        assert word in error.body["error"]["message"], error.body
        assert error.response.headers["request-id"].startswith("req_")
        assert error.body["request_id"] == error.request_id == error.response.headers["request-id"]
    else:
        raise AssertionError(f"{word} was taken")


def whole():
    answer = ask()
    assert answer.type == "message" and answer.role == "assistant" and answer.model == MODEL
    assert answer.id.startswith("msg_") and answer._request_id.startswith("req_")
    assert [block.type for block in answer.content] == ["text"] and answer.content[0].text
    assert answer.stop_reason in ("end_turn", "max_tokens") and answer.stop_sequence is None
    usage = answer.usage
    assert usage.input_tokens + usage.cache_read_input_tokens > 0 and 0 < usage.output_tokens <= 20
    short = ask(max_tokens=3)
    assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 3
    assert ask(max_tokens=10**6, stop_sequences=["."]).stop_reason in ("stop_sequence", "end_turn", "model_context_window_exceeded")
    blocks = [{"role": "user", "content": [{"type": "text", "text": "Tell me a story ", "cache_control": {"type": "ephemeral"}},
                                           {"type": "text", "text": "about a fox"}]}]
    assert ask(messages=blocks).content[0].text == answer.content[0].text
    begun = ask(messages=STORY + [{"role": "assistant", "content": "Once upon a time"}])
    assert not begun.content[0].text.startswith("Once upon a time")
    system = ask(system=[{"type": "text", "text": "You are a fox."}])
    total = lambda a: a.usage.input_tokens + a.usage.cache_read_input_tokens
    assert total(system) > total(answer) and total(ask(system="You are a fox.")) == total(system)
    assert ask(top_k=5, top_p=0.9, temperature=1.0, metadata={"user_id": "u"}, service_tier="auto").content
    ask(thinking={"type": "disabled"})
    ask(thinking={"type": "adaptive"})


def stops():
    text = ask().content[0].text
    word = text.split()[3]
    cut = ask(stop_sequences=["never this", word])
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == word
    assert word not in cut.content[0].text and text.startswith(cut.content[0].text)


def streams():
    text = ask().content[0].text
    events = list(ask(stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert events[0].message.usage.input_tokens > 0 and events[0].message.stop_reason is None
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == text
    assert events[-2].usage.output_tokens > 0 and events[-2].delta.stop_reason
    with client.messages.stream(model=MODEL, messages=STORY, max_tokens=20, **sampled({})) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
    assert final.content[0].text == text and final.stop_reason == events[-2].delta.stop_reason
    with client.messages.stream(model=MODEL, messages=STORY, max_tokens=20) as stream:
        for _ in stream.text_stream:
            break


def models():
    first = client.models.list(limit=1)
    assert first.data[0].id == MODEL and first.data[0].type == "model" and first.data[0].display_name
    assert client.models.retrieve(MODEL).id == MODEL
    refused(anthropic.NotFoundError, "not_found_error", "no such model", lambda: client.models.retrieve("claude-opus-5"))


def counts():
    counted = client.messages.count_tokens(model=MODEL, messages=STORY)
    answer = ask()
    assert counted.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    assert client.messages.count_tokens(model=MODEL, messages=STORY, system="Be brief.").input_tokens > counted.input_tokens


ADD = {"name": "add", "description": "Adds two numbers.",
       "input_schema": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 999},
                                                         "b": {"type": "integer", "minimum": 0, "maximum": 999}},
                        "required": ["a", "b"], "additionalProperties": False}}
SUM = [{"role": "user", "content": "What is 3 plus 4?"}]


def tools():
    """Calls are blocks of their own, whole and in pieces; their results go back."""
    more = dict(messages=SUM, tools=[ADD], max_tokens=120, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    answer = ask(**more)
    assert answer.stop_reason == "tool_use", answer
    call = [block for block in answer.content if block.type == "tool_use"][0]
    assert call.id.startswith("toolu_") and call.name == "add" and set(call.input) == {"a", "b"}
    assert all(isinstance(value, int) for value in call.input.values())
    with client.messages.stream(model=MODEL, **(more | sampled({}))) as stream:
        pieces = "".join(event.partial_json for event in stream if event.type == "input_json")
        final = stream.get_final_message()
    assert json.loads(pieces) == call.input and final.stop_reason == "tool_use"
    named = ask(**(more | {"tool_choice": {"type": "tool", "name": "add"}}))
    assert [block.name for block in named.content if block.type == "tool_use"] == ["add"]
    none = ask(**(more | {"tool_choice": {"type": "none"}}))
    assert all(block.type == "text" for block in none.content)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "7"}]}
    talk = SUM + [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    after = ask(messages=talk, tools=[ADD], max_tokens=40)
    assert after.stop_reason in ("end_turn", "max_tokens", "tool_use")
    refused(anthropic.BadRequestError, "invalid_request_error", "tool_choice.name",
            lambda: ask(**(more | {"tool_choice": {"type": "tool", "name": "nothing"}})))


def forms():
    person = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
              "required": ["name", "age"], "additionalProperties": False}
    beside = {"extra_body": {"temperature": 0.7, "output_config": {"format": {"type": "json_schema", "schema": person}}}}
    answer = client.messages.create(model=MODEL, messages=STORY, max_tokens=400, **beside)
    value = json.loads(answer.content[0].text)
    assert answer.stop_reason == "end_turn" and value["name"] in ("Ann", "Bob") and 0 <= value["age"] <= 99
    with client.messages.stream(model=MODEL, messages=STORY, max_tokens=400, **beside) as stream:
        assert set(json.loads("".join(stream.text_stream))) == {"name", "age"}


def thinks():
    """What is thought is a block before the answer, and there is none where it is off."""
    more = dict(model="thinker", messages=STORY, max_tokens=1080, thinking={"type": "enabled", "budget_tokens": 1024})
    answer = client.messages.create(**more)
    assert answer.content[0].type == "thinking" and answer.content[0].thinking and answer.content[0].signature
    kinds = set()
    with client.messages.stream(**more) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                kinds.add(event.delta.type)
        final = stream.get_final_message()
    assert {"thinking_delta", "signature_delta"} <= kinds and final.content[0].type == "thinking"
    # It goes back as it came, and the conversation goes on.
    talk = STORY + [{"role": "assistant", "content": final.content}, {"role": "user", "content": "And then?"}]
    off = client.messages.create(model="thinker", messages=talk, max_tokens=20, thinking={"type": "disabled"})
    assert all(block.type == "text" for block in off.content)


def refusals():
    bad = lambda word, **more: refused(anthropic.BadRequestError, "invalid_request_error", word, lambda: ask(**more))
    refused(anthropic.NotFoundError, "not_found_error", "no such model", lambda: ask(model="claude-opus-5"))
    bad("temperature", temperature=-1)
    bad("stop_sequences", stop_sequences=["x" * 10000])
    bad("messages", messages=[])
    bad("messages[0].content[0].type", messages=[{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]}])
    bad("tokens", messages=[{"role": "user", "content": "word " * 20000}])
    bad("tools[0].type", tools=[{"type": "web_search_20250305", "name": "web_search"}])
    bad("tool_choice.type", tool_choice={"type": "any"})
    bad("thinking", max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 1024})
    bad("container", container="c")
    request = urllib.request.Request(HOST + "/v1/messages", b"{", {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        assert error.code == 400 and json.loads(error.read())["error"]["type"] == "invalid_request_error"


async def company():
    many = anthropic.AsyncAnthropic(base_url=HOST, api_key="none", max_retries=0, timeout=120)
    alone = ask().content[0].text
    one = lambda text: many.messages.create(model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=20, **sampled({}))
    answers = await asyncio.gather(one(STORY[0]["content"]), *(one(f"Number {i}") for i in range(5)))
    assert answers[0].content[0].text == alone


for test in (whole, stops, streams, tools, forms, thinks, models, counts, refusals):
    test()
asyncio.run(company())
print(f"all of it holds with anthropic {anthropic.__version__}")
