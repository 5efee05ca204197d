"""Writes the images of this folder, small copies of two images in different encodings, and expected.safetensors: the
pixels after preprocessing with Pillow as in torchvision, u8 [S, S, 3] under the keys FILE|FILTER_RESIZE_CROP.

python make.py CAT CUP      (cat 451 x 300, cup 600 x 400; needs pillow 11 or later, numpy, safetensors)
"""
import io, os, sys
import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

T = Image.Transpose
STORED = {1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM,
          5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}
here = os.path.dirname(os.path.abspath(__file__))
cat = Image.open(sys.argv[1]).convert("RGB")
cup = Image.open(sys.argv[2]).convert("RGB")
small = cat.resize((45, 30), Image.BICUBIC)
half = cup.resize((121, 81), Image.BICUBIC)
quarter = cup.resize((225, 150), Image.BICUBIC)
tiny = cup.resize((27, 18), Image.BICUBIC)
files = {}


def put(name, image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    files[name] = buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


# JPEG decoded at full size: samplings, progressive, grey, CMYK, RGB without a colour transform, EXIF orientations.
for name, sampling in {"444": 0, "422": 1, "420": 2}.items():
    put(f"baseline_{name}.jpg", small, format="JPEG", quality=85, subsampling=sampling)
put("progressive.jpg", small, format="JPEG", quality=85, progressive=True)
put("grey.jpg", small.convert("L"), format="JPEG", quality=85)
put("rgb.jpg", small, format="JPEG", quality=85, keep_rgb=True)
put("cmyk.jpg", small.convert("CMYK"), format="JPEG", quality=85)
# The same bytes marked as YCCK, which gives other colours.
at = files["cmyk.jpg"].index(b"Adobe") + 11
files["ycck.jpg"] = files["cmyk.jpg"][:at] + b"\2" + files["cmyk.jpg"][at + 1:]
for o in range(2, 9):
    put(f"exif{o}.jpg", tiny.transpose(STORED[o]), format="JPEG", quality=90, subsampling=0, exif=exif(o))
# JPEG decoded at 1/2, 1/4 and 1/8 of its size; restart markers; trailing bytes.
put("half_420.jpg", half, format="JPEG", quality=60, subsampling=2)
put("half_422.jpg", half, format="JPEG", quality=60, subsampling=1)
put("half_444.jpg", half, format="JPEG", quality=60, subsampling=0)
put("half_grey.jpg", half.convert("L"), format="JPEG", quality=60)
put("quarter_420.jpg", quarter, format="JPEG", quality=50, subsampling=2)
put("quarter_422.jpg", quarter, format="JPEG", quality=40, subsampling=1)
put("quarter_restarts.jpg", quarter, format="JPEG", quality=40, subsampling=2, restart_marker_blocks=7)
put("quarter_exif6.jpg", quarter.transpose(STORED[6]), format="JPEG", quality=40, exif=exif(6))
put("eighth.jpg", cup.resize((451, 301), Image.BICUBIC), format="JPEG", quality=25)
files["eighth.jpg"] += b"trailing bytes of a phone"
# Lossless formats.
put("rgb.png", small, format="PNG")
put("palette.png", small.quantize(24), format="PNG", transparency=3)
put("rgba.png", (lambda i: (i.putalpha(Image.linear_gradient("L").resize(i.size)), i)[1])(small.copy()), format="PNG")
put("grey_alpha.png", small.convert("LA"), format="PNG")
put("one_bit.png", small.convert("1"), format="PNG")
put("grey16.png", Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 257), format="PNG")
put("exif6.png", tiny.transpose(STORED[6]), format="PNG", exif=exif(6))
put("lossless.webp", small, format="WEBP", lossless=True)
put("animated.webp", small, format="WEBP", lossless=True, save_all=True, append_images=[small.rotate(90)])
put("exif8.webp", tiny.transpose(STORED[8]), format="WEBP", lossless=True, exif=exif(8))
put("still.gif", small.quantize(24), format="GIF")
put("animated.gif", small.quantize(24), format="GIF", save_all=True, append_images=[small.rotate(90).quantize(24)])
put("rgb.bmp", tiny, format="BMP")
put("palette.bmp", small.quantize(16), format="BMP")
put("lzw.tiff", small, format="TIFF", compression="tiff_lzw")
put("grey16.tiff", Image.fromarray(np.asarray(tiny.convert("L")).astype(np.uint16) * 257), format="TIFF")
put("cmyk.tiff", tiny.convert("CMYK"), format="TIFF", compression="tiff_lzw")
put("exif3.tiff", tiny.transpose(STORED[3]), format="TIFF", compression="tiff_lzw", tiffinfo={0x0112: 3})
# Lossy WebP.
put("lossy.webp", small, format="WEBP", quality=80)
# JPEG much larger than the crop: odd sizes, restart markers, rare samplings. Pillow cannot write 4:4:0 and 4:1:1, so the
# sampling factors are patched to others with the same number of blocks. This scrambles the image in every decoder.
square = small.resize((64, 64), Image.BICUBIC)
put("odd_420.jpg", small.resize((61, 37), Image.BICUBIC), format="JPEG", quality=85, subsampling=2)
put("odd_422_exif8.jpg", small.resize((61, 37), Image.BICUBIC), format="JPEG", quality=85, subsampling=1, exif=exif(8))
put("restarts_420.jpg", square, format="JPEG", quality=85, subsampling=2, restart_marker_blocks=3)
for name, sampling, factors in ("440", 1, 0x12), ("411", 2, 0x41):
    put(f"patched_{name}.jpg", square, format="JPEG", quality=85, subsampling=sampling)
    raw = bytearray(files[f"patched_{name}.jpg"])
    raw[raw.index(b"\xff\xc0") + 11] = factors
    files[f"patched_{name}.jpg"] = bytes(raw)
# A GIF whose frame is smaller than the canvas and has an offset.
gif = bytearray(files["still.gif"])
at = gif.index(b"\x2c\0\0\0\0")
gif[6:10] = (60).to_bytes(2, "little") + (40).to_bytes(2, "little")
gif[at + 1:at + 5] = (5).to_bytes(2, "little") + (7).to_bytes(2, "little")
files["inset.gif"] = bytes(gif)

FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def prepare(image, filter, resize, crop):
    """torchvision's Resize and CenterCrop on a Pillow image."""
    w, h = image.size
    short, long = min(w, h), max(w, h)
    sides = (resize, int(resize * long / short))
    image = image.resize(sides if w <= h else sides[::-1], FILTERS[filter])
    w, h = image.size
    if w < crop or h < crop:
        left, top = max(crop - w, 0) // 2, max(crop - h, 0) // 2
        whole = Image.new("RGB", (max(w, crop), max(h, crop)))
        whole.paste(image, (left, top))
        image, (w, h) = whole, whole.size
    top, left = int(round((h - crop) / 2.0)), int(round((w - crop) / 2.0))
    return np.asarray(image.crop((left, top, left + crop, top + crop))).copy()


pixels = {}
for name, raw in files.items():
    with open(f"{here}/{name}", "wb") as file:
        file.write(raw)
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    image = image.convert("RGB")
    variants = ["bilinear_18_16"]
    if name in ("rgb.png", "quarter_420.jpg", "exif6.png"):
        variants += ["bicubic_17_14", "lanczos_20_15", "bilinear_12_15"]
    if name in ("rgb.png", "exif6.png"):
        variants += ["nearest_18_16"]
    if name.startswith(("odd", "restarts", "patched")):
        variants = ["bilinear_32_20", "bicubic_30_11", "nearest_32_20"]
    for variant in variants:
        filter, resize, crop = variant.split("_")
        pixels[f"{name}|{variant}"] = prepare(image, filter, int(resize), int(crop))
save_file(pixels, f"{here}/expected.safetensors")
print(len(files), "images", sum(map(len, files.values())), "bytes;", len(pixels), "expected results")
