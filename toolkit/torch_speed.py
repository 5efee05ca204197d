#!/usr/bin/env python3
"""torch_speed.py NETWORK BATCH...: speed of a torchvision network in f16, channels
last, as a CUDA graph, from pixels to logits. Prints a line `BATCH IMAGES_PER_SECOND`
for each batch size. `make gpu` runs it if PyTorch and torchvision are installed."""

import sys
import time

import torch
import torchvision

SECONDS = 2.0


def rate(model, batch):
    """Images per second: pixels in pinned memory, normalized on the GPU."""
    host = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8).pin_memory()
    pixels = torch.empty_like(host, device="cuda")
    mean = torch.tensor([0.485, 0.456, 0.406], device="cuda").view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], device="cuda").view(1, 3, 1, 1)

    def forward():
        planes = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        return model(planes.half().contiguous(memory_format=torch.channels_last))

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(5):
            forward()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = forward()

    passes, start = 0, time.perf_counter()
    while passes < 5 or time.perf_counter() - start < SECONDS:
        pixels.copy_(host, non_blocking=True)
        graph.replay()
        logits.cpu()
        passes += 1
    return passes * batch / (time.perf_counter() - start)


def main():
    torch.backends.cudnn.benchmark = True
    model = getattr(torchvision.models, sys.argv[1])(weights=None)
    model = model.eval().half().to("cuda", memory_format=torch.channels_last)
    with torch.inference_mode():
        for batch in map(int, sys.argv[2:]):
            print(batch, f"{rate(model, batch):.1f}", flush=True)


if __name__ == "__main__":
    main()
