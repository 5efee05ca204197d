#!/usr/bin/env python3
"""Draws bench/speed.svg from bench/results.json and writes the table of the README's section
"Speed" between its two markers. Needs only the standard library.

    python3 bench/plot.py            write both
    python3 bench/plot.py --check    exit status 1 if either is not up to date
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SVG, README = ROOT / "bench/speed.svg", ROOT / "README.md"
BEGIN, END = "<!-- speed table: bench/plot.py -->", "<!-- end of the speed table -->"

# Column of the JSON, name, colour (Okabe and Ito's palette, safe for colour-blind readers).
ENGINES = [
    ("resnet", "resnet", "#0072b2"),
    ("candle", "plain candle", "#cc79a7"),
    ("onnxruntime", "ONNX Runtime", "#e69f00"),
    ("openvino", "OpenVINO", "#009e73"),
]
PEERS = ("onnxruntime", "openvino")

# What the plot shows: ResNet-18 and ResNet-50 at this batch size.
MODELS = [("resnet18", "ResNet-18"), ("resnet50", "ResNet-50")]
BATCH = 16

WIDTH, LEFT, RIGHT = 760, 150, 60
BAR, BAR_GAP, GROUP_GAP, TOP = 13, 3, 14, 86

STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .model { font-weight: 600; }
  .note { font-size: 12px; fill: #59636e; }
  .value { font-size: 11px; }
  .axis { stroke: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
  }
"""


def measured(rows):
    """The engines that were measured at least once, in order."""
    return [engine for engine in ENGINES if any(row.get(engine[0]) for row in rows)]


def text(x, y, content, css="", anchor="start"):
    return f'<text x="{x:g}" y="{y:g}" class="{css}" text-anchor="{anchor}">{content}</text>'


def plot(results):
    shown = dict(MODELS)
    rows = [row for row in results["forward"] if row["model"] in shown and row["batch"] == BATCH]
    runs = results["runs"]
    rows.sort(key=lambda row: (list(runs).index(row["run"]), list(shown).index(row["model"])))
    engines = measured(rows)
    largest = max(row[key] for row in rows for key, _, _ in engines if row.get(key))
    scale = (WIDTH - LEFT - RIGHT) / largest

    parts = [
        text(16, 24, f"Forward pass, images per second (batch {BATCH}, 2 threads, longer is better)", "title"),
        text(16, 44, results["machines"], "note"),
    ]
    x = LEFT
    for _, name, colour in engines:
        parts.append(f'<rect x="{x}" y="58" width="12" height="12" fill="{colour}"/>')
        parts.append(text(x + 18, 69, name))
        x += 44 + 8 * len(name)

    y = TOP
    group = None
    for row in rows:
        bars = [(name, colour, row[key]) for key, name, colour in engines if row.get(key)]
        height = len(bars) * (BAR + BAR_GAP) - BAR_GAP
        if (row["run"], row["model"]) != group:
            group = (row["run"], row["model"])
            parts.append(text(16, y + 10, shown[row["model"]], "model"))
            parts.append(text(16, y + 26, runs[row["run"]]["cpu"], "note"))
        parts.append(text(LEFT - 8, y + height / 2 + 4, row["dtype"], anchor="end"))
        for name, colour, value in bars:
            title = f"<title>{shown[row['model']]} {row['dtype']}, {name}: {value:g} images/s</title>"
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}" fill="{colour}">{title}</rect>'
            )
            parts.append(text(LEFT + value * scale + 5, y + BAR - 3, f"{value:g}", "value"))
            y += BAR + BAR_GAP
        y += GROUP_GAP - BAR_GAP
    bottom = y - GROUP_GAP + 4
    parts.append(f'<line x1="{LEFT}" y1="{TOP - 4}" x2="{LEFT}" y2="{bottom}" class="axis"/>')

    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 12}" '
        f'width="{WIDTH}" height="{bottom + 12}" role="img" '
        f'aria-label="Images per second of resnet and of other engines">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def table(results):
    rows = results["forward"]
    runs = results["runs"]
    engines = measured(rows)
    head = ["CPU", "model", "dtype", "batch", *(name for _, name, _ in engines), "resnet / best peer"]
    lines = [head, ["---", "---", "---", *["---:"] * (len(head) - 3)]]
    for row in rows:
        best = max(row[peer] for peer in PEERS if row.get(peer))
        ratio = row.get("ratio") or row["resnet"] / best
        values = [f"{row[key]:.1f}" if row.get(key) else "-" for key, _, _ in engines]
        cpu = runs[row["run"]]["cpu"]
        lines.append([cpu, row["model"], row["dtype"], str(row["batch"]), *values, f"{ratio:.2f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(readme, new):
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def main():
    results = json.loads((ROOT / "bench/results.json").read_text())
    wanted = {SVG: plot(results), README: with_table(README.read_text(), table(results))}
    for path, content in wanted.items():
        if "--check" not in sys.argv:
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            sys.exit(f"{path.relative_to(ROOT)} is not up to date: run python3 bench/plot.py")


if __name__ == "__main__":
    main()
