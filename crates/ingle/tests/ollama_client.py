"""Drives `ingle serve` (the built-in model, at the address given) with the official ollama package."""

import asyncio
import datetime
import inspect
import json
import math
import sys
import urllib.error
import urllib.request

import ollama

HOST = sys.argv[1].removesuffix("/v1")
client = ollama.Client(host=HOST, timeout=120)
MODEL = "ingle-mini"
STORY = [{"role": "user", "content": "Tell me a story about a fox"}]
FIXED = {"seed": 7, "num_predict": 20}


def chat(**more):
    options = FIXED | more.pop("options", {})
    return client.chat(**{"model": MODEL, "messages": STORY, "options": options} | more)


def generate(**more):
    options = FIXED | more.pop("options", {})
    return client.generate(**{"model": MODEL, "prompt": "Tell me a story", "options": options} | more)


def refused(status, word, call):
    try:
        result = call()
        if inspect.isgenerator(result):
            list(result)
    except ollama.ResponseError as error:
        assert error.status_code == status, error
        assert word in error.error, error.error
    else:
        raise AssertionError(f"{word} was taken")


def raw(method, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(HOST + path, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def chats():
    whole = chat()
    text = whole.message.content
    assert text and whole.message.role == "assistant" and whole.done
    assert whole.model == MODEL and whole.created_at.endswith("Z")
    assert whole.done_reason in ("stop", "length")
    assert whole.prompt_eval_count > 0 and 0 < whole.eval_count <= 20
    assert whole.total_duration >= whole.prompt_eval_duration + whole.eval_duration > 0
    chunks = list(chat(stream=True))
    assert "".join(c.message.content for c in chunks) == text
    assert [c.done for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].eval_count == whole.eval_count and chunks[-1].done_reason == whole.done_reason
    for name in (MODEL + ":latest", "Ingle-Mini"):
        again = chat(model=name)
        assert again.message.content == text and again.model == name
    short = chat(options={"num_predict": 3})
    assert short.eval_count == 3 and short.done_reason == "length" and text.startswith(short.message.content)
    begun = chat(messages=STORY + [{"role": "assistant", "content": "Once upon a time"}])
    assert begun.message.content and not begun.message.content.startswith("Once upon a time")
    assert chat(keep_alive="5m").done and chat(keep_alive=-1).done and chat(think=False).done


def generates():
    whole = generate()
    text = whole.response
    assert text and whole.done and whole.eval_count <= 20
    assert "".join(c.response for c in generate(stream=True)) == text
    assert generate(system="You are a fox.").prompt_eval_count > whole.prompt_eval_count
    assert generate(raw=True, prompt="Once upon a time").response
    assert generate(raw=True, prompt="Once upon a time").context is None
    assert len(whole.context) == whole.prompt_eval_count + whole.eval_count - (whole.done_reason == "stop")
    second = generate(prompt="And then?", context=whole.context)
    assert second.prompt_eval_count > len(whole.context) and second.context[: len(whole.context)] == whole.context
    loaded = generate(prompt="")
    assert loaded.done and loaded.done_reason == "load" and loaded.response == ""
    probable = generate(logprobs=True, top_logprobs=2, options={"temperature": 0, "num_predict": 2})
    first = probable.logprobs[0]
    assert math.exp(first.logprob) <= 1 and len(first.top_logprobs) == 2
    assert abs(first.logprob - first.top_logprobs[0].logprob) < 1e-6


def options():
    text = chat(options={"temperature": 0}).message.content
    word = text.split()[3]
    cut = chat(options={"temperature": 0, "stop": [word]})
    assert word not in cut.message.content and cut.done_reason == "stop"
    assert chat(options={"temperature": 0, "num_ctx": 64}).done
    many = {"top_k": 5, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.9, "repeat_penalty": 1.1, "repeat_last_n": -1,
            "presence_penalty": 0.1, "frequency_penalty": 0.1, "mirostat": 0, "num_keep": 4, "nobody": "knows"}
    assert chat(options=many).done
    assert chat(options={"seed": 1, "temperature": 5.0}).message.content != chat(options={"seed": 2, "temperature": 5.0}).message.content
    for name, value in {"mirostat": 1, "num_gpu": 99, "num_thread": 4, "temperature": -1, "num_predict": 0,
                        "use_mmap": True, "num_ctx": 10**6}.items():
        refused(400, f"options.{name}", lambda: chat(options={name: value}))


def models():
    listed = {model.model: model for model in client.list().models}
    mine = listed[MODEL + ":latest"]
    assert mine.size > 0 and len(mine.digest) == 64 and mine.details.format == "gguf" and mine.modified_at
    assert mine.details.parameter_size and mine.details.family
    shown = client.show(MODEL)
    assert shown.template and shown.modelinfo["general.architecture"] and "completion" in shown.capabilities
    assert shown.details.family == mine.details.family and shown.modelfile
    chat(keep_alive="10m")
    loaded = {model.model: model for model in client.ps().models}[MODEL + ":latest"]
    assert loaded.size > 0 and loaded.size_vram == 0 and loaded.context_length > 0
    assert 0 < (loaded.expires_at - datetime.datetime.now(datetime.timezone.utc)).total_seconds() <= 600
    client.copy(MODEL, "mine")
    assert chat(model="mine").done and "mine:latest" in [model.model for model in client.list().models]
    client.delete("mine")
    refused(404, "not found", lambda: chat(model="mine"))
    refused(404, "not found", lambda: client.delete("mine"))
    refused(404, "not found", lambda: client.copy("nobody", "mine"))
    refused(404, "not found", lambda: client.show("nobody"))
    refused(403, "delete", lambda: client.delete(MODEL))
    refused(403, "--allow-pull", lambda: client.pull("qwen3:0.6b"))
    refused(403, "--allow-pull", lambda: client.pull("qwen3:0.6b", stream=True))
    refused(400, "verbose", lambda: client._request(ollama.ShowResponse, "POST", "/api/show", json={"model": MODEL, "verbose": True}))
    gone = client.chat(model=MODEL, messages=[], keep_alive=0)
    assert gone.done_reason == "unload" and MODEL + ":latest" not in [m.model for m in client.ps().models]
    assert client.generate(model=MODEL, prompt="").done_reason == "load" and client.ps().models


PERSON = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
          "required": ["name", "age"], "additionalProperties": False}


def forms():
    """`format`: what an answer must look like, it looks like."""
    def person(text):
        value = json.loads(text)
        assert set(value) == {"name", "age"} and value["name"] in ("Ann", "Bob") and 0 <= value["age"] <= 99, value
    long = {"num_predict": 400, "temperature": 0.7}
    for ask in (chat, generate):
        text = lambda answer: answer.message.content if ask is chat else answer.response
        whole = ask(format=PERSON, options=long)
        assert whole.done_reason == "stop"
        person(text(whole))
        person("".join(text(chunk) for chunk in ask(format=PERSON, options=long, stream=True)))
        thing = ask(format="json", options={"num_predict": 200, "temperature": 0})
        assert thing.done_reason == "length" or isinstance(json.loads(text(thing)), dict)
    refused(400, "format", lambda: chat(format={"type": "string", "pattern": "(?=a)b"}))
    refused(400, "format", lambda: client._request(ollama.ChatResponse, "POST", "/api/chat", json={
        "model": MODEL, "messages": STORY, "format": "xml", "stream": False}))


def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: the first
        b: the second
    """
    return a + b


def tools():
    """Calls come as calls, whole, and never as text; their answers go back."""
    talk = [{"role": "user", "content": "What is 3 plus 4?"}]
    called = None
    for seed in range(4):
        ask = dict(messages=talk, tools=[add], options={"seed": seed, "num_predict": 120, "temperature": 0.4})
        answer = chat(**ask)
        chunks = list(chat(**ask, stream=True))
        calls = [call for chunk in chunks for call in chunk.message.tool_calls or []]
        assert "".join(chunk.message.content or "" for chunk in chunks) == (answer.message.content or "")
        assert len(calls) == len(answer.message.tool_calls or [])
        assert "<tool_call>" not in (answer.message.content or "")
        for call, streamed in zip(answer.message.tool_calls or [], calls):
            assert call.function.name == "add" == streamed.function.name
            arguments = call.function.arguments
            assert arguments == streamed.function.arguments
            # What the package makes of a function says nothing against more.
            assert isinstance(arguments["a"], int) and isinstance(arguments["b"], int), arguments
            called = answer
    if called is None:
        # This model answered by itself each time: a call that it might have made goes back all the same.
        call = {"function": {"name": "add", "arguments": {"a": 3, "b": 4}}}
        called = ollama.ChatResponse(message=ollama.Message(role="assistant", content="", tool_calls=[call]))
    talk = talk + [called.message, {"role": "tool", "tool_name": "add", "content": "7"}]
    assert chat(messages=talk, tools=[add]).done


def thinks():
    """`think`: what is thought has a field of its own, and there is none where it is off."""
    ask = dict(model="thinker", options={"num_predict": 24, "temperature": 0})
    for call in (chat, generate):
        thought = lambda answer: (answer.message.thinking if call is chat else answer.thinking) or ""
        said = lambda answer: (answer.message.content if call is chat else answer.response) or ""
        on, off = call(**ask, think=True), call(**ask, think=False)
        assert thought(on) and not thought(off) and said(off), (on, off)
        chunks = list(call(**ask, think=True, stream=True))
        assert "".join(map(thought, chunks)) == thought(on) and "".join(map(said, chunks)) == said(on)
    assert "thinking" in client.show("thinker").capabilities


def refusals():
    refused(404, "not found", lambda: chat(model="nobody"))
    refused(404, "model 'nobody' not found", lambda: chat(model="nobody", stream=True))
    refused(400, "template", lambda: generate(template="{{ .Prompt }}"))
    refused(400, "images", lambda: generate(images=["aGk="]))
    refused(400, "images", lambda: chat(messages=[{"role": "user", "content": "a", "images": ["aGk="]}]))
    refused(400, "tokens", lambda: chat(messages=[{"role": "user", "content": "word " * 20000}]))
    refused(400, "64", lambda: chat(messages=[{"role": "user", "content": "word " * 200}], options={"num_ctx": 64}))
    refused(400, "suffix", lambda: generate(suffix="the end"))
    refused(400, "think", lambda: chat(think=True))
    refused(501, "quantize", lambda: client.create(model="mine", from_=MODEL))
    assert json.loads(raw("POST", "/api/chat", {"model": MODEL, "messages": 7})[1])["error"]
    assert raw("POST", "/api/chat", "not an object")[0] == 400
    status, body = raw("GET", "/api/nothing")
    assert status == 404 and set(json.loads(body)) == {"error"}
    status, body = raw("GET", "/api/chat")
    assert status == 405 and set(json.loads(body)) == {"error"}


def numbers():
    texts = ["a fox", "a little fox", "the sea"]
    several = client.embed(model=MODEL, input=texts)
    assert len(several.embeddings) == 3 and several.prompt_eval_count > 0 and several.total_duration > 0
    one = client.embed(model=MODEL, input="a fox").embeddings[0]
    assert one == several.embeddings[0] and abs(sum(x * x for x in one) - 1) < 1e-4
    short = client.embed(model=MODEL, input="a fox", dimensions=8).embeddings[0]
    assert len(short) == 8 and abs(sum(x * x for x in short) - 1) < 1e-4
    assert client.embeddings(model=MODEL, prompt="a fox").embedding == one
    assert list(client.embed(model=MODEL, input="").embeddings) == []
    long = "word " * 20000
    refused(400, "tokens", lambda: client.embed(model=MODEL, input=long))
    assert client.embed(model=MODEL, input=long, truncate=True).embeddings[0]
    refused(400, "dimensions", lambda: client.embed(model=MODEL, input="a", dimensions=10**6))


def whole_server():
    assert raw("GET", "/") == (200, "Ollama is running")
    assert raw("HEAD", "/")[0] == 200
    version = json.loads(raw("GET", "/api/version")[1])
    assert version["version"] and version["ingle"]
    # What curl sends where nobody says what it is.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, body = raw("POST", "/api/generate", {"model": MODEL, "prompt": "Hi", "options": FIXED}, form)
    lines = [json.loads(line) for line in body.splitlines()]
    assert status == 200 and lines[-1]["done"] and not lines[0]["done"]
    status, _ = raw("POST", "/api/generate", {"model": MODEL}, form | {"Sec-Fetch-Site": "same-origin"})
    assert status == 415


async def company():
    many = ollama.AsyncClient(host=HOST, timeout=120)
    alone = chat().message.content
    ask = lambda text: many.chat(model=MODEL, messages=[{"role": "user", "content": text}], options=FIXED)
    answers = await asyncio.gather(ask(STORY[0]["content"]), *(ask(f"Number {i}") for i in range(5)))
    assert answers[0].message.content == alone
    async for _ in await many.chat(model=MODEL, messages=STORY, stream=True):
        break


for test in (chats, generates, options, forms, tools, thinks, models, refusals, numbers, whole_server):
    test()
asyncio.run(company())
print("all of it holds with the ollama package")
