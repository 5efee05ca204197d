"""The networks of `make parity`: every ResNet-like name of timm, the ResNets of
torchvision, also in 8 bits, and those of transformers. Each is a function that builds
it."""

import timm
import torchvision
from transformers import ResNetConfig, ResNetForImageClassification

# Families whose names contain neither `resnet` nor `resnext`, or that are no ResNets.
TIMM_PATTERNS = ["*resnet*", "*resnext*", "*senet*", "resnest*", "res2net*", "res2next*", "tresnet*"]
NOT_RESNETS = ["vit_*"]

# depths and block of the repositories microsoft/resnet-*
TRANSFORMERS = {
    "resnet-18": ([2, 2, 2, 2], "basic", {}),
    "resnet-26": ([2, 2, 2, 2], "bottleneck", {}),
    "resnet-34": ([3, 4, 6, 3], "basic", {}),
    "resnet-50": ([3, 4, 6, 3], "bottleneck", {}),
    "resnet-50-v1": ([3, 4, 6, 3], "bottleneck", {"downsample_in_bottleneck": True}),
    "resnet-101": ([3, 4, 23, 3], "bottleneck", {}),
    "resnet-152": ([3, 8, 36, 3], "bottleneck", {}),
}


# The networks of torchvision.models.quantization whose parts are those of ResNets.
QUANTIZED = ["resnet18", "resnet50", "resnext101_32x8d", "resnext101_64x4d"]


def transformers_network(depths, block, arguments):
    """A ResNet of transformers."""
    widths = [64, 128, 256, 512] if block == "basic" else [256, 512, 1024, 2048]
    config = ResNetConfig(depths=depths, hidden_sizes=widths, layer_type=block, **arguments)
    config.num_labels = 10
    return ResNetForImageClassification(config)


def all_networks():
    """Library, name and builder of every network."""
    names = {name for pattern in TIMM_PATTERNS for name in timm.list_models(pattern)}
    names -= {name for pattern in NOT_RESNETS for name in timm.list_models(pattern)}
    for name in sorted(names):
        yield "timm", name, lambda name=name: timm.create_model(name, num_classes=10)
    for name in torchvision.models.list_models(torchvision.models):
        if name.startswith(("resnet", "resnext", "wide_resnet")):
            yield "torchvision", name, lambda name=name: torchvision.models.get_model(name, num_classes=10)
    for name in QUANTIZED:
        build = getattr(torchvision.models.quantization, name)
        yield "quantized", name, lambda build=build: build(num_classes=10)
    for name, arguments in TRANSFORMERS.items():
        yield "transformers", name, lambda arguments=arguments: transformers_network(*arguments)
