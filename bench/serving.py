"""Servers that are measured, and clients that stream from them. Python 3.9, no packages."""
import http.client
import json
import random
import subprocess
import sys
import time


class Server:
    """A process that serves on a port of this machine until it is left."""

    def __init__(self, command, port, health="/v1/models", environment=None):
        self.port, self.health = port, health
        self.command, self.environment = [str(part) for part in command], environment

    def __enter__(self):
        begin = time.monotonic()
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL)
        while self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", self.health)
                if connection.getresponse().status == 200:
                    self.started = time.monotonic() - begin
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit("the server ended; its last words are above")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def stream(port, prompt, tokens, seen, **fields):
    """Asks for a completion, or where `prompt` is a list of messages for the next one; appends the time of each token
    to `seen`. Answers the text."""
    chat = isinstance(prompt, list)
    body = {"messages" if chat else "prompt": prompt, "max_tokens": tokens, "stream": True, "temperature": 1, **fields}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1800)
    path = "/v1/chat/completions" if chat else "/v1/completions"
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    text = []
    for line in answer:
        if line.startswith(b"data: {"):
            seen.append(time.monotonic())
            choices = json.loads(line[6:]).get("choices") or [{}]
            text.append(choices[0].get("text") or choices[0].get("delta", {}).get("content") or "")
    return "".join(text)


def digits(source, tokens):
    """A text of about `tokens` tokens: in most vocabularies a digit is one, and so is a space before it."""
    return " ".join(str(source.randrange(10)) for _ in range(tokens // 2))


def source(seed):
    """Numbers that are the same in each run."""
    return random.Random(seed)
