"""Drives two `ingle serve` with the official openai package: one at home, which routes, and one as its provider.

Arguments: the base URL of the server at home, and the program with its configuration for `why`."""

import json
import subprocess
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=120)
STORY = [{"role": "user", "content": "Tell me a story about a fox"}]
LONG = [{"role": "user", "content": "Tell me a story about " + "a fox and a hen and " * 40 + "a bee"}]


def ask(messages=STORY, route="auto", headers=None, **more):
    body = {"model": "ingle-mini", "messages": messages, "max_tokens": 16, "temperature": 0} | more
    extra = {"route": route} if route else {}
    raw = client.chat.completions.with_raw_response.create(**body, extra_body=extra, extra_headers=headers or {})
    return raw.headers, raw.parse()


def text(answer):
    return answer.choices[0].message.content


def stays_and_goes():
    told, home = ask()
    assert told["x-ingle-route"] == "local" and text(home), told
    assert told["x-ingle-confidence"] == "uncalibrated", told
    assert "not calibrated" in told["x-ingle-reason"], told
    told, far = ask(route="cloud")
    assert told["x-ingle-route"] == "cloud" and told["x-ingle-model"] == "cloud/ingle-mini", told
    assert float(told["x-ingle-cost"].split()[0]) > 0, told
    assert text(far) == text(home), "the same model, the same words"
    assert far.usage.prompt_tokens == home.usage.prompt_tokens
    told, far = ask(route=None, headers={"x-ingle-route": "cloud"})
    assert told["x-ingle-route"] == "cloud", told
    told, _ = ask(route="cloud", headers={"x-ingle-route": "local"})
    assert told["x-ingle-route"] == "local", "the narrower of the two counts"


def what_does_not_fit_goes_out():
    told, far = ask(LONG)
    assert told["x-ingle-route"] == "cloud" and "cannot" in told["x-ingle-reason"], told
    assert text(far)
    try:
        ask(LONG, headers={"x-ingle-policy": "local-only"})
    except openai.BadRequestError as error:
        assert error.body["code"] == "context_length_exceeded", error.body
    else:
        raise AssertionError("it left although it may not")


def a_header_narrows():
    told, _ = ask(route="cloud", headers={"x-ingle-policy": "local-only"})
    assert told["x-ingle-route"] == "local" and "local-only" in told["x-ingle-reason"], told


def names():
    listed = [model.id for model in client.models.list().data]
    assert "auto" in listed and "cloud/ingle-mini" in listed, listed
    told, _ = ask(model="auto", route=None)
    assert told["x-ingle-route"] == "local", told
    told, _ = ask(model="cloud/ingle-mini", route=None)
    assert told["x-ingle-route"] == "cloud", told
    try:
        ask(model="cloud/ingle-mini", route=None, headers={"x-ingle-policy": "local-only"})
    except openai.PermissionDeniedError as error:
        assert error.body["code"] == "stays_local", error.body
    else:
        raise AssertionError("another model answered")


def streamed(route):
    pieces = client.chat.completions.create(
        model="ingle-mini", messages=STORY, max_tokens=16, temperature=0, stream=True,
        stream_options={"include_usage": True}, extra_body={"route": route})
    pieces = list(pieces)
    words = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    last = [p for p in pieces if p.choices and p.choices[0].finish_reason]
    told = last[-1].model_extra["ingle"]
    assert pieces[-1].usage.completion_tokens > 0
    return words, told


def streams():
    home, told = streamed("auto")
    assert told["route"] == "local" and told["fallback"] is False, told
    far, told = streamed("cloud")
    assert told["route"] == "cloud" and float(told["cost"]) > 0, told
    assert home == far and home


def stays_here_only():
    told, _ = ask(route="cloud", n=2)
    assert told["x-ingle-route"] == "local" and "several answers" in told["x-ingle-reason"], told


def refused():
    for extra in ({"route": "sky"}, {"route": 3}):
        try:
            client.chat.completions.create(model="ingle-mini", messages=STORY, extra_body=extra)
        except openai.BadRequestError as error:
            assert error.body["param"] == "route", error.body
        else:
            raise AssertionError(f"{extra} was taken")


def feedback_and_why():
    told, _ = ask()
    name = told["x-request-id"]
    kept = client.post("/feedback", body={"id": name, "right": True}, cast_to=object)
    assert kept["kept"] is True, kept
    try:
        client.post("/feedback", body={"id": "req-none", "right": True}, cast_to=object)
    except openai.NotFoundError as error:
        assert error.body["code"] == "answer_not_found", error.body
    else:
        raise AssertionError("an answer that was never given was judged")
    why = subprocess.run([*sys.argv[2:], "why", name], capture_output=True, text=True)
    assert why.returncode == 0 and "not calibrated" in why.stdout, why
    costs = subprocess.run([*sys.argv[2:], "cost", "--json"], capture_output=True, text=True)
    assert costs.returncode == 0, costs
    json.loads(costs.stdout)


for test in (stays_and_goes, what_does_not_fit_goes_out, a_header_narrows, names, streams, stays_here_only,
             refused, feedback_and_why):
    test()
    print(test.__name__, "holds", flush=True)
print("all of it holds")
