"""Random weights with which a network computes something: activations that neither
vanish nor explode, gates that vary, and norms that are not the identity."""

import torch
from torch import nn
from torch.ao import quantization

# What the last norm of a block, or without one its last convolution, scales the output
# by. With larger residuals, a network of 200 layers amplifies rounding errors.
LAST = 0.2


def set_weights(network, generator):
    """Random parameters of the norms, the attention and the classifier."""
    def uniform(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)) and module.weight is not None:
                uniform(module.weight, 0.6, 1.4)
                uniform(module.bias, -0.3, 0.3)
            elif isinstance(module, (nn.Conv1d, nn.Conv2d)) and (".se." in name or ".se_module." in name):
                # gates between a quarter and three quarters
                uniform(module.weight, -2 / module.weight[0].numel() ** 0.5, 2 / module.weight[0].numel() ** 0.5)
            elif isinstance(module, nn.Conv2d):
                scale = (3 / module.weight[0].numel()) ** 0.5
                uniform(module.weight, -scale, scale)
            elif isinstance(module, nn.Linear):
                uniform(module.weight, -0.1, 0.1)
                uniform(module.bias, -0.1, 0.1)
        for module in network.modules():
            last = [getattr(module, norm, None) for norm in ("bn3", "bn2")]
            last = next((norm for norm in last if norm is not None), None)
            if hasattr(module, "conv2") and isinstance(last, (nn.BatchNorm2d, nn.GroupNorm)):
                last.weight.mul_(LAST)
            elif hasattr(module, "shortcut") and hasattr(module, "layer"):
                # transformers
                module.layer[-1].normalization.weight.mul_(LAST)
            elif hasattr(module, "norm1") and hasattr(module, "conv1"):
                # pre-activation
                getattr(module, "conv3", module.conv2).weight.mul_(LAST)


def calibrate(network, size, generator):
    """Random weights, and the statistics of the batch norms on a random batch."""
    set_weights(network, generator)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    # dropout and stochastic depth would hide blocks from the statistics
    for module in network.modules():
        if "Drop" in type(module).__name__:
            module.eval()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size, generator=generator))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return network.eval()


def quantize(network, images):
    """A calibrated ResNet of torchvision.models.quantization, fused and converted to
    8 bits, with the ranges of its activations on these images."""
    network.eval().fuse_model(is_qat=False)
    torch.backends.quantized.engine = "fbgemm"
    network.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(network)
    with torch.no_grad():
        prepared(images)
    return quantization.convert(prepared).eval()
