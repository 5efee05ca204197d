"""A small network for load tests: a CIFAR ResNet of 20 layers with random weights, whose
forward pass takes a fraction of a millisecond."""

import json
import pathlib
import random
import struct


def tensors():
    """The names and shapes of its parameters."""

    def norm(name, width):
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{part}", [width]

    yield "conv1.weight", [16, 3, 3, 3]
    yield from norm("bn1", 16)
    before = 16
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(3):
            name = f"layer{stage}.{block}"
            yield f"{name}.conv1.weight", [width, before, 3, 3]
            yield from norm(f"{name}.bn1", width)
            yield f"{name}.conv2.weight", [width, width, 3, 3]
            yield from norm(f"{name}.bn2", width)
            before = width
    yield "fc.weight", [10, 64]
    yield "fc.bias", [10]


def write(folder):
    """Writes the network into this folder, and returns its path."""
    numbers = random.Random(20)
    head, data = {}, bytearray()
    for name, shape in tensors():
        count = 1
        for side in shape:
            count *= side
        low, high = (0.5, 1.5) if name.endswith(("running_var", "bn1.weight", "bn2.weight")) else (-0.1, 0.1)
        values = [numbers.uniform(low, high) for _ in range(count)]
        begin = len(data)
        data += struct.pack(f"<{count}f", *values)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(head).encode()
    folder = pathlib.Path(folder)
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps({"architecture": "cifar_resnet20", "num_classes": 10}))
    return folder
