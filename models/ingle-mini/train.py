#!/usr/bin/env python3
"""Train ingle-mini from nothing: a small Qwen3-MoE network, by wall clock.

    data.py tokenizer OUT/tokenizer.json && train.py --out OUT [--data DIR] [--minutes 60]

A checkpoint is written to OUT every 5 minutes; the same command goes on from it. The learning rate falls to
zero at the end of the time, however fast the machine is. Seeds are fixed; the time is not, so a second run
gives a model as good, not the same bits.
"""
import argparse, os, random, time
import torch
import torch.nn.functional as F
from torch import nn
import data

CONFIG = dict(vocab=data.VOCAB, hidden=256, layers=4, heads=4, kv_heads=2, head_dim=64, experts=6, top_k=2,
              expert_ffn=256, rope_theta=10000.0, eps=1e-6, context=512)


def rms_norm(x, weight, eps):
    x = x.float()
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight).to(torch.get_autocast_dtype("cpu")
            if torch.is_autocast_enabled("cpu") else torch.float32)


def rope(x, cos, sin):  # [batch, heads, time, head_dim], the halves turn together (neox)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class CrossEntropy(torch.autograd.Function):
    """Mean cross entropy of bf16 logits, in f32; three times as fast here as F.cross_entropy(logits.float(), ...)."""
    @staticmethod
    def forward(ctx, logits, target):
        x = logits.float()
        x -= x.amax(-1, keepdim=True)
        picked = x.gather(1, target[:, None])
        total = x.exp_().sum(-1, keepdim=True)
        ctx.save_for_backward(x.div_(total).to(logits.dtype), target)
        return (total.log() - picked).mean()

    @staticmethod
    def backward(ctx, g):
        p, target = ctx.saved_tensors
        one = torch.full((len(p), 1), -1.0, dtype=p.dtype)
        return p.scatter_add(1, target[:, None], one).mul_(g / len(p)), None


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        d, q, kv, e, f = c["hidden"], c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"], c["experts"], c["expert_ffn"]
        ones = lambda n: nn.Parameter(torch.ones(n))
        # Weights are [out, in] as in GGUF. The std is 1 / sqrt(in); what writes to the stream starts smaller.
        rand = lambda *s, k=1.0: nn.Parameter(torch.randn(*s) * (k / s[-1] ** 0.5))
        self.attn_norm, self.ffn_norm = ones(d), ones(d)
        self.attn_q_norm, self.attn_k_norm = ones(c["head_dim"]), ones(c["head_dim"])
        small = (2 * c["layers"]) ** -0.5
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = rand(q, d), rand(kv, d), rand(kv, d), rand(d, q, k=small)
        self.ffn_gate_inp = rand(e, d)
        self.ffn_gate_exps, self.ffn_up_exps, self.ffn_down_exps = rand(e, f, d), rand(e, f, d), rand(e, d, f, k=small)

    def attention(self, x, cos, sin, past=None):
        """`past`, when given, is a list [k, v] of earlier positions; it grows, and x is one position."""
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
        if past is None:
            score = score + torch.full((t, t), float("-inf"), dtype=score.dtype).triu(1)
        y = score.softmax(-1).to(v.dtype) @ v
        return F.linear(y.transpose(1, 2).reshape(b, t, -1), self.attn_output)

    def experts(self, x):
        c = self.c
        h = rms_norm(x, self.ffn_norm, c["eps"]).view(-1, c["hidden"])
        probs = F.linear(h.float(), self.ffn_gate_inp.float()).softmax(-1)
        top, index = probs.topk(c["top_k"], -1)
        top = top / top.sum(-1, keepdim=True)
        # Rows in order of their expert; each expert sees its own in one piece.
        flat = index.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=c["experts"])
        row = order // c["top_k"]
        xs, out, at = h.index_select(0, row), [], 0
        weights = zip(self.ffn_gate_exps.unbind(), self.ffn_up_exps.unbind(), self.ffn_down_exps.unbind())
        for n, (gate, up, down) in zip(counts.tolist(), weights):
            xe = xs[at:at + n]
            out.append(F.linear(F.silu(F.linear(xe, gate)) * F.linear(xe, up), down))
            at += n
        y = torch.cat(out) * top.flatten().index_select(0, order).unsqueeze(-1).to(out[0].dtype)
        y = torch.zeros_like(h).index_add(0, row, y)
        # Load balance (Switch Transformer, eq. 4): 1 when every expert has the same share.
        balance = c["experts"] * (probs.mean(0) * (counts / flat.numel())).sum()
        return y.view_as(x), balance

    def forward(self, x, cos, sin, drop, past=None):
        x = x + F.dropout(self.attention(x, cos, sin, past), drop, self.training)
        y, balance = self.experts(x)
        return x + F.dropout(y, drop, self.training), balance


class Model(nn.Module):
    def __init__(self, c=CONFIG, drop=0.0):
        super().__init__()
        self.c, self.drop = c, drop
        self.token_embd = nn.Parameter(torch.randn(c["vocab"], c["hidden"]) * 0.02)  # the output too
        self.blk = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.output_norm = nn.Parameter(torch.ones(c["hidden"]))
        half = c["head_dim"] // 2
        angle = torch.arange(c["context"]).float().outer(c["rope_theta"] ** (-torch.arange(half).float() / half))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, keep=None, start=0, past=None):
        """ids [batch, time] from position `start` -> logits at `keep` (all when None), and the mean balance loss."""
        x, balance = F.embedding(ids, self.token_embd), 0.0
        t = ids.shape[1]
        dt = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        x, cos, sin = x.to(dt), self.cos[start:start + t].to(dt), self.sin[start:start + t].to(dt)
        for i, layer in enumerate(self.blk):
            x, b = layer(x, cos, sin, self.drop, past[i] if past else None)
            balance = balance + b / self.c["layers"]
        x = rms_norm(x, self.output_norm, self.c["eps"])
        if keep is not None:
            x = x[keep]
        return F.linear(x, self.token_embd), balance


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal by Newton-Schulz, for the matrices (Jordan et al. 2024)."""
    def __init__(self, params, lr, weight_decay, momentum=0.95):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - g["momentum"])
                u = p.grad.lerp(m, g["momentum"])
                u = u.view(-1, *u.shape[-2:]).bfloat16()
                tall = u.shape[-2] > u.shape[-1]
                u = u.mT if tall else u
                u = u / (u.norm(dim=(-2, -1), keepdim=True) + 1e-7)
                for _ in range(5):
                    a = u @ u.mT
                    u = 3.4445 * u + (-4.7750 * a + 2.0315 * a @ a) @ u
                u = (u.mT if tall else u).reshape(p.shape)
                p.mul_(1 - g["lr"] * g["weight_decay"])
                p.add_(u.to(p.dtype), alpha=-g["lr"] * max(1, p.shape[-2] / p.shape[-1]) ** 0.5)


def encode(tok, pairs, context):
    """(before, answer) -> (ids, how many of them come before the answer), cut at the context."""
    before = tok.encode_batch([a for a, _ in pairs])
    answer = tok.encode_batch([b for _, b in pairs])
    return [((a.ids + b.ids)[:context + 1], len(a.ids)) for a, b in zip(before, answer) if len(a.ids) < context // 2]


def batches(rows, tokens, rng):
    """Rows of like length together, about `tokens` a batch, in random order."""
    rows = sorted(rows, key=lambda r: (len(r[0]) // 16, rng.random()))
    out, now, longest = [], [], 0
    for r in rows:
        longest = max(longest, len(r[0]))
        if now and longest * (len(now) + 1) > tokens:
            out, now, longest = out + [now], [], len(r[0])
        now.append(r)
    out.append(now)
    rng.shuffle(out)
    return out


def tensors(batch):
    n = max(len(ids) for ids, _ in batch) - 1
    x, y = torch.zeros(len(batch), n, dtype=torch.long), torch.full((len(batch), n), -1)
    for i, (ids, before) in enumerate(batch):
        x[i, :len(ids) - 1] = torch.tensor(ids[:-1])
        y[i, before - 1:len(ids) - 1] = torch.tensor(ids[before:])
    return x, y


def loss_of(model, batch):
    x, y = tensors(batch)
    keep = y >= 0
    logits, balance = model(x, keep)
    return CrossEntropy.apply(logits, y[keep]), balance, int(keep.sum())


@torch.no_grad()
def dev_loss(model, rows):
    model.eval()
    total = n = 0
    for b in batches(rows, 4096, random.Random(0)):
        loss, _, k = loss_of(model, b)
        total, n = total + loss.item() * k, n + k
    model.train()
    return total / n


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default=data.DATA)
    ap.add_argument("--out", required=True)
    ap.add_argument("--minutes", type=float, default=60)
    ap.add_argument("--tokens", type=int, default=6144, help="a batch")
    ap.add_argument("--lr", type=float, default=0.02, help="of Muon")
    ap.add_argument("--adam-lr", type=float, default=0.003)
    ap.add_argument("--drop", type=float, default=0.0)
    ap.add_argument("--seed", type=int, default=20261121)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    from tokenizers import Tokenizer
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tok = Tokenizer.from_file(os.path.join(a.out, "tokenizer.json"))
    stories, dev = data.load(a.data)
    others, asked = data.tales(a.data), data.questions(a.data)
    rng = random.Random(a.seed)
    held = encode(tok, [data.example(data.request(s, rng), s, rng, asked) for s in dev], CONFIG["context"])
    model = Model(drop=a.drop)
    matrices = [p for p in model.blk.parameters() if p.ndim > 1 and p.shape[0] != CONFIG["experts"] or p.ndim == 3]
    rest = [p for p in model.parameters() if not any(p is m for m in matrices)]
    opts = [Muon(matrices, a.lr, 0.1), torch.optim.AdamW(rest, a.adam_lr, (0.9, 0.98), weight_decay=0.0)]
    base = [a.lr, a.adam_lr]
    path, spent, seen, steps, passes = os.path.join(a.out, "checkpoint.pt"), 0.0, 0, 0, 0
    if os.path.exists(path):
        s = torch.load(path, weights_only=False)
        model.load_state_dict(s["model"])
        for o, w in zip(opts, s["opts"]):
            o.load_state_dict(w)
        spent, seen, steps, passes = s["spent"], s["seen"], s["steps"], s["passes"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(stories)} stories, {len(others)} tales, "
          f"batches of {a.tokens} tokens, going on from {spent / 60:.1f} minutes", flush=True)
    start, limit, queue = time.time() - spent, a.minutes * 60, []
    last_save = last_print = time.time()
    mean = None

    def save(final=False):
        model.eval()
        with torch.autocast("cpu", torch.bfloat16):
            d = dev_loss(model, held)
        state = dict(model=model.state_dict(), config=CONFIG, spent=min(time.time() - start, limit), seen=seen, steps=steps,
                     passes=passes, dev=d)
        torch.save(state | dict(opts=[o.state_dict() for o in opts]), path + ".new")
        os.replace(path + ".new", path)
        if final:
            torch.save(state, os.path.join(a.out, "final.pt"))
        print(f"  saved at {(time.time() - start) / 60:.1f} min: {seen} tokens, {steps} steps, {passes} passes, dev loss {d:.4f}", flush=True)
        model.train()

    while (done := (time.time() - start) / limit) < 1.0:
        if not queue:
            passes += 1
            rng = random.Random(a.seed + passes)
            # The tales by people widen the vocabulary; the last 40% of the time is simple stories only.
            rows = data.epoch(stories, others, asked, rng, 1.0 if done < 0.6 else 0.0)
            queue = batches(encode(tok, rows, CONFIG["context"]), a.tokens, rng)
        # Up in the first 1%, level, then straight down to zero over the last 60%.
        rate = min(1.0, (steps + 1) / 30, max(0.0, (1.0 - done) / 0.6))
        for o, lr in zip(opts, base):
            o.param_groups[0]["lr"] = lr * rate
        batch = queue.pop()
        with torch.autocast("cpu", torch.bfloat16):
            loss, balance, n = loss_of(model, batch)
        (loss + 0.01 * balance).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for o in opts:
            o.step()
            o.zero_grad(set_to_none=True)
        seen, steps = seen + n, steps + 1
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if steps % 20 == 0:
            print(f"{(time.time() - start) / 60:5.1f} min  step {steps}  pass {passes}  loss {mean:.4f}  balance {balance.item():.3f}  "
                  f"rate {rate:.3f}  {seen / (time.time() - start):.0f} tokens/s", flush=True)
        if time.time() - last_save > 300:
            save()
            last_save = time.time()
    save(final=True)


if __name__ == "__main__":
    main()
