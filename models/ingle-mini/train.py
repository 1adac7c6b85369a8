#!/usr/bin/env python3
"""Train ingle-mini from nothing: a small dense Qwen3 network.

    data.py tokenizer OUT/tokenizer.json
    train.py --out OUT --minutes N        for so long, or to --tokens; the rate is level for a share, then falls to zero

A checkpoint is written every 10 minutes and when it is stopped (SIGTERM), and OUT/final.pt at the end. Started again it
goes on from OUT/checkpoint.pt, at the rate that it had, over the minutes then given. A run taken up from a checkpoint
of another recipe begins at the level rate; with --begin, a run begins with the weights of a GGUF file. Each of
--ranks processes runs one thread and its part of each step: on a machine with other work they wait for each other
once a step and not in every product.
Seeds are fixed; the time is not, so a second run gives a model of the same kind, not the same bits.
"""
import argparse, os, random, signal, time
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
import data

CONFIG = dict(vocab=data.VOCAB, hidden=256, layers=8, heads=4, kv_heads=2, head_dim=64, ffn=768, rope_theta=10000.0,
              eps=1e-6, context=512)
PIECES = 2  # batches that a process takes in a step, one after the other: half as large, a tenth faster here


def rms_norm(x, weight, eps):
    x = x.float()
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight).to(torch.get_autocast_dtype("cpu")
            if torch.is_autocast_enabled("cpu") else torch.float32)


def rope(x, cos, sin):  # [batch, heads, time, head_dim], the halves turn together (neox)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class CrossEntropy(torch.autograd.Function):
    """Cross entropy of each row of bf16 logits, in f32; three times as fast here as F.cross_entropy(logits.float(), ...)."""
    @staticmethod
    def forward(ctx, logits, target):
        x = logits.float()
        x -= x.amax(-1, keepdim=True)
        picked = x.gather(1, target[:, None])
        total = x.exp_().sum(-1, keepdim=True)
        ctx.save_for_backward(x.div_(total).to(logits.dtype), target)
        return (total.log() - picked)[:, 0]

    @staticmethod
    def backward(ctx, g):
        p, target = ctx.saved_tensors
        one = torch.full((len(p), 1), -1.0, dtype=p.dtype)
        return p.scatter_add(1, target[:, None], one).mul_(g[:, None].to(p.dtype)), None


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        d, q, kv, f = c["hidden"], c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"], c["ffn"]
        ones = lambda n: nn.Parameter(torch.ones(n))
        # Weights are [out, in] as in GGUF. The std is 1 / sqrt(in); what writes to the stream starts smaller.
        rand = lambda *s, k=1.0: nn.Parameter(torch.randn(*s) * (k / s[-1] ** 0.5))
        self.attn_norm, self.ffn_norm = ones(d), ones(d)
        self.attn_q_norm, self.attn_k_norm = ones(c["head_dim"]), ones(c["head_dim"])
        small = (2 * c["layers"]) ** -0.5
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = rand(q, d), rand(kv, d), rand(kv, d), rand(d, q, k=small)
        self.ffn_gate, self.ffn_up, self.ffn_down = rand(f, d), rand(f, d), rand(d, f, k=small)

    def forward(self, x, cos, sin, mask=None, past=None):
        """`past`, when given, is a list [k, v] of earlier positions; it grows, and x is what follows them."""
        c, (b, t, _) = self.c, x.shape
        h = rms_norm(x, self.attn_norm, c["eps"])
        heads = lambda w, n: F.linear(h, w).view(b, t, n, c["head_dim"])
        q = rms_norm(heads(self.attn_q, c["heads"]), self.attn_q_norm, c["eps"]).transpose(1, 2)
        k = rms_norm(heads(self.attn_k, c["kv_heads"]), self.attn_k_norm, c["eps"]).transpose(1, 2)
        v = heads(self.attn_v, c["kv_heads"]).transpose(1, 2)
        more = c["heads"] // c["kv_heads"]
        q, k, v = rope(q, cos, sin), rope(k, cos, sin).repeat_interleave(more, 1), v.repeat_interleave(more, 1)
        if past is not None:
            past[:] = k, v = [torch.cat(old_new, 2) for old_new in zip(past, (k, v))] if past else [k, v]
        score = q @ k.mT * c["head_dim"] ** -0.5  # plain products: faster here than the fused kernel, backward
        score = score if mask is None else score + mask
        y = score.softmax(-1).to(v.dtype) @ v
        x = x + F.linear(y.transpose(1, 2).reshape(b, t, -1), self.attn_output)
        h = rms_norm(x, self.ffn_norm, c["eps"])
        return x + F.linear(F.silu(F.linear(h, self.ffn_gate)) * F.linear(h, self.ffn_up), self.ffn_down)


class Model(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.c = c
        self.token_embd = nn.Parameter(torch.randn(c["vocab"], c["hidden"]) * 0.02)  # the output too
        self.blk = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.output_norm = nn.Parameter(torch.ones(c["hidden"]))
        half = c["head_dim"] // 2
        angle = torch.arange(c["context"]).float().outer(c["rope_theta"] ** (-torch.arange(half).float() / half))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, keep=None, start=0, past=None, mask=None):
        """ids [batch, time] from position `start` (a number, or one for each row) -> logits, at `keep` or all."""
        x, t = F.embedding(ids, self.token_embd), ids.shape[1]
        dt = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        at = torch.arange(t) + (start if isinstance(start, int) else start[:, None, None])
        at = at.clamp(min=0)  # what stands before the text, in a batch, is masked
        x, cos, sin = x.to(dt), self.cos[at].to(dt), self.sin[at].to(dt)
        if mask is None and t > 1:
            mask = torch.full((t, t), float("-inf"), dtype=dt).triu(1)
        for i, layer in enumerate(self.blk):
            x = layer(x, cos, sin, mask, past[i] if past else None)
        x = rms_norm(x, self.output_norm, self.c["eps"])
        return F.linear(x if keep is None else x[keep], self.token_embd)


@torch.no_grad()
def start(model, pieces):
    """Set what the tasks need and random weights learn late: copying. Training is free to change all of it.

    Tokens that differ in a leading space or in capitals alone get like embeddings; channel 0 is the same for all. In
    layer 0 one head looks at the token before (constant queries and keys, turned apart by one position) and notes it
    in channels of its own; in layer 1 one head looks for the place that notes the present token (only the slow
    rotary pairs, which hardly turn within a context) and copies what stands there: an induction head (Olsson et al.
    2022).
    """
    c, e = model.c, model.token_embd
    base = {}
    for i, piece in enumerate(pieces):
        same = base.setdefault(piece.replace("\u0120", "").lower(), torch.randn(c["hidden"]))
        e[i] = 0.5 * (0.85 * same + 0.53 * torch.randn(c["hidden"]))
    note, read, n = slice(200, 228), slice(1, 29), 28
    e[:, note] = 0.0
    e[:, 0] = 2.0
    model.output_norm.fill_(0.04)
    size = c["head_dim"]
    q, k = slice(2 * size, 3 * size), slice(size, 2 * size)  # query head 2 with key-value head 1, in both layers
    for layer in model.blk[:2]:
        layer.attn_q[q] = layer.attn_k[k] = layer.attn_v[k] = 0.0
        layer.attn_output[:, 2 * size:] *= 0.1
        layer.attn_output[:, q] = 0.0
    first, second = model.blk[0], model.blk[1]
    theta = c["rope_theta"] ** (-torch.arange(size // 2).float() / (size // 2))
    fast = [0, 1, 2, size // 2, size // 2 + 1, size // 2 + 2]
    for f, share in enumerate((0.45, 0.30, 0.25)):
        first.attn_k[size + f, 0] = share ** 0.5
        first.attn_q[2 * size + f, 0] = share ** 0.5 * theta[f].cos()
        first.attn_q[2 * size + size // 2 + f, 0] = -share ** 0.5 * theta[f].sin()
    first.attn_q_norm[fast], first.attn_k_norm[fast] = 2.2, 2.2
    slow = [*range(size // 2 - n // 2, size // 2), *range(size - n // 2, size)]
    second.attn_q_norm[slow], second.attn_k_norm[slow] = 1.5, 1.5
    for i in range(n):
        first.attn_v[size + i, read.start + i] = 1.0
        first.attn_output[note.start + i, 2 * size + i] = 0.5
        second.attn_q[2 * size + slow[i], read.start + i] = 1.0
        second.attn_k[size + slow[i], note.start + i] = 1.0
    for i in range(size):
        second.attn_v[size + i, 64 + i] = 1.0
        second.attn_output[64 + i, 2 * size + i] = 1.0


def orthogonal(g, m, momentum):
    """Momentum, made orthogonal by Newton-Schulz (Muon, Jordan et al. 2024)."""
    m.lerp_(g, 1 - momentum)
    u = g.lerp(m, momentum).bfloat16()
    tall = u.shape[0] > u.shape[1]
    u = u.mT if tall else u
    u = u / (u.norm() + 1e-7)
    for _ in range(5):
        a = u @ u.mT
        u = 3.4445 * u + (-4.7750 * a + 2.0315 * a @ a) @ u
    return (u.mT if tall else u).float() * max(1, g.shape[0] / g.shape[1]) ** 0.5


def encode(tok, rows, context):
    """[(kind, parts)] -> [(kind, ids, weights)]; what does not fit is cut."""
    texts = tok.encode_batch([t for _, parts in rows for t, _ in parts])
    out, i = [], 0
    for kind, parts in rows:
        ids, w = [], []
        for _, weight in parts:
            n = texts[i].ids
            ids, w, i = ids + n, w + [weight] * len(n), i + 1
        out.append((kind, ids[:context + 1], w[:context + 1]))
    return out


def batches(rows, tokens, rng):
    """Rows of like length together, about `tokens` a batch, in random order."""
    rows = sorted(rows, key=lambda r: (len(r[1]) // 8, rng.random()))
    out, now, longest = [], [], 0
    for r in rows:
        if now and max(longest, len(r[1])) * (len(now) + 1) > tokens:
            out, now, longest = out + [now], [], 0
        now.append(r)
        longest = max(longest, len(r[1]))
    out.append(now)
    rng.shuffle(out)
    return out


def tensors(batch):
    n = max(len(ids) for _, ids, _ in batch) - 1
    x, y = torch.zeros(len(batch), n, dtype=torch.long), torch.full((len(batch), n), -1)
    w, kind = torch.zeros(len(batch), n), torch.zeros(len(batch), n, dtype=torch.long)
    for i, (k, ids, weight) in enumerate(batch):
        m = len(ids) - 1
        x[i, :m], y[i, :m], w[i, :m] = torch.tensor(ids[:-1]), torch.tensor(ids[1:]), torch.tensor(weight[1:])
        kind[i] = data.KINDS.index(k)
    return x, y, w, kind


@torch.no_grad()
def dev_loss(model, rows):
    total = n = 0
    for b in batches(rows, 4096, random.Random(0)):
        x, y, w, _ = tensors(b)
        keep = (y >= 0) & (w == 1)
        total, n = total + CrossEntropy.apply(model(x, keep), y[keep]).sum().item(), n + int(keep.sum())
    return total / n


class Trainer:
    def __init__(self, a, rank):
        from tokenizers import Tokenizer
        self.a, self.rank = a, rank
        torch.manual_seed(a.seed)
        self.tok = Tokenizer.from_file(os.path.join(a.out, "tokenizer.json"))
        self.stream, self.model = data.Stream(a.data, a.seed), Model()
        dev = [("story", [(data.turn("user", data.request(s, random.Random(0))) + "<|im_start|>assistant\n", data.ASKED), (s + "<|im_end|>", 1.0)])
               for s in self.stream.dev]
        self.dev = encode(self.tok, dev, CONFIG["context"])
        self.matrices = [p for p in self.model.blk.parameters() if p.ndim == 2]
        self.rest = [p for p in self.model.parameters() if not any(p is m for m in self.matrices)]
        self.momentum = [torch.zeros_like(p) for p in self.matrices]
        self.adam = torch.optim.AdamW(self.rest, a.adam_lr, (0.9, 0.98), weight_decay=0.0)
        self.at = dict(tokens=0, answers=0, steps=0, part=0, queue=0, seconds=0.0, progress=0.0)
        self.queue, self.kinds, self.stop, self.told = [], torch.zeros(len(data.KINDS), 2), False, False
        start(self.model, sorted(self.tok.get_vocab(), key=self.tok.get_vocab().get))
        if a.begin:
            from runner import load  # which itself needs this file
            self.model.load_state_dict(load(a.begin)[0].state_dict())
        path = os.path.join(a.out, "checkpoint.pt")
        if os.path.exists(path):
            s = torch.load(path, weights_only=False)
            self.model.load_state_dict(s["model"])
            self.adam.load_state_dict(s["adam"])
            self.momentum, self.at = s["momentum"], self.at | s["at"]
            self.fill()

    def fill(self):
        rng = random.Random(self.a.seed + self.at["part"])
        self.queue = batches(encode(self.tok, self.stream.part(self.at["part"]), CONFIG["context"]), self.a.batch // self.a.ranks // PIECES, rng)
        self.queue = self.queue[self.at["queue"]:]

    def save(self, final=False):
        """Everyone's momentum comes together first; then the first process writes."""
        for i, m in enumerate(self.momentum):
            dist.broadcast(m, i % self.a.ranks)
        if self.rank:
            return
        with torch.autocast("cpu", torch.bfloat16):
            d = dev_loss(self.model, self.dev)
        state = dict(model=self.model.state_dict(), config=CONFIG, at=dict(self.at), dev=d)
        path = os.path.join(self.a.out, "final.pt" if final else "checkpoint.pt")
        torch.save(state if final else state | dict(adam=self.adam.state_dict(), momentum=self.momentum), path + ".new")
        os.replace(path + ".new", path)
        if not final:
            torch.save(state, os.path.join(self.a.out, f"at-{self.at['tokens'] / 1e6:.1f}M.pt"))
        print(f"  saved: {self.at}, dev loss {d:.4f}", flush=True)

    def gradients(self):
        """PIECES batches for each process; the sum of all, over the weights of all. Returns the tokens, the answers among them."""
        all_pieces = PIECES * self.a.ranks
        while len(self.queue) < all_pieces:
            self.at["part"], self.at["queue"] = self.at["part"] + 1, 0
            self.fill()
        mine = self.queue[self.rank:all_pieces:self.a.ranks]
        self.queue, self.at["queue"] = self.queue[all_pieces:], self.at["queue"] + all_pieces
        counts, weights, tokens = torch.zeros(len(data.KINDS), 2), 0.0, 0
        for x, y, w, kind in map(tensors, mine):
            keep = w > 0
            with torch.autocast("cpu", torch.bfloat16):
                each = CrossEntropy.apply(self.model(x, keep), y[keep])
            w, kind = w[keep], kind[keep]
            (each * w).sum().backward()
            answer = w > data.ASKED
            counts[:, 0].index_add_(0, kind[answer], each.detach()[answer])
            counts[:, 1].index_add_(0, kind[answer], torch.ones(int(answer.sum())))
            weights, tokens = weights + w.sum().item(), tokens + int((y >= 0).sum())
        everything = torch.cat([p.grad.flatten() for p in self.model.parameters()]
                               + [counts.flatten(), torch.tensor([weights, float(tokens), float(self.told)])])
        dist.all_reduce(everything)
        self.stop = everything[-1] > 0
        n = 0
        for p in self.model.parameters():
            p.grad.copy_((everything[n:n + p.numel()] / everything[-3]).view_as(p))
            n += p.numel()
        self.kinds = self.kinds * 0.97 + everything[n:n + counts.numel()].view_as(counts)
        return int(everything[-2]), int(everything[n:n + counts.numel()].view_as(counts)[:, 1].sum())

    def step(self, rate):
        tokens, answers = self.gradients()
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        self.adam.param_groups[0]["lr"] = self.a.adam_lr * rate
        self.adam.step()
        mine = [orthogonal(p.grad, m, 0.95).flatten() if i % self.a.ranks == self.rank else torch.zeros(p.numel())
                for i, (p, m) in enumerate(zip(self.matrices, self.momentum))]
        update, n, lr = torch.cat(mine), 0, self.a.lr * rate
        dist.all_reduce(update)
        with torch.no_grad():
            for p in self.matrices:
                p.mul_(1 - lr * 0.1).add_(update[n:n + p.numel()].view_as(p), alpha=-lr)
                n += p.numel()
        self.model.zero_grad(set_to_none=False)
        self.at["tokens"] += tokens
        self.at["answers"] += answers
        self.at["steps"] += 1

    def rate(self):
        fallen = max(0.0, self.at["progress"] - self.a.level) / (1 - self.a.level)
        return min(1 - fallen, (self.at["steps"] + 1) / 40)

    def advance(self, took, usual, end, tokens):
        """How far the run is, from 0 to 1, by its time or its tokens, whichever is nearer to its end.

        `took` seconds of the step; one that took very long (the process was stopped) does not count whole, and what is
        left to do is spread over the time that is left."""
        counted = min(took, 10 * usual)
        time_left = max(end - time.time() + counted, counted)
        tokens_left = max(self.a.tokens - self.at["tokens"] + tokens, tokens)
        share = torch.tensor([max(counted / time_left, tokens / tokens_left), counted])
        dist.broadcast(share, 0)  # every process must take the same rate: the clock of the first is sent round
        self.at["progress"] += (1 - self.at["progress"]) * share[0].item()
        self.at["seconds"] += share[1].item()

    def run(self):
        a, began, first = self.a, time.time(), self.at["tokens"]
        saved, end, steps = began, began + a.minutes * 60, []
        while not self.stop and self.at["progress"] < 0.9995:
            at, before = time.time(), self.at["tokens"]
            self.step(self.rate())
            steps = [*steps[-50:], time.time() - at]
            self.advance(steps[-1], sorted(steps)[len(steps) // 2], end, self.at["tokens"] - before)
            if self.at["steps"] % 10 == 0 and self.rank == 0:
                shown = "  ".join(f"{k} {s / max(n, 1):.3f}" for k, (s, n) in zip(data.KINDS, self.kinds.tolist()))
                print(f"{self.at['seconds'] / 60:5.1f} min  step {self.at['steps']}  {self.at['tokens'] / 1e6:.2f}M  {shown}  rate "
                      f"{self.rate():.3f}  {(self.at['tokens'] - first) / (time.time() - began):.0f} tokens/s", flush=True)
            late = torch.tensor([float(time.time() - saved > 600)])
            dist.broadcast(late, 0)
            if late.item():
                saved = time.time()
                self.save()
        self.save(final=not self.stop)


def work(rank, a):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(a.port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=a.ranks)
    trainer = Trainer(a, rank)
    signal.signal(signal.SIGTERM, lambda *_: setattr(trainer, "told", True))
    if rank == 0:
        print(f"{sum(p.numel() for p in trainer.model.parameters())} parameters, going on from {trainer.at}", flush=True)
    trainer.run()
    dist.destroy_process_group()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default=data.DATA)
    ap.add_argument("--out", required=True)
    ap.add_argument("--tokens", type=float, default=25e6, help="at most, over all runs from the start")
    ap.add_argument("--minutes", type=float, required=True)
    ap.add_argument("--begin", metavar="GGUF", help="begin with the weights of this file, not at random; OUT/tokenizer.json must be its own")
    ap.add_argument("--level", type=float, default=0.3, help="share of the run before the rate falls")
    ap.add_argument("--batch", type=int, default=6144, help="tokens of a step, over all processes")
    ap.add_argument("--lr", type=float, default=0.02, help="of Muon")
    ap.add_argument("--adam-lr", type=float, default=0.003)
    ap.add_argument("--seed", type=int, default=20261121)
    ap.add_argument("--ranks", type=int, default=2)
    ap.add_argument("--port", type=int, default=29521)
    a = ap.parse_args()
    torch.multiprocessing.start_processes(work, (a,), a.ranks, start_method="fork")


if __name__ == "__main__":
    main()
