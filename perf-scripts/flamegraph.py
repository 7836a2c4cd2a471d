#!/usr/bin/env python3
"""Draws what `perf script` prints (on standard input) as a flame graph: one SVG that needs nothing beside it, the
folded stacks, and the functions with the most time of their own.
    perf script -i perf.data | flamegraph.py OUT_PREFIX TITLE
writes OUT_PREFIX.svg, OUT_PREFIX.folded and OUT_PREFIX.txt, and prints the last."""
import collections
import re
import sys
from html import escape

WIDTH, ROW, TOP = 1400, 17, 46
# Narrower than this, in pixels, nothing can be seen.
NARROWEST = 0.3
HASH = re.compile(r"::h[0-9a-f]{16}$")
FRAME = re.compile(r"^\s+[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$")


def stacks(lines):
    """Counts by stack, the outermost function first."""
    counts = collections.Counter()
    frames, in_sample = [], False
    for line in lines:
        if not line.strip():
            if in_sample:
                counts[tuple(reversed(frames or ["[unknown]"]))] += 1
            frames, in_sample = [], False
        elif not line[0].isspace():
            in_sample, frames = True, []
        elif match := FRAME.match(line):
            name, place = match.groups()
            name = HASH.sub("", name)
            if name == "[unknown]":
                name = "[" + place.rsplit("/", 1)[-1].strip("[]") + "]"
            frames.append(name + ("_[k]" if place.startswith("[kernel") else ""))
    if in_sample:
        counts[tuple(reversed(frames or ["[unknown]"]))] += 1
    return counts


def tree(counts):
    root = {"count": 0, "below": {}}
    for stack, count in counts.items():
        node = root
        node["count"] += count
        for name in stack:
            node = node["below"].setdefault(name, {"count": 0, "below": {}})
            node["count"] += count
    return root


def colour(name):
    """The kernel is blue, ours is orange, libraries are yellow; shades tell neighbours apart."""
    shade = sum(name.encode()) % 40
    if name.endswith("_[k]"):
        return f"hsl(210,60%,{62 + shade // 4}%)"
    ours = ("angarium", "account", "auth", "base", "directory", "imap", "mime", "pop3", "router", "runtime", "shard",
            "smtp", "storage_engine", "admin")
    crate = re.sub(r"^[<&]*(?:dyn |mut )*", "", name).split("::")[0]
    return f"hsl({18 + shade // 4},85%,62%)" if crate in ours else f"hsl(48,80%,{62 + shade // 4}%)"


def draw(root, title):
    boxes, deepest = [], 0
    total = root["count"]
    waiting = [(root["below"], 0.0, 0)]
    while waiting:
        below, left, depth = waiting.pop()
        for name, node in sorted(below.items()):
            width = node["count"] / total * WIDTH
            if width >= NARROWEST:
                boxes.append((name, node["count"], left, width, depth))
                deepest = max(deepest, depth)
                waiting.append((node["below"], left, depth + 1))
            left += width
    height = TOP + (deepest + 2) * ROW
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="monospace" font-size="11"><rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="8" y="18" font-size="14">{escape(title)}</text>',
           f'<text x="8" y="36">{total} samples; width is share of time; orange: ours, yellow: libraries, '
           'blue: kernel; point at a box for its whole name</text>']
    for name, count, left, width, depth in boxes:
        y = height - ROW - (depth + 1) * ROW
        label = name[: int((width - 4) / 6.7)] if width > 24 else ""
        out.append(f'<g><title>{escape(name)}: {count} samples, {count / total:.2%}</title>'
                   f'<rect x="{left:.2f}" y="{y}" width="{max(width - 0.3, 0.2):.2f}" height="{ROW - 1}" rx="1" '
                   f'fill="{colour(name)}"/>'
                   + (f'<text x="{left + 2:.2f}" y="{y + 12}">{escape(label)}</text>' if label else "") + "</g>")
    out.append("</svg>\n")
    return "\n".join(out)


def table(counts):
    """The 20 functions with the most samples of their own, and how many have them anywhere on the stack."""
    total = sum(counts.values())
    own, within = collections.Counter(), collections.Counter()
    for stack, count in counts.items():
        own[stack[-1]] += count
        for name in set(stack):
            within[name] += count
    lines = [f"{total} samples", f"{'own':>7} {'with callees':>13}  function"]
    for name, count in own.most_common(20):
        lines.append(f"{count / total:>7.2%} {within[name] / total:>13.2%}  {name}")
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    prefix, title = sys.argv[1:]
    counts = stacks(sys.stdin)
    if not counts:
        sys.exit("flamegraph.py: no sample came")
    with open(prefix + ".folded", "w", encoding="utf-8") as file:
        file.writelines(f"{';'.join(stack)} {count}\n" for stack, count in sorted(counts.items()))
    with open(prefix + ".svg", "w", encoding="utf-8") as file:
        file.write(draw(tree(counts), title))
    text = table(counts)
    with open(prefix + ".txt", "w", encoding="utf-8") as file:
        file.write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
