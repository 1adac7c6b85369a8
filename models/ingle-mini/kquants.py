"""Encode Q6_K blocks (gguf-py decodes them, and does not encode them). Layout: ggml-common.h."""
import numpy as np

BLOCK = 256


def _halves(d):
    """f16, stored, and the value that a reader will see."""
    h = d.astype(np.float16)
    return h, h.astype(np.float32)


def _inverse(x):
    return np.divide(1.0, x, out=np.zeros_like(x), where=x != 0)


def q6_k(x):
    """[n, 256] f32 -> [n, 210] u8: 128 bytes of low halves, 64 of high pairs, 16 i8 scales, d (f16)."""
    sub = x.reshape(-1, 16, 16).astype(np.float32)
    peak = np.take_along_axis(sub, np.abs(sub).argmax(-1)[..., None], -1)[..., 0]
    best, scale = np.full(peak.shape, np.inf, np.float32), np.zeros_like(peak)
    for k in np.linspace(-36, -28, 17):  # -32 is the far end: the largest value, of whatever sign, goes there
        q = np.clip(np.rint(sub * (k * _inverse(peak))[..., None]), -32, 31)
        a = (q * sub).sum(-1) * _inverse((q * q).sum(-1))
        err = ((a[..., None] * q - sub) ** 2).sum(-1)
        better = err < best
        best, scale = np.where(better, err, best), np.where(better, a, scale)
    far = np.take_along_axis(scale, np.abs(scale).argmax(-1)[..., None], -1)[..., 0]
    dh, d = _halves(far / -128)
    sc = np.clip(np.rint(scale * _inverse(d)[:, None]), -128, 127).astype(np.int8)
    s = d[:, None] * sc
    q = (np.clip(np.rint(sub * _inverse(s)[..., None]), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    ql = np.concatenate([q[:, :, 0] & 15 | (q[:, :, 2] & 15) << 4, q[:, :, 1] & 15 | (q[:, :, 3] & 15) << 4], -1)
    qh = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    return np.concatenate([ql.reshape(-1, 128), qh.reshape(-1, 64), sc.view(np.uint8), dh[:, None].view(np.uint8)], -1)
