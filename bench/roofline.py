#!/usr/bin/env python3
"""Draw docs/roofline.svg from what bench/compare.py measured.

    bench/roofline.py [bench/compare.json] [docs/roofline.svg]

Across: operations for each byte that has to be read from memory. Up: operations a second. The roof is what the machine
read and multiplied in the same runs; a dot is what Ingle reached, a ring what llama.cpp did. Needs Python 3.9, no packages.
"""
import html
import json
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
WIDTH, HEIGHT = 900, 540
LEFT, RIGHT, TOP, BOTTOM = 80, 24, 56, 64
SHAPES = {("prompt", False): "prompt 512", ("generation", False): "generation 64",
          ("prompt", True): "prompt 512 at depth", ("generation", True): "generation 64 at depth"}
COLOURS = {("prompt", False): "#b5471c", ("generation", False): "#1c5fb5",
           ("prompt", True): "#d98a5f", ("generation", True): "#6fa0dd"}


class Scale:
    """Logarithmic axes."""

    def __init__(self, x, y):
        self.x0, self.x1 = (math.log10(v) for v in x)
        self.y0, self.y1 = (math.log10(v) for v in y)

    def x(self, value):
        return LEFT + (math.log10(value) - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - (math.log10(value) - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)


def points(results):
    """(what, intensity, Ingle's operations a second, the peer's, label)"""
    for result in results.values():
        for row in result.get("rows", []):
            work = row.get("work") or {}
            if row["peer"] == "avx2" or not work.get("bytes"):
                continue
            operations = (work["int8_ops"] or 0) + (work["f32_ops"] or 0)
            per_token = operations / (row["tokens"] * row["sequences"])
            label = row["model"] if row["sequences"] == 1 else f"{row['model']}, {row['sequences']} together"
            yield ((row["kind"], row["depth"] > 0), operations / work["bytes"], row["ingle"] * per_token,
                   row["other"] * per_token, label)


def powers(low, high):
    return [10.0 ** e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def text(x, y, words, anchor="middle", size=13, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {extra}>{html.escape(words)}</text>'


def axes(scale, x, y):
    out = []
    for value in powers(*x):
        at = scale.x(value)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(text(at, HEIGHT - BOTTOM + 20, f"{value:,g}"))
    for value in powers(*y):
        at = scale.y(value)
        words = f"{value / 1e12:g} T" if value >= 1e12 else f"{value / 1e9:g} G"
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 8, at + 4, words, "end"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "operations for each byte read"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(text(20, middle, "operations a second", extra=f'transform="rotate(-90 20 {middle:.1f})"'))
    return out


def roof(scale, x, y, read, peak, f32):
    out = []
    corner = peak / read
    start = max(x[0], y[0] / read)
    line = [(start, start * read), (corner, peak), (x[1], peak)]
    path = " ".join(f"{scale.x(a):.1f},{scale.y(b):.1f}" for a, b in line)
    out.append(f'<polyline points="{path}" fill="none" stroke="#222" stroke-width="2.5"/>')
    out.append(f'<line x1="{scale.x(f32 / read):.1f}" x2="{scale.x(x[1]):.1f}" y1="{scale.y(f32):.1f}" '
               f'y2="{scale.y(f32):.1f}" stroke="#222" stroke-dasharray="5 4"/>')
    out.append(text(scale.x(x[1]) - 4, scale.y(peak) - 8, f"8-bit integers: {peak / 1e12:.2f} T a second", "end"))
    out.append(text(scale.x(x[1]) - 4, scale.y(f32) + 18, f"f32: {f32 / 1e12:.2f} T a second", "end"))
    a, b = corner / 9, corner / 9 * read
    angle = math.degrees(math.atan2(scale.y(b * 2) - scale.y(b), scale.x(a * 2) - scale.x(a)))
    out.append(text(scale.x(a), scale.y(b) - 10, f"memory: {read / 1e9:.1f} GB/s",
                    extra=f'transform="rotate({angle:.1f} {scale.x(a):.1f} {scale.y(b) - 10:.1f})"'))
    return out


def dots(scale, found):
    out = []
    for what, intensity, ours, theirs, label in found:
        x, colour = scale.x(intensity), COLOURS[what]
        title = f"<title>{html.escape(label)}, {SHAPES[what]}: {ours / 1e9:,.0f} and {theirs / 1e9:,.0f} G a second</title>"
        out.append(f'<g>{title}<line x1="{x:.1f}" x2="{x:.1f}" y1="{scale.y(ours):.1f}" y2="{scale.y(theirs):.1f}" '
                   f'stroke="{colour}" stroke-opacity="0.4"/>'
                   f'<circle cx="{x:.1f}" cy="{scale.y(theirs):.1f}" r="4.5" fill="white" stroke="{colour}" stroke-width="1.8"/>'
                   f'<circle cx="{x:.1f}" cy="{scale.y(ours):.1f}" r="5" fill="{colour}"/></g>')
    return out


def legend(kinds):
    out, x = [], LEFT
    for kind in (k for k in SHAPES if k in kinds):
        out.append(f'<circle cx="{x + 6}" cy="24" r="5" fill="{COLOURS[kind]}"/>')
        out.append(text(x + 16, 28, SHAPES[kind], "start"))
        x += 40 + 7.5 * len(SHAPES[kind])
    out.append(text(LEFT, 46, "a dot: Ingle; a ring: llama.cpp, the same file in the same run", "start", 12))
    return out


def main():
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "compare.json"
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parent / "docs" / "roofline.svg"
    results = json.loads(source.read_text())
    found = list(points(results))
    common = [r["common"] for r in results.values() if "rows" in r and r["isa"] != "avx2"]
    if not found or not common:
        sys.exit(f"{source} holds no run to draw")
    read, peak, f32 = (max(c[key] for c in common) * unit
                       for key, unit in (("read_gbps", 1e9), ("int8_tops", 1e12), ("f32_tflops", 1e12)))
    x = (min(p[1] for p in found) / 4, max(max(p[1] for p in found), peak / read) * 3)
    y = (min(p[3] for p in found) / 3, peak * 2)
    scale = Scale(x, y)
    parts = axes(scale, x, y) + roof(scale, x, y, read, peak, f32) + dots(scale, found) + legend({p[0] for p in found})
    target.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                      f'font-family="DejaVu Sans, sans-serif"><rect width="100%" height="100%" fill="white"/>\n'
                      + "\n".join(parts) + "\n</svg>\n")


if __name__ == "__main__":
    main()
