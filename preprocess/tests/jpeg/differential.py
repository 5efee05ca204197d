"""Compares the decoder with Pillow's on random JPEGs, bit for bit: every sampling, coding, scan order, restart interval, quality and size,
and files with a damaged restart marker or without an end marker.

  cargo build --package resnet-preprocess --example whole_image
  python differential.py target/debug/examples/whole_image PHOTO FOLDER SEED COUNT

Prints each difference, then the counts; exit status 1 if any pixel differs. It needs pillow, numpy, and cjpeg of libjpeg-turbo.
A progressive file with a lost marker may differ: its later scans are then decoded with wrong coefficients. So may a file of the lowest quality
with a lost marker: sums overflow in the block where the data ends, and the instruction sets of libjpeg-turbo handle this differently.
"""
import collections, io, os, random, re, subprocess, sys
import numpy as np
from PIL import Image, ImageFile

binary, photo, folder, seed, count = sys.argv[1:6]
photo = Image.open(photo).convert("RGB")
choose = random.Random(int(seed))
os.makedirs(folder, exist_ok=True)
ImageFile.LOAD_TRUNCATED_IMAGES = True

SAMPLINGS = ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3", "3x2", "2x1,1x1,2x1", "2x2,1x2,2x1", "2x2,2x1,1x1", "1x1,2x2,1x1",
             "1x1,2x1,1x2", "1x2,1x1,1x2", "4x1,2x1,1x1", "2x4,1x1,1x1", "3x1,1x1,3x1"]


def scan_script():
    """A random progressive script: each component's AC bands and bits in a random order that is valid."""
    queues = []
    for component in range(3):
        high = choose.randrange(4)
        cut = choose.choice([63, 5, 20])
        scans = [f"{component}: 1-{cut}, 0, {high};"] + ([f"{component}: {cut + 1}-63, 0, {high};"] if cut < 63 else [])
        queues.append(scans + [f"{component}: 1-63, {bit}, {bit - 1};" for bit in range(high, 0, -1)])
    high = choose.randrange(3)
    queues.append([f"0 1 2: 0-0, {bit}, {bit - 1};" for bit in range(high, 0, -1)])
    lines = [f"0 1 2: 0-0, 0, {high};"]
    while queues := [queue for queue in queues if queue]:
        lines.append(choose.choice(queues).pop(0))
    return "\n".join(lines)


def coding():
    kind = choose.randrange(5)
    if kind == 0:
        return []
    if kind == 1:
        return ["-progressive"]
    if kind == 2:
        return ["-optimize"]
    script = scan_script() if kind == 3 else choose.choice(["0; 1; 2;", "1; 2; 0;", "0; 1 2;", "1 2; 0;", "2; 0 1;"])
    with open(f"{folder}/scans.txt", "w") as file:
        file.write(script)
    return ["-scans", f"{folder}/scans.txt"]


def variant():
    size = choose.randrange(1, 140), choose.randrange(1, 100)
    pixels = io.BytesIO()
    photo.resize(size, box=(0, 0, choose.randrange(50, photo.width), choose.randrange(50, photo.height))).save(pixels, "PPM")
    quality = choose.choice([1, 10, 50, 75, 90, 97, 100])
    arguments = ["-quality", str(quality)]
    if choose.random() < 0.1:
        arguments += ["-grayscale"] + choose.choice([[], ["-progressive"]])
    else:
        arguments += ["-sample", choose.choice(SAMPLINGS), *coding()]
    if choose.random() < 0.4:
        arguments += ["-restart", choose.choice(["1", "2", "1B", "3B", "7B"])]
    run = subprocess.run(["cjpeg", *arguments], input=pixels.getvalue(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if run.returncode:
        return variant()  # too many blocks in an MCU
    file = run.stdout
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", file)]
    if markers and quality > 10 and b"\xff\xc2" not in file and choose.random() < 0.4:
        at = choose.choice(markers)
        wrong = bytes([0xff, 0xd0 + choose.randrange(8)])
        file = file[:at] + choose.choice([b"", b"\0\0", wrong, file[at:at + 2] * 2]) + file[at + 2:]
    return choose.choice([file, file, file[:-2], file[:-2] + bytes(100)])


counts, by_size = collections.Counter(), {}
for i in range(int(count)):
    path, file = f"{folder}/{i:05}.jpg", variant()
    with open(path, "wb") as out:
        out.write(file)
    for end in (".ppm", ".error"):
        if os.path.exists(path + end):
            os.remove(path + end)
    image = Image.open(io.BytesIO(file)).convert("RGB")
    by_size.setdefault(image.size, []).append((path, np.asarray(image)))
for (width, height), cases in by_size.items():
    subprocess.run([binary, str(width), str(height), *(path for path, _ in cases)], check=True)
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    for path, expected in cases:
        if os.path.exists(path + ".error"):
            print(path, open(path + ".error").read())
            counts["refused"] += 1
            continue
        pixels = np.asarray(Image.open(path + ".ppm"))[top:top + height, left:left + width]
        same = np.array_equal(pixels, expected)
        counts["same" if same else "different"] += 1
        if not same:
            print(path, "differs in", int((pixels != expected).any(2).sum()), "pixels")
print(dict(counts))
sys.exit(counts["different"] > 0)
