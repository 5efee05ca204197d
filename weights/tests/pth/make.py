"""Writes the test files in this folder with PyTorch (they are from 1.13): python make.py"""
import argparse
import collections

import torch

state = collections.OrderedDict(
    {
        "conv1.weight": torch.arange(24.0).reshape(2, 3, 2, 2) / 8,
        "bn1.weight": torch.tensor([1.0, 2.0]),
        "bn1.bias": torch.tensor([-1.0, 0.5]),
        "bn1.running_mean": torch.zeros(2),
        "bn1.running_var": torch.ones(2),
        "bn1.num_batches_tracked": torch.tensor(7),
        "fc.weight": torch.arange(6.0).reshape(3, 2),
        "fc.bias": torch.tensor([0.25, 0.5, 0.75]),
    }
)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 2, 2, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(2)
        self.fc = torch.nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(self.bn1(self.conv1(x)).mean((2, 3)))


def cast(dtype):
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


torch.save(state, "plain.pth")
torch.save(state, "protocol4.pth", pickle_protocol=4)
torch.save(cast(torch.float16), "half.pt")
torch.save(cast(torch.bfloat16), "bfloat16.pt")
torch.save(cast(torch.float64), "double.pt")

# The checkpoint of a training script: nested, channels last, with an optimizer.
net = Net().to(memory_format=torch.channels_last)
net.load_state_dict(state)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
net(torch.ones(1, 3, 4, 4)).sum().backward()
net.load_state_dict(state)
training = {
    "epoch": 3,
    "best_acc1": torch.tensor(76.1),
    "args": argparse.Namespace(lr=0.1, milestones=[1, 2, 3]),
    "optimizer": optimizer.state_dict(),
    "state_dict": collections.OrderedDict(("module." + k, v) for k, v in net.state_dict().items()),
}
optimizer.step()
net.load_state_dict(state)
torch.save(training, "training.pth")
torch.save(training, "legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"model": {k: torch.nn.Parameter(v, False) for k, v in state.items()}}, "parameters.bin")

# Two slices of one storage, one of them transposed, and a tensor with an attribute.
flat = torch.arange(20.0)
tagged = torch.tensor([5.0, 6.0])
tagged.origin = "a test"
torch.save({"fc.weight": flat[4:10].reshape(2, 3).t(), "fc.bias": flat[1:4], "bn1.bias": tagged}, "views.pth")

torch.save(net, "module.pth")
torch.jit.save(torch.jit.script(net), "script.pt")
torch.save({"fc.bias": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "quantized.pth")
torch.save({"fc.bias": torch.ones(3).expand(4, 3)}, "expanded.pth")
