"""Compares the logits of `resnet` with those of timm, torchvision and transformers.

    parity.py BINARY [--size 128] [--speed] [PATTERN...]

Builds every ResNet-like network whose name matches a pattern, with random weights,
saves it as the library does, and lets BINARY (the example `parity` of the model
crate) load it. A network is served if the logits of two images are equal, refused if
it is not loaded, and wrong otherwise. Exits with status 1 if one is wrong.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from calibrate import calibrate, quantize
from networks import all_networks
from safetensors.torch import save_file

# Largest difference of a logit, relative to the largest logit. PyTorch rounds the sums
# of the blocks, the average over the pixels and the logits to 8 bits; `resnet` rounds
# only the outputs of convolutions (model/tests/quantized.rs).
TOLERANCE = {"quantized": 0.1}
USUAL_TOLERANCE = 2e-4
# A network may take this much longer than its multiply-adds and ResNet-50 predict.
SLOWDOWN = 1.3
# Above this, the logits are computed in f32 to save memory.
MOST_PARAMETERS_IN_F64 = 100e6


def save(library, name, network, size, folder):
    """Saves a network as its library does; returns the path that is loaded."""
    state = network.state_dict()
    if library != "quantized":
        state = {key: value.contiguous() for key, value in state.items()}
    if library in ("torchvision", "quantized"):
        path = folder / f"{name}.pth"
        torch.save(state, path)
        return path
    if library == "transformers":
        network.save_pretrained(folder)
        normalize = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        processor = {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875, **normalize}
        (folder / "preprocessor_config.json").write_text(
            json.dumps({**processor, "size": {"shortest_edge": size}, "do_normalize": True, "do_resize": True})
        )
        return folder
    save_file(state, folder / "model.safetensors")
    config = {
        "architecture": name,
        "num_classes": 10,
        "num_features": network.num_features,
        "global_pool": "avg",
        "pretrained_cfg": {"input_size": [3, size, size], "crop_pct": 1.0, "interpolation": "bicubic"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def reference(library, network, images):
    """The logits that the library computes."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if library != "quantized" and parameters < MOST_PARAMETERS_IN_F64:
        network, images = network.double(), images.double()
    with torch.no_grad():
        logits = network(images)
    return getattr(logits, "logits", logits).float()


class Binary:
    """The running example."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, model, planes, runs, auto):
        job = {"model": str(model), "planes": str(planes), "runs": runs, "auto": auto}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]} has stopped while it loaded {model}")
        return json.loads(answer)


def compare(binary, library, name, build, options):
    """Builds, saves and compares one network. Returns what became of it, and text."""
    # torchvision's checkpoints state no size
    size = 224 if library in ("torchvision", "quantized") else options.size
    generator = torch.Generator().manual_seed(1)
    network = build()
    try:
        network = calibrate(network, size, generator)
    except (AssertionError, RuntimeError) as error:
        # it does not run at this size
        unusable = f"{type(error).__name__}: {error}"
    else:
        unusable = None
    images = torch.randn(2, 3, size, size, generator=generator)
    if library == "quantized":
        network = quantize(network, images)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        planes = folder / "planes.f32"
        planes.write_bytes(images.numpy().tobytes())
        model = folder / name
        model.mkdir()
        model = save(library, name, network, size, model)
        answer = binary.ask(model, planes, options.speed * 3, library == "quantized")
    if "error" in answer:
        return "refused", answer["error"].replace(f"{name} cannot be served: ", ""), None
    if unusable:
        return "skipped", unusable.splitlines()[0], None
    expected = reference(library, network, images)
    logits = torch.tensor(answer["logits"]).reshape(expected.shape)
    error = ((logits - expected).abs().max() / expected.abs().max()).item()
    varies = expected.std(0).max() > 1e-3 * expected.abs().max()
    if not varies:
        return "wrong", "the logits of the two images are equal: the weights show nothing", None
    text = f"{error:.1e} as {answer['architecture']}"
    speed = answer["seconds"] / answer["multiply_adds"] if options.speed else None
    tolerance = TOLERANCE.get(library, USUAL_TOLERANCE)
    return "served" if error <= tolerance else "wrong", text, speed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--speed", action="store_true", help="measure the time per multiply-add")
    options = parser.parse_intermixed_args()
    binary = Binary(options.binary)
    counts, slow = {}, []
    usual = None
    networks = [n for n in all_networks() if any(fnmatch.fnmatch(n[1], p) for p in options.patterns)]
    if options.speed:
        # first, because the others are compared with it
        fifty = next(n for n in all_networks() if n[:2] == ("timm", "resnet50"))
        usual = compare(binary, *fifty, options)[2]
    for library, name, build in networks:
        try:
            result, text, speed = compare(binary, library, name, build, options)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            # the library cannot build it
            result, text, speed = "skipped", str(error).splitlines()[0], None
        counts.setdefault((library, result), []).append(name)
        if speed:
            text += f", {speed / usual:.2f} x the time of ResNet-50 per multiply-add"
            if speed > SLOWDOWN * usual:
                slow.append(name)
        print(f"{library:13} {name:28} {result:8} {text}", flush=True)
    print()
    for (library, result), names in sorted(counts.items()):
        print(f"{library:13} {result:8} {len(names):4}")
    if slow:
        print(f"slower than {SLOWDOWN} x what their multiply-adds predict: {', '.join(slow)}")
    wrong = [name for (_, result), names in counts.items() if result == "wrong" for name in names]
    if wrong:
        sys.exit(f"wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
