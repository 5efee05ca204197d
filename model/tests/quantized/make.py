"""Writes basic.pth, bottleneck.pth and expected.json: small ResNets that torchvision
fuses and PyTorch quantizes (fbgemm), their logits, and those without the roundings that
`resnet` does not do. Run it with an environment of `make parity`:

    python make.py

The input is that of parity/golden.py.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torchvision.models.quantization.resnet import (
    QuantizableBasicBlock,
    QuantizableBottleneck,
    QuantizableResNet,
)

sys.path.append(str(Path(__file__).parent.parent / "parity"))
from calibrate import quantize, set_weights  # noqa: E402
from golden import CLASSES, SIDE, tensor  # noqa: E402

PLANES = (8, 8, 8, 8)
# The row of the table, the block, the layers, and the groups of ResNeXt.
NETWORKS = {
    "basic": ("resnet18", QuantizableBasicBlock, (1, 1, 1, 1), {}),
    "bottleneck": ("resnext50_32x4d", QuantizableBottleneck, (1, 1, 1, 2), {"groups": 4, "width_per_group": 32}),
}


class Small(QuantizableResNet):
    """With few channels."""

    def _make_layer(self, block, planes, *arguments, **named):
        if planes == 64:
            self.inplanes = PLANES[0]
            self.conv1 = nn.Conv2d(3, PLANES[0], 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(PLANES[0])
        planes = PLANES[(64, 128, 256, 512).index(planes)]
        return super()._make_layer(block, planes, *arguments, **named)


def network(block, layers, arguments):
    """A quantized network."""
    generator = torch.Generator().manual_seed(1)
    float_network = Small(block, layers, num_classes=CLASSES, **arguments)
    float_network.fc = nn.Linear(PLANES[-1] * block.expansion, CLASSES)
    set_weights(float_network, generator)
    for module in float_network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    images = torch.rand(8, 3, SIDE, SIDE, generator=generator) * 2 - 1
    with torch.no_grad():
        float_network.train()(images)
    return quantize(float_network, images)


def rounded(x, module):
    """To the 8 bits of a module's output, as a float. The scale is inverted in f32, as
    in PyTorch and `resnet`."""
    scale, zero_point = float(module.scale), int(module.zero_point)
    integers = torch.round(x.float() * (1 / torch.tensor(scale)) + zero_point).double()
    return (torch.clamp(integers, 0, 255) - zero_point) * scale


def conv(x, module):
    """A quantized convolution, whose output is not rounded."""
    weight = module.weight().dequantize().double()
    bias = module.bias().double()
    return nn.functional.conv2d(x, weight, bias, module.stride, module.padding, 1, module.groups)


def block_of(x, module):
    """A block that rounds the sum, but not its operands."""
    convs = [module.conv1, module.conv2] + ([module.conv3] if hasattr(module, "conv3") else [])
    total = module.skip_add_relu if hasattr(module, "conv3") else module.add_relu
    shortcut = x
    if module.downsample is not None:
        shortcut = rounded(conv(x, module.downsample[0]), module.downsample[0])
    for each in convs[:-1]:
        x = rounded(torch.relu(conv(x, each)), each)
    return rounded(torch.relu(conv(x, convs[-1]) + shortcut), total), total


def fused(network, image):
    """The logits of a network that rounds where `resnet` does: PyTorch also rounds the
    last convolution of each block and the logits."""
    x = rounded(image.double(), network.quant)
    x = network.maxpool(rounded(torch.relu(conv(x, network.conv1)), network.conv1))
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        for module in layer:
            x, last = block_of(x, module)
    x = rounded(x.mean((2, 3)), last)
    weight = network.fc.weight().dequantize().double()
    return nn.functional.linear(x, weight, network.fc.bias().double())[0]


def main():
    warnings.filterwarnings("ignore")
    expected = {}
    for name, (row, block, layers, arguments) in NETWORKS.items():
        quantized = network(block, layers, arguments)
        # one in the format of torchvision's files, before PyTorch 1.6
        torch.save(quantized.state_dict(), f"{name}.pth", _use_new_zipfile_serialization=name == "basic")
        image = tensor("input", [1, 3, SIDE, SIDE])
        with torch.no_grad():
            logits, in_floats = quantized(image)[0], fused(quantized, image)
        expected[name] = {
            "row": row,
            "groups": arguments.get("groups", 1),
            # of the inner width of a bottleneck, per plane
            "widening": arguments.get("width_per_group", 64) * arguments.get("groups", 1) // 64,
            "layers": layers,
            "planes": PLANES,
            "logits": [round(logit, 6) for logit in logits.tolist()],
            "fused": [round(logit, 6) for logit in in_floats.tolist()],
        }
    lines = [f'"{name}":{json.dumps(value, separators=(",", ":"))}' for name, value in expected.items()]
    Path("expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
