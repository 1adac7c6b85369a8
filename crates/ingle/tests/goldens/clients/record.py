#!/usr/bin/env python3
"""Makes a golden of what a client sends.

    record.py listen PORT TARGET FOLDER     passes connections on to a server, and keeps their bytes
    record.py keep FOLDER CLIENT VERSION [CUT]  writes each request that differs in its shape as CLIENT-N.json

Long texts are cut to CUT characters (default 28), lists of tools to three, so that the built-in model reads
them; names and types of fields stay as the client sends them (of tools of another type the first stays too). Headers that name a machine or a person go.
"""
import asyncio, glob, itertools, json, os, re, sys

KEPT = ("accept", "anthropic-", "content-type", "openai-", "x-stainless-", "x-api-key", "user-agent")


async def pump(reader, writer, path):
    with open(path, "ab") as file:
        try:
            while data := await reader.read(65536):
                file.write(data)
                file.flush()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


async def listen(port, target, folder):
    os.makedirs(folder, exist_ok=True)
    count = itertools.count(1)

    async def serve(reader, writer):
        path = f"{folder}/{next(count):04}"
        to, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, back, path + ".up"), pump(to, writer, path + ".down"))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def unchunked(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        size = int(size, 16)
        if size == 0:
            return out, data.removeprefix(b"\r\n")
        out, data = out + data[:size], data[size + 2:]
    return out, b""


def requests(data):
    """The requests of a connection: method, path, headers, body."""
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body, data = unchunked(data)
        else:
            n = int(headers.get("content-length", 0))
            body, data = data[:n], data[n:]
        yield method, path, headers, body


def cut(value, most, key=""):
    if isinstance(value, str):
        return value if len(value) <= most or key in ("name", "type", "model", "path") else value[:most]
    if isinstance(value, list):
        return [cut(item, most, key) for item in (few(value) if key == "tools" else value)]
    if isinstance(value, dict):
        return {k: cut(v, most, k) for k, v in value.items()}
    return value


def few(tools):
    kinds = [tool.get("type") for tool in tools]
    return [tool for i, tool in enumerate(tools) if i < 3 or kinds[i] not in kinds[:i]]


def shape(value):
    if isinstance(value, dict):
        return {k: shape(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return sorted({json.dumps(shape(item)) for item in value})
    return type(value).__name__


def keep(folder, client, version, most=28):
    seen, n = set(), 0
    for file in sorted(glob.glob(folder + "/*.up")):
        for method, path, headers, body in requests(open(file, "rb").read()):
            body = json.loads(body) if body else None
            mark = (method, path, json.dumps(shape(body)))
            if mark in seen:
                continue
            seen.add(mark)
            n += 1
            golden = {
                "client": client, "version": version, "method": method, "path": path,
                "headers": {k: v for k, v in headers.items() if k.startswith(KEPT)},
                "body": cut(body, most),
            }
            with open(f"{client}-{n}.json", "w") as out:
                json.dump(golden, out, indent=1, ensure_ascii=False)
                out.write("\n")


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        asyncio.run(listen(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    else:
        keep(*sys.argv[2:5], *map(int, sys.argv[5:6]))
