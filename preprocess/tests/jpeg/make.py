"""Writes the JPEG files of this folder and expected.txt: FILE WIDTH HEIGHT CRC, the CRC-32 of Pillow's RGB pixels.

python make.py CAT      (cat 451 x 300; needs pillow 12 or later and cjpeg of libjpeg-turbo)
"""
import io, os, re, subprocess, sys, zlib
from PIL import Image, ImageFile

here = os.path.dirname(os.path.abspath(__file__))
cat = Image.open(sys.argv[1]).convert("RGB")
odd = cat.resize((45, 37), Image.BICUBIC)
even = cat.resize((48, 32), Image.BICUBIC)
narrow = cat.resize((3, 29), Image.BICUBIC)
files = {}

DEEP = """0 1 2: 0-0, 0, 2; 0: 1-9, 0, 3; 0: 10-63, 0, 3; 2: 1-63, 0, 2; 1: 1-63, 0, 2; 0: 1-63, 3, 2; 0 1 2: 0-0, 2, 1;
0: 1-20, 2, 1; 0: 21-63, 2, 1; 0 1 2: 0-0, 1, 0; 2: 1-63, 2, 1; 1: 1-63, 2, 1; 0: 1-63, 1, 0; 1: 1-63, 1, 0; 2: 1-63, 1, 0;"""
SCANS = {"y_cb_cr": "0; 1; 2;", "cb_cr_y": "1; 2; 0;", "y_cbcr": "0; 1 2;", "cbcr_y": "1 2; 0;", "deep": DEEP,
         "dc_apart": "1: 0-0, 0, 1; 0: 0-0, 0, 0; 2: 0-0, 0, 1; 2: 1-63, 0, 0; 0: 1-63, 0, 0; 1: 1-5, 0, 0; 1: 6-63, 0, 0; 1: 0-0, 1, 0; 2: 0-0, 1, 0;"}


def cjpeg(image, *arguments, scans=None):
    if scans:
        with open("/tmp/scans.txt", "w") as file:
            file.write(SCANS[scans])
        arguments += ("-scans", "/tmp/scans.txt")
    pixels = io.BytesIO()
    image.save(pixels, "PPM")
    return subprocess.run(["cjpeg", "-quality", "80", *arguments], input=pixels.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def pillow(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def without(file, marker):
    """The file without the segments of a marker."""
    while (at := file.find(bytes([0xff, marker]))) >= 0:
        file = file[:at] + file[at + 2 + int.from_bytes(file[at + 2:at + 4], "big"):]
    return file


# Sampling factors, sequential and progressive.
for factors in ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3", "3x2", "2x2,1x2,2x1", "1x1,2x2,1x1", "1x1,2x1,1x2", "4x1,2x1,1x1"]:
    name = factors.replace(",", "_")
    files[f"sampling_{name}.jpg"] = cjpeg(odd, "-sample", factors)
    files[f"sampling_{name}_progressive.jpg"] = cjpeg(odd, "-sample", factors, "-progressive")
for factors in ("2x1", "2x2"):
    files[f"narrow_{factors}.jpg"] = cjpeg(narrow, "-sample", factors)
# Scans in any grouping and order, with restart intervals.
for scans in SCANS:
    files[f"scans_{scans}.jpg"] = cjpeg(odd, "-sample", "2x2", scans=scans)
    files[f"scans_{scans}_restarts.jpg"] = cjpeg(odd, "-sample", "1x2", "-restart", "3B", scans=scans)
files["restarts_progressive.jpg"] = cjpeg(odd, "-restart", "1", "-progressive")
# Extreme quality, grey, CMYK and YCCK.
for quality in ("1", "100"):
    files[f"quality_{quality}.jpg"] = cjpeg(odd, "-quality", quality)
    files[f"quality_{quality}_progressive.jpg"] = cjpeg(odd, "-quality", quality, "-progressive")
files["grey.jpg"] = cjpeg(odd, "-grayscale", "-sample", "2x2")
files["grey_progressive.jpg"] = cjpeg(odd, "-grayscale", "-progressive")
for name, options in {"": {}, "_progressive": {"progressive": True}}.items():
    cmyk = pillow(odd.convert("CMYK"), quality=80, **options)
    at = cmyk.index(b"Adobe") + 11
    files[f"cmyk{name}.jpg"] = cmyk
    files[f"ycck{name}.jpg"] = cmyk[:at] + b"\2" + cmyk[at + 1:]
    files[f"cmyk_unmarked{name}.jpg"] = without(cmyk, 0xee)
# Colours: JFIF, then Adobe, then the identifiers of the components.
plain = pillow(cat.resize((24, 16)), quality=70)


def marked(jfif, adobe, ids):
    file = plain if jfif else without(plain, 0xe0)
    if adobe is not None:
        file = file[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe]) + file[2:]
    file = bytearray(file)
    frame, scan = file.index(b"\xff\xc0") + 10, file.index(b"\xff\xda") + 5
    for i in range(3):
        file[frame + 3 * i] = file[scan + 2 * i] = ids[i]
    return bytes(file)


for jfif, adobe, ids in [(1, 0, b"\1\2\3"), (1, None, b"RGB"), (0, 0, b"\1\2\3"), (0, 1, b"RGB"), (0, 2, b"RGB"), (0, None, b"RGB"), (0, None, b"\0\1\2"),
                         (0, None, b"\7\7\7")]:
    files[f"color_{'jfif' if jfif else 'no_jfif'}_adobe_{adobe}_ids_{ids.hex()}.jpg".lower()] = marked(jfif, adobe, ids)
# Frames of Motion JPEG have no Huffman tables.
for name, sampling in {"444": 0, "420": 2}.items():
    files[f"no_tables_{name}.jpg"] = without(pillow(odd, quality=75, subsampling=sampling), 0xc4)
# Restart markers that are lost, overwritten, wrong or doubled.
for name, arguments in {"baseline": ["-restart", "2B"], "rows": ["-restart", "1", "-sample", "1x1"], "progressive": ["-restart", "1", "-progressive"]}.items():
    file = cjpeg(even, *arguments)
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", file)]
    for at in {markers[1], markers[-1]}:
        which = "second" if at == markers[1] else "last"
        files[f"marker_{name}_{which}_lost.jpg"] = file[:at] + file[at + 2:]
        files[f"marker_{name}_{which}_zeros.jpg"] = file[:at] + b"\0\0" + file[at + 2:]
        files[f"marker_{name}_{which}_doubled.jpg"] = file[:at] + file[at:at + 2] + file[at:]
    at = markers[1]
    for step in range(1, 8) if name == "baseline" else (2, 4):
        files[f"marker_{name}_wrong_{step}.jpg"] = file[:at + 1] + bytes([0xd0 + (file[at + 1] - 0xd0 + step) % 8]) + file[at + 2:]

ImageFile.LOAD_TRUNCATED_IMAGES = True
with open(f"{here}/expected.txt", "w") as expected:
    for name, file in sorted(files.items()):
        with open(f"{here}/{name}", "wb") as out:
            out.write(file)
        image = Image.open(io.BytesIO(file)).convert("RGB")
        expected.write(f"{name} {image.width} {image.height} {zlib.crc32(image.tobytes())}\n")
print(len(files), "files,", sum(map(len, files.values())), "bytes")
