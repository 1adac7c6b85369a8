"""Read ingle-mini's GGUF file, answer with it in PyTorch, and compare with the answers of the program."""
import concurrent.futures, contextlib, json, os, socket, subprocess, tempfile, time, urllib.error, urllib.request
import gguf, numpy as np, torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
import data, train


def load(path):
    """(model, tokenizer, kv) of a GGUF file."""
    r = gguf.GGUFReader(path)
    kv = {k: f.contents() for k, f in r.fields.items()}
    g = lambda k: kv["qwen3." + k]
    c = dict(vocab=len(kv["tokenizer.ggml.tokens"]), hidden=g("embedding_length"), layers=g("block_count"),
             heads=g("attention.head_count"), kv_heads=g("attention.head_count_kv"), head_dim=g("attention.key_length"),
             ffn=g("feed_forward_length"), rope_theta=g("rope.freq_base"), eps=g("attention.layer_norm_rms_epsilon"),
             context=g("context_length"))
    model = train.Model(c)
    model.load_state_dict({t.name.removesuffix(".weight"): torch.from_numpy(np.array(
        gguf.quants.dequantize(t.data, t.tensor_type), np.float32)).reshape(tuple(int(n) for n in reversed(t.shape)))
        for t in r.tensors})
    pieces = kv["tokenizer.ggml.tokens"]
    tok = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [tuple(m.split(" ")) for m in kv["tokenizer.ggml.merges"]]))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(data.QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([p for p, t in zip(pieces, kv["tokenizer.ggml.token_type"]) if t == gguf.TokenType.CONTROL])
    return model.eval(), tok, kv


def prompt(kv, *messages, tools=None):
    from jinja2 import Environment
    env = Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda v: json.dumps(v, ensure_ascii=False)
    roles = ["user", "assistant"] * len(messages)
    return env.from_string(kv["tokenizer.chat_template"]).render(
        messages=[dict(role=r, content=m) for r, m in zip(roles, messages)], tools=tools, add_generation_prompt=True)


@torch.no_grad()
def answer_batch(model, rows, end, temperature, top_p, gen, limit):
    """Prompts as ids, padded in front to one length -> the ids of the answers, and whether each ended.

    Each answer may fill the context, whatever stands beside it in the batch."""
    longest = max(map(len, rows))
    pad = torch.tensor([longest - len(r) for r in rows])
    ids = torch.tensor([[end] * (longest - len(r)) + r for r in rows])
    context = model.c["context"]
    limit = min(limit, context - min(map(len, rows)))
    hidden = torch.arange(longest + limit)[None, :] < pad[:, None]
    hidden = torch.where(hidden, -1e9, 0.0)[:, None, None, :]  # [row, head, query, key]
    causal = torch.full((longest, longest), float("-inf")).triu(1)
    past, out, done = [[] for _ in model.blk], [[] for _ in rows], [False] * len(rows)
    logits = model(ids, None, -pad, past, hidden[..., :longest] + causal)[:, -1]
    for t in range(longest, longest + limit):
        if temperature:
            p, index = (logits / temperature).softmax(-1).sort(-1, descending=True)
            p[p.cumsum(-1) - p > top_p] = 0
            pick = index.gather(-1, torch.multinomial(p, 1, generator=gen))[:, 0]
        else:
            pick = logits.argmax(-1)
        for i, n in enumerate(pick.tolist()):
            if not done[i] and len(rows[i]) + len(out[i]) < context:
                done[i] = n == end
                out[i] += [n] * (not done[i])
        if all(done) or t + 1 == longest + limit:
            break
        at = (t - pad).clamp(max=context - 1)  # a full context writes no more, whatever comes out
        logits = model(pick[:, None], None, at, past, hidden[..., :t + 1])[:, -1]
    return out, done


def generate(model, tok, kv, asks, temperature=0.0, top_p=0.95, seed=1, limit=300, batch=50):
    """One answer to each request: a text, or (text, tools). Returns the answers and whether each ended by itself.
    A request that does not fit into the context has no answer, as in the program, which refuses it."""
    gen = torch.Generator().manual_seed(seed)
    rows = [tok.encode(prompt(kv, a) if isinstance(a, str) else prompt(kv, a[0], tools=a[1])).ids for a in asks]
    texts, ended = [""] * len(rows), [False] * len(rows)
    order = sorted((i for i, r in enumerate(rows) if len(r) < model.c["context"]), key=lambda i: len(rows[i]))
    for at in range(0, len(order), batch):
        some = order[at:at + batch]
        out, done = answer_batch(model, [rows[i] for i in some], kv["tokenizer.ggml.eos_token_id"], temperature, top_p, gen, limit)
        for i, ids, d in zip(some, out, done):
            texts[i], ended[i] = tok.decode(ids), d
    return texts, ended


def agree(binary, path, model, tok, kv, asks):
    """The program itself, at temperature 0: how many of its answers are the same text."""
    mine, _ = generate(model, tok, kv, asks, limit=60)
    same = 0
    for ask, text in zip(asks, mine):
        raw = prompt(kv, ask) if isinstance(ask, str) else prompt(kv, ask[0], tools=ask[1])
        out = subprocess.run([binary, "run", path, "--raw", raw, "--temp", "0", "-n", "60"], capture_output=True, text=True)
        same += out.stdout.strip() == text.strip()
    print(f"the program gives the same answer at temperature 0 as the decoded weights in f32: {same} of {len(asks)}")


@contextlib.contextmanager
def served(binary, path):
    """The program as a server: a function that answers requests at temperature 0, each held to its schema, where one is
    given; calls of tools are held to the tools. What comes back is the text, a call in the form of the model's template."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    address = f"http://127.0.0.1:{port}"

    def one(ask, limit, schema):
        text, given = (ask, None) if isinstance(ask, str) else ask
        body = dict(model=os.path.basename(path).removesuffix(".gguf"), messages=[dict(role="user", content=text)], max_tokens=limit, temperature=0)
        body |= dict(tools=given) if given else {}
        body |= dict(response_format=dict(type="json_schema", json_schema=dict(name="answer", schema=schema))) if schema else {}
        sent = urllib.request.Request(address + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(sent, timeout=600) as got:
                said = json.load(got)["choices"][0]["message"]
        except urllib.error.HTTPError as e:
            return "" if e.code == 400 else f"{e.code} {e.read()}"  # does not fit into the context
        if calls := said.get("tool_calls"):
            f = calls[0]["function"]
            return f'<tool_call>{{"name": {json.dumps(f["name"])}, "arguments": {f["arguments"]}}}</tool_call>'
        return said.get("content") or ""

    def say(asks, limit, schemas):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(one, asks, [limit] * len(asks), schemas))
    with tempfile.TemporaryDirectory() as home:
        env = dict(PATH=os.environ["PATH"], HOME=home)
        server = subprocess.Popen([binary, "serve", path, "--port", str(port), "--quiet"], env=env)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), urllib.request.urlopen(address + "/health", timeout=5):
                    break
                time.sleep(0.1)
            yield say
        finally:
            server.terminate()
            server.wait()
