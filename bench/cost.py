"""Cores, pods and euros for a number of photos a day, from measured speeds. A calculation, not a measurement.

    python3 bench/cost.py [--photos 1e9] [--price 25] [--peak 2] [--busy 0.7] ...

Speeds are those of bench/results.json (forward pass alone, 2 cores of Zen 4) and of docs/performance.md (the whole
request). Nobody has measured the whole request of the peers here: their rows count the forward pass alone, which
flatters them. Writes a table of Markdown. Needs only Python 3.
"""

import argparse
import json
import math
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 24 * 3600
CORES_MEASURED = 2
# From a 500 x 375 JPEG to JSON over HTTP in bf16, the client on the same cores: the
# lower end of docs/performance.md, in images a second on 2 cores.
WHOLE_REQUEST = {"resnet50_thin": 201, "resnet50": 57}
RUN, BATCH = "a", 16


def speeds():
    """Rows: model, dtype, what runs it, what was measured, images a second for a core."""
    rows = [(model, "bf16", "resnet", "whole request", speed) for model, speed in WHOLE_REQUEST.items()]
    names = {"resnet": "resnet", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    for result in json.loads((ROOT / "bench/results.json").read_text())["forward"]:
        if (result["run"], result["model"], result["batch"]) == (RUN, "resnet50", BATCH):
            rows += [
                ("resnet50", result["dtype"], name, "forward pass", result[engine])
                for engine, name in names.items()
                if result[engine]
            ]
    return [(*row, speed / CORES_MEASURED) for *row, speed in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=float, default=1e9, help="photos a day")
    parser.add_argument("--price", type=float, default=25, help="euros for a core and a month, with its memory: your contract's")
    parser.add_argument("--peak", type=float, default=2, help="the busiest hour of a day, in multiples of the mean")
    parser.add_argument("--busy", type=float, default=0.7, help="share of the measured speed that is used, so that queues stay short")
    parser.add_argument("--memory", type=float, default=2, help="GiB of a pod, the limit of the chart")
    parser.add_argument("--photo", type=float, default=100, help="kB of a photo")
    parser.add_argument("--cores", type=int, default=2, help="cores of a pod")
    options = parser.parse_args()
    mean = options.photos / SECONDS
    gigabits = options.peak * mean * options.photo * 8 / 1e6
    print(f"{options.photos:.3g} photos a day are {mean:,.0f} a second on average and {options.peak * mean:,.0f} at the peak,")
    print(f"{gigabits:,.1f} Gbit/s at {options.photo:g} kB a photo.\n")
    print("| model | dtype | server | measured | images/s for a core | pods at the peak | cores at the peak | GiB at the peak | euros a month, for the peak | euros a month, scaled |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for model, dtype, server, measured, speed in speeds():
        pods = math.ceil(options.peak * mean / (speed * options.busy * options.cores))
        cores = pods * options.cores
        fixed = cores * options.price
        # A scaler that follows the load pays for the mean.
        scaled = fixed / options.peak
        print(f"| {model} | {dtype} | {server} | {measured} | {speed:.1f} | {pods:,} | {cores:,} | {pods * options.memory:,.0f} | {fixed:,.0f} | {scaled:,.0f} |")


if __name__ == "__main__":
    main()
