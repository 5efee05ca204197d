"""Writes golden.json: the logits of small networks of timm, for the tests that run
without torch. Run it with an environment of `make parity`:

    python golden.py > golden.json

The weights and the input depend only on names and shapes (weights/src/synthetic.rs).
"""

import json
from functools import partial

import numpy as np
import torch
from timm.layers import BatchNormAct2d, BlurPool2d, GroupNormAct, create_conv2d, get_attn
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.resnetv2 import ResNetV2
from timm.models.senet import SENet, SEResNetBlock, SEResNetBottleneck
from torch import nn

SIDE = 64
CLASSES = 10
LAYERS = (2, 1, 1, 1)
PLANES = (32, 64, 128, 256)
DEEP = {"stem_width": 16, "stem_type": "deep"}
D = {**DEEP, "avg_down": True}
T = {**D, "stem_type": "deep_tiered"}


def resnet(block=Bottleneck, attention=None, **arguments):
    """A ResNet of timm's `resnet.py`."""
    block_args = {"attn_layer": attention} if attention else {}
    return ResNet(block, LAYERS, num_classes=CLASSES, channels=PLANES, block_args=block_args, **arguments)


def resnetv2(stem_planes, **arguments):
    """A ResNet of timm's `resnetv2.py`."""
    channels = [4 * planes for planes in PLANES]
    return ResNetV2(LAYERS, channels, num_classes=CLASSES, stem_chs=stem_planes, conv_layer=create_conv2d, **arguments)


def senet(block):
    """A ResNet of timm's `senet.py`; its widths are fixed."""
    return SENet(block, (1, 1, 1, 1), groups=1, reduction=16, num_classes=CLASSES)


# The row of the table, the channels of the stem, and the network.
NETWORKS = [
    ("resnet50t", 32, resnet(**T)),
    ("resnet50s", 64, resnet(**{**DEEP, "stem_width": 32})),
    ("resnet50_gn", 64, resnet(norm_layer="groupnorm")),
    ("resnetrs50", 32, resnet(**D, replace_stem_pool=True, attention=partial(get_attn("se"), rd_ratio=0.25))),
    ("resnetaa34d", 32, resnet(BasicBlock, aa_layer=nn.AvgPool2d, **D)),
    ("resnetaa50", 64, resnet(aa_layer=nn.AvgPool2d)),
    ("resnetblur18", 64, resnet(BasicBlock, aa_layer=BlurPool2d)),
    ("resnetblur50d", 32, resnet(aa_layer=BlurPool2d, **D)),
    ("seresnet18", 64, resnet(BasicBlock, attention="se")),
    ("ecaresnetlight", 64, resnet(avg_down=True, attention="eca")),
    ("senet154", 32, resnet(
        cardinality=64, base_width=4, **DEEP, down_kernel_size=3, block_reduce_first=2, attention="se")),
    ("legacy_seresnet18", 64, senet(SEResNetBlock)),
    ("legacy_seresnet50", 64, senet(SEResNetBottleneck)),
    ("resnetv2_50t", 32, resnetv2(32, norm_layer=BatchNormAct2d, stem_type="tiered", avg_down=True)),
    ("resnetv2_50d_gn", 64, resnetv2(64, norm_layer=GroupNormAct, stem_type="deep", avg_down=True)),
]


def uniform(name, count):
    """SplitMix64, seeded with the FNV-1a hash of the name: values in [-1, 1)."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**24) * np.float32(2) - np.float32(1)


def tensor(name, shape):
    """The values of a tensor; see weights/src/synthetic.rs."""
    values = uniform(name, int(np.prod(shape)))
    if name == "input":
        pass
    elif name.endswith(("running_mean", "bias")):
        values = np.float32(0.1) * values
    elif name.endswith("running_var"):
        values = np.float32(1) + np.float32(0.5) * np.abs(values)
    elif len(shape) == 1:
        values = np.float32(0.6) + np.float32(0.2) * values
    else:
        values = values * np.float32((6.0 / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy(values.reshape(shape).copy())


def golden(row, stem_planes, network):
    """Names and shapes of the tensors, and the logits."""
    network = network.eval()
    shapes = {
        name: list(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    network.load_state_dict({name: tensor(name, shape) for name, shape in shapes.items()}, strict=False)
    with torch.no_grad():
        logits = network.double()(tensor("input", [1, 3, SIDE, SIDE]).double())[0]
    senet = isinstance(network, SENet)
    return {
        "row": row,
        "stem_planes": stem_planes,
        "layers": [1, 1, 1, 1] if senet else LAYERS,
        "planes": [64, 128, 256, 512] if senet else PLANES,
        "tensors": shapes,
        "logits": [round(logit, 7) for logit in logits.tolist()],
    }


if __name__ == "__main__":
    lines = [json.dumps(golden(*network), separators=(",", ":")) for network in NETWORKS]
    print("[", ",\n".join(lines), "]", sep="\n")
