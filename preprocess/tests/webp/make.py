"""Makes the lossy WebPs of this folder, and the pixels that Pillow (libwebp) decodes from them: python make.py. It needs pillow, numpy,
safetensors, and cwebp of libwebp."""
import os, subprocess
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
photo = Image.open(os.path.join(here, "../../../photos/cat.jpg")).convert("RGB")
FILES = {
    "small_1x1": (1, 1, ["-q", "80"]),
    "small_2x17": (2, 17, ["-q", "80"]),
    "odd_q0": (45, 35, ["-q", "0", "-f", "100"]),
    "odd_q50": (45, 35, ["-q", "50", "-sharpness", "3"]),
    "even_q75": (48, 32, ["-q", "75", "-segments", "4", "-sns", "100"]),
    "even_q100": (48, 32, ["-q", "100", "-m", "6"]),
    "simple_filter": (50, 34, ["-q", "10", "-f", "80", "-nostrong", "-sharpness", "7"]),
    "no_filter": (33, 49, ["-q", "30", "-f", "0"]),
    "one_segment": (33, 49, ["-q", "20", "-segments", "1", "-m", "0"]),
    "partitions": (40, 70, ["-q", "40", "-partition_limit", "100"]),
    "noise": (34, 34, ["-q", "90"]),
}
expected = {}
for name, (width, height, arguments) in FILES.items():
    picture = photo.resize((width, height))
    if name == "noise":
        picture = Image.fromarray(np.random.RandomState(1).randint(0, 256, (height, width, 3), dtype=np.uint8))
    picture.save("/tmp/picture.png")
    path = os.path.join(here, f"{name}.webp")
    subprocess.run(["cwebp", "-quiet", *arguments, "/tmp/picture.png", "-o", path], check=True)
    expected[name] = np.asarray(Image.open(path).convert("RGB"))
save_file(expected, os.path.join(here, "expected.safetensors"))
