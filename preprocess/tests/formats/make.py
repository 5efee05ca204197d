"""Writes the images of this folder: one small picture in many encodings, and expected.safetensors with the pixels
that each must give, u8 [25, 25, 3]. The name of a file starts with the key of its pixels, before two underscores.

python make.py      (needs pillow 12, numpy, tifffile, imagecodecs, safetensors; the tools of libtiff, libjxl,
openjpeg and libheif)
"""
import glob, io, os, struct, subprocess, zlib
import numpy as np
import tifffile
from PIL import Image, ImageCms
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
for old in glob.glob(f"{here}/*__*"):
    os.remove(old)
rgb_image = Image.open(f"{here}/../images/rgb.png").convert("RGB").resize((25, 25), Image.BICUBIC)
rgb_image.info.clear()
rgb = np.asarray(rgb_image)
grey = np.asarray(rgb_image.convert("L"))
bilevel = np.asarray(rgb_image.convert("1"))
sixteen = rgb_image.quantize(16)
many = rgb_image.quantize(200)
alpha = np.asarray(Image.linear_gradient("L").resize((25, 25)))
cmyk = np.asarray(rgb_image.convert("CMYK")).copy()
cmyk[..., 3] = grey // 3
grey3 = lambda a: np.repeat(np.asarray(a)[..., None], 3, 2)
expected = {
    "rgb": rgb,
    "grey": grey3(grey),
    "bilevel": grey3(bilevel * np.uint8(255)),
    "four": grey3(grey // 16 * 17),
    "two": grey3(grey // 64 * 85),
    "palette16": np.asarray(sixteen.convert("RGB")),
    "palette200": np.asarray(many.convert("RGB")),
    "cmyk": np.asarray(Image.fromarray(cmyk, "CMYK").convert("RGB")),
    "black": np.zeros((25, 25, 3), np.uint8),
}


def path(name):
    return f"{here}/{name}"


def write(name, raw):
    with open(path(name), "wb") as file:
        file.write(raw)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def tiff(name, data, **options):
    tifffile.imwrite(path(name), data, metadata=None, **options)


def tiffcp(source, name, *flags):
    subprocess.run(["tiffcp", *flags, path(source), path(name)], check=True)


def save(name, image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    write(name, buffer.getvalue())


# TIFF: byte orders, BigTIFF, tiles, planes, compressions, predictors.
for order, letter in ("<", "le"), (">", "be"):
    tiff(f"rgb__tiff_{letter}.tif", rgb, byteorder=order, photometric="rgb")
    tiff(f"rgb__tiff_16_{letter}.tif", rgb.astype(np.uint16) * 256 + 77, byteorder=order, photometric="rgb",
         compression="lzw", predictor=2)
    tiff(f"grey__tiff_u32_{letter}.tif", grey.astype(np.uint32) * 16843009, byteorder=order, compression="zlib", predictor=2)
    tiff(f"grey__tiff_i16_{letter}.tif", grey.astype(np.int16), byteorder=order)
    for bits, kind in (16, np.float16), (32, np.float32), (64, np.float64):
        tiff(f"grey__tiff_f{bits}_{letter}.tif", (grey / 255).astype(kind), byteorder=order, compression="zlib", predictor=3)
tiff("rgb__tiff_f32_planes.tif", np.moveaxis(rgb, 2, 0).astype(np.float32), photometric="rgb", planarconfig="separate")
tiff("rgb__tiff_i32.tif", rgb.astype(np.int32) - 0, photometric="rgb")
tiff("rgb__tiff_big.tif", rgb, bigtiff=True, photometric="rgb", compression="zlib")
tiff("rgb__tiff_big_be.tif", rgb, bigtiff=True, byteorder=">", photometric="rgb", tile=(16, 16))
tiff("rgb__tiff_tiles_planes.tif", np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate", tile=(16, 16))
tiff("rgb__tiff_planes_lzw.tif", np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate", compression="lzw",
     predictor=2, rowsperstrip=5)
tiff("rgb__tiff_alpha.tif", np.dstack([rgb, alpha]), photometric="rgb", extrasamples=["unassalpha"], compression="packbits")
tiff("rgb__tiff_extra.tif", np.dstack([rgb, alpha, grey]), photometric="rgb", extrasamples=["unspecified"] * 2)
tiff("grey__tiff_alpha.tif", np.dstack([grey, alpha]), photometric="minisblack", extrasamples=["unassalpha"])
tiff("grey__tiff_alpha_planes.tif", np.stack([grey, alpha]), photometric="minisblack", planarconfig="separate",
     extrasamples=["unassalpha"])
tiff("grey__tiff_white.tif", 255 - grey, photometric="miniswhite", compression="lzw")
tiff("cmyk__tiff.tif", cmyk, photometric="separated", compression="lzw", predictor=2)
tiff("cmyk__tiff_planes.tif", np.moveaxis(cmyk, 2, 0), photometric="separated", planarconfig="separate")
tiff("cmyk__tiff_16.tif", cmyk.astype(np.uint16) * 257, photometric="separated")
premultiplied = np.dstack([np.full((25, 25, 3), 100, np.uint8), np.full((25, 25), 200, np.uint8)])
expected["premultiplied"] = np.full((25, 25, 3), 127, np.uint8)
tiff("premultiplied__tiff.tif", premultiplied, photometric="rgb", extrasamples=["assocalpha"])
for name, image in ("palette16", sixteen), ("palette200", many):
    save(f"{name}__tiff.tif", image, format="TIFF", compression="tiff_lzw")
    save(f"{name}__png.png", image, format="PNG")
    save(f"{name}__gif.gif", image, format="GIF")
    save(f"{name}__bmp.bmp", image, format="BMP")
save("bilevel__tiff_plain.tif", Image.fromarray(bilevel), format="TIFF")
for name, flags in {
    "lzw_tiles": ["-c", "lzw", "-t", "-w", "16", "-l", "16"], "lzw_predictor_tiles": ["-c", "lzw:2", "-t", "-w", "32", "-l", "16"],
    "zip_strips": ["-c", "zip:2", "-r", "7"], "packbits": ["-c", "packbits", "-r", "3"], "big_lzw": ["-8", "-c", "lzw", "-r", "4"],
    "planes_tiles_zip": ["-p", "separate", "-t", "-w", "16", "-l", "16", "-c", "zip:2"], "fill_2": ["-f", "lsb2msb", "-c", "none"],
}.items():
    tiffcp("rgb__tiff_le.tif", f"rgb__tiffcp_{name}.tif", *flags)
for name, flags in {
    "g3": ["-c", "g3"], "g3_1d_fill": ["-c", "g3:1d:fill"], "g3_2d": ["-c", "g3:2d"], "g3_2d_fill": ["-c", "g3:2d:fill"],
    "g4": ["-c", "g4", "-r", "8"], "g4_fill_2": ["-c", "g4", "-f", "lsb2msb"], "g4_tiles": ["-c", "g4", "-t", "-w", "16", "-l", "16"],
    "packbits": ["-c", "packbits"], "lzw_fill_2": ["-c", "lzw", "-f", "lsb2msb"],
}.items():
    tiffcp("bilevel__tiff_plain.tif", f"bilevel__tiffcp_{name}.tif", *flags)
for bits, key in (1, "bilevel"), (2, "two"), (4, "four"):
    packed = grey >> (8 - bits) if bits > 1 else bilevel.astype(np.uint8)
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits:].reshape(-1)) for row in packed]
    body = np.concatenate(rows).tobytes()
    tags = [(256, 3, 25), (257, 3, 25), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1), (278, 3, 25)]
    # Without StripByteCounts, as scanners of Epson write it.
    head = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", t, k, 1, head if t == 273 else v) for t, k, v in tags)
    write(f"{key}__tiff_no_counts.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + body)
# YCbCr without compression: units of 2 x 2 luma samples of one colour.
ycbcr = np.asarray(rgb_image.convert("YCbCr"))
padded = np.pad(ycbcr, ((0, 1), (0, 1), (0, 0)), mode="edge")
units = b"".join(padded[y:y + 2, x:x + 2, 0].tobytes() + padded[y, x, 1:].tobytes() for y in range(0, 26, 2) for x in range(0, 26, 2))
tags = [(256, 3, 25), (257, 3, 25), (258, 3, 8), (259, 3, 1), (262, 3, 6), (273, 4, 122), (277, 3, 3), (278, 3, 25), (279, 4, len(units))]
entries = b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags)
write("subsampled__tiff.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + units)
nearest = padded.repeat(1, 0).copy()
nearest[1::2] = nearest[::2]
nearest[:, 1::2] = nearest[:, ::2]
nearest[..., 0] = padded[..., 0]
expected["subsampled"] = np.asarray(Image.fromarray(nearest[:25, :25].copy(), "YCbCr").convert("RGB"))

# JPEG in TIFF: with the tables apart, in YCbCr and in RGB, and the obsolete form. The pixels are Pillow's of the JPEG itself.
whole = io.BytesIO()
rgb_image.save(whole, format="JPEG", quality=90, subsampling=2)
whole = whole.getvalue()
expected["jpeg"] = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
head = 8 + 2 + 12 * 8 + 4
tags = [(256, 3, 25), (257, 3, 25), (258, 3, 8), (259, 3, 6), (262, 3, 6), (277, 3, 3), (513, 4, head), (514, 4, len(whole))]
entries = b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags)
write("jpeg__tiff_old.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + whole)
for name, flags in {"ycc": ["-c", "jpeg:90"], "rgb": ["-c", "jpeg:r:95"], "tiles": ["-c", "jpeg:85", "-t", "-w", "16", "-l", "16"],
                    "strips": ["-c", "jpeg:85", "-r", "16"]}.items():
    name = f"jpeg_{name}__tiffcp.tif"
    tiffcp("rgb__tiff_le.tif", name, *flags)
    expected[name.split("__")[0]] = np.asarray(Image.open(path(name)).convert("RGB"))
tiffcp("grey__tiff_white.tif", "jpeg_grey__tiffcp.tif", "-c", "jpeg:90")
expected["jpeg_grey"] = np.asarray(Image.open(path("jpeg_grey__tiffcp.tif")).convert("RGB"))

# PNG: what is around the pixels.
plain = io.BytesIO()
rgb_image.save(plain, format="PNG")
plain = plain.getvalue()
chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
end = chunk(b"IEND", b"")
assert plain.endswith(end)
write("rgb__png_no_end.png", plain[:-12])
write("rgb__png_bad_chunks.png", plain[:33] + chunk(b"gAMA", b"") + chunk(b"tRNS", b"12345") + chunk(b"iCCP", b"x") + plain[33:-12]
      + b"\xff\xff\xff\xfftEXt")

write("rgb__png_palette.png", plain[:33] + chunk(b"PLTE", b"12") + plain[33:])

def png(width, height, depth, kind, interlaced, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    return plain[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r.tobytes() for r in rows), 9)) + end


deep = (rgb.astype(np.uint16) * 256 + 200).astype(">u2")
passes = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]
adam7 = lambda a: [row for x, dx, y, dy in passes for row in a[y::dy, x::dx] if row.size]
write("rgb__png_16.png", png(25, 25, 16, 2, 0, deep))
write("rgb__png_interlaced.png", png(25, 25, 8, 2, 1, adam7(rgb)))
write("rgb__png_16_interlaced_alpha.png", png(25, 25, 16, 6, 1, adam7(np.dstack([deep, deep[..., 0]]).astype(">u2"))))
write("grey__png_interlaced.png", png(25, 25, 8, 0, 1, adam7(grey)))
write("rgb__png_alpha.png", png(25, 25, 8, 6, 0, np.dstack([rgb, alpha])))

# The orientation: the stored picture is turned, and everything below must turn it back.
turned = Image.fromarray(rgb).transpose(Image.Transpose.ROTATE_90)


def exif(kind=3, values=(6,), order=">"):
    fields = {3: "H2x", 4: "I", 1: "B3x", 9: "i"}[kind]
    entries = b"".join(struct.pack(f"{order}HHI{fields}", 0x112, kind, 1, v) for v in values)
    return (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(values)) + entries + b"\0\0\0\0"


stored = io.BytesIO()
turned.save(stored, format="PNG")
stored = stored.getvalue()
first = b"Exif\0\0" + exif()
hexadecimal = b"\nexif\n%8d\n" % len(first) + "\n".join([first.hex()[i:i + 72] for i in range(0, len(first) * 2, 72)]).encode() + b"\n"
xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
for name, before, after in [
    ("prefix", chunk(b"eXIf", first), b""), ("long", chunk(b"eXIf", exif(4, order="<")), b""),
    ("after", b"", chunk(b"eXIf", exif())), ("second", chunk(b"eXIf", exif(values=(0, 6))), b""),
    ("text", chunk(b"tEXt", b"Raw profile type exif\0" + hexadecimal), b""),
    ("compressed", chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexadecimal)), b""),
    ("xmp", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp), b""),
]:
    write(f"rgb__png_exif_{name}.png", stored[:33] + before + stored[33:-12] + after + end)
for name, options in {"prefix": {"exif": first}, "xmp": {"xmp": xmp}}.items():
    save(f"rgb__webp_{name}.webp", turned, format="WEBP", lossless=True, **options)
tiff("rgb__tiff_turned.tif", np.asarray(turned), photometric="rgb", extratags=[(274, 4, 1, 6, True)])

# WebP: flags without chunks, other chunks in odd places.
save("rgb__webp.webp", rgb_image, format="WEBP", lossless=True)
vp8l = read("rgb__webp.webp")[12:]
riff = lambda body: b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
sides = struct.pack("<I", 24)[:3] * 2
write("rgb__webp_flags.webp", riff(b"VP8X\x0a\0\0\0\x2c\0\0\0" + sides + vp8l))
write("rgb__webp_unknown.webp", riff(b"VP8X\x0a\0\0\0\0\0\0\0" + sides + b"WHAT\x03\0\0\0abc\0" + b"EXIF\x02\0\0\0II" + vp8l))
frame = vp8l + (b"\0" if len(vp8l) % 2 else b"")
alph = b"ALPH\x01\0\0\0\0\0"
write("rgb__webp_animated.webp", riff(
    b"VP8X\x0a\0\0\0\x02\0\0\0" + sides + b"ANIM\x06\0\0\0\0\0\0\0\0\0" + b"ANMF" + struct.pack("<I", 16 + len(alph) + len(frame))
    + b"\0" * 6 + sides + b"\x10\0\0\0" + alph + frame))

# GIF: unknown extensions, no palette.
gif = read("palette200__gif.gif")
at = gif.index(b"\x2c\0\0\0\0")
write("palette200__gif_extension.gif", gif[:at] + b"\x21\x42\x03abc\0" + gif[at:])

# BMP: sizes of pixels and headers, run lengths.
save("rgb__bmp.bmp", rgb_image, format="BMP")
bmp = read("rgb__bmp.bmp")
down = bytearray(bmp)
down[22:26] = struct.pack("<i", -25)
row = 25 * 3 + 1
down[54:] = b"".join(bmp[54 + row * y:54 + row * (y + 1)] for y in reversed(range(25)))
write("rgb__bmp_top_down.bmp", bytes(down))
write("rgb__bmp_core.bmp", b"BM" + struct.pack("<IHHI", 26 + row * 25, 0, 0, 26) + struct.pack("<IHHHH", 12, 25, 25, 1, 24) + bmp[54:])
write("rgb__bmp_no_padding_at_end.bmp", bmp[:-1])
for name, masks, words in [
    ("565", (0xf800, 0x7e0, 0x1f), lambda p: (p[..., 0] >> 3) << 11 | (p[..., 1] >> 2) << 5 | p[..., 2] >> 3),
    ("555", (0x7c00, 0x3e0, 0x1f), lambda p: (p[..., 0] >> 3) << 10 | (p[..., 1] >> 3) << 5 | p[..., 2] >> 3),
]:
    pixels = np.pad(words(rgb.astype(np.uint16))[::-1], ((0, 0), (0, 1))).astype("<u2").tobytes()
    raw = b"BM" + struct.pack("<IHHI", 66 + len(pixels), 0, 0, 66)
    raw += struct.pack("<IiiHHIIiiII", 40, 25, 25, 1, 16, 3, len(pixels), 0, 0, 0, 0) + struct.pack("<III", *masks) + pixels
    write(f"{name}__bmp.bmp", raw)
    if name == "565":
        # BI_ALPHABITFIELDS of Windows CE.
        raw = b"BM" + struct.pack("<IHHI", 70 + len(pixels), 0, 0, 70) + struct.pack(
            "<IiiHHIIiiII", 40, 25, 25, 1, 16, 6, len(pixels), 0, 0, 0, 0) + struct.pack("<IIII", *masks, 0) + pixels
        write("565__bmp_alpha_masks.bmp", raw)
    expected[name] = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))
indices = np.asarray(many)[::-1]
colors = bytes(many.getpalette()[:600])
colors = b"".join(colors[i + 2:i - 1 if i else None:-1] + b"\0" for i in range(0, 600, 3))
runs = b"".join(b"".join(bytes([1, v]) for v in row) + b"\0\0" for row in indices)
head = lambda used, size: b"BM" + struct.pack("<IHHI", 54 + len(colors) + size, 0, 0, 54 + len(colors)) + struct.pack(
    "<IiiHHIIiiII", 40, 25, 25, 1, 8, 1, size, 0, 0, used, 0)
write("palette200__bmp_rle.bmp", head(200, len(runs) + 2) + colors + runs + b"\0\1")
write("palette200__bmp_rle_no_end.bmp", head(200, len(runs)) + colors + runs[:-2])
upright = b"".join(b"".join(bytes([1, v]) for v in row) + b"\0\0" for row in indices[::-1])
turned = bytearray(head(200, len(upright)) + colors + upright)
turned[22:26] = struct.pack("<i", -25)
write("palette200__bmp_rle_top_down.bmp", bytes(turned))
flat = b"".join(row.tobytes() + b"\0" * 3 for row in indices)
many_colors = colors + b"\0" * (4 * 100)
write("palette200__bmp_300_colors.bmp", b"BM" + struct.pack("<IHHI", 54 + 1200 + len(flat), 0, 0, 54 + 1200)
      + struct.pack("<IiiHHIIiiII", 40, 25, 25, 1, 8, 0, len(flat), 0, 0, 300, 0) + many_colors + flat)

# ICO and CUR, PNM, QOI.
save("rgb__ico_png.ico", rgb_image, format="ICO", sizes=[(25, 25), (16, 16)])
save("rgb__ico_bmp.ico", rgb_image, format="ICO", sizes=[(25, 25)], bitmap_format="bmp")
icon = bytearray(read("rgb__ico_bmp.ico"))
icon[9] = 5
write("rgb__ico_reserved.ico", bytes(icon))
icon[2], icon[9] = 2, 0
write("rgb__cur.cur", bytes(icon))
save("rgb__ppm.ppm", rgb_image, format="PPM")
save("grey__pgm.pgm", Image.fromarray(grey), format="PPM")
save("bilevel__pbm.pbm", Image.fromarray(bilevel), format="PPM")
write("grey__pgm_16.pgm", b"P5 25 25 65535\n" + (grey.astype(">u2") * 257).tobytes())
write("grey__pgm_text.pgm", b"P2 # text\n25 25\n255\n" + " ".join(map(str, grey.reshape(-1))).encode() + b"\n")
save("rgb__qoi.qoi", rgb_image, format="QOI")
write("rgb__qoi_no_end.qoi", read("rgb__qoi.qoi")[:-8])

# Formats that other tools write and decode: JPEG XL, JPEG 2000, HEIC.
def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


rgb_image.save("/tmp/rgb.png")
rgb_image.convert("L").save("/tmp/grey.png")
large = rgb_image.resize((64, 64), Image.BICUBIC)
exif_block = Image.Exif()
exif_block[274] = 6
large.transpose(Image.Transpose.ROTATE_90).save("/tmp/turned.jpg", quality=95, exif=exif_block)
large.save("/tmp/large.png")
for name, source, options in [("rgb__jxl", "rgb", ["-d", "0"]), ("grey__jxl", "grey", ["-d", "0"]),
                              ("rgb__jxl_container", "rgb", ["-d", "0", "--container=1"]),
                              ("lossy_jxl__jxl", "rgb", ["-d", "1"]), ("lossy_jxl_progressive__jxl", "rgb", ["-d", "1", "-p"])]:
    run("cjxl", f"/tmp/{source}.png", path(f"{name}.jxl"), *options)
# JPEG XL in other colour spaces. Lossy images are stored in XYB, lossless images as they are.
rgb_image.save("/tmp/rgb.ppm")
rgb_image.convert("L").save("/tmp/grey.pgm")
for name, source, options in [("lossy_jxl_p3__jxl", "rgb.ppm", ["-d", "1", "-x", "color_space=RGB_D65_DCI_Rel_SRG"]),
                              ("lossy_jxl_p3_stored__jxl", "rgb.ppm", ["-d", "0", "-x", "color_space=RGB_D65_DCI_Rel_SRG"]),
                              ("lossy_jxl_2020__jxl", "rgb.ppm", ["-d", "1", "-x", "color_space=RGB_D65_202_Rel_709"]),
                              ("lossy_jxl_linear__jxl", "rgb.ppm", ["-d", "1", "-x", "color_space=RGB_D65_SRG_Rel_Lin"]),
                              ("lossy_jxl_grey_linear__jxl", "grey.pgm", ["-d", "1", "-x", "color_space=Gra_D65_Rel_Lin"]),
                              ("lossy_jxl_bright__jxl", "rgb.png", ["-d", "1", "--intensity_target=1000"]),
                              ("lossy_jxl_bright_p3__jxl", "rgb.ppm", ["-d", "1", "--intensity_target=400", "-x", "color_space=RGB_D65_DCI_Rel_SRG"]),
                              ("lossy_jxl_bright_grey__jxl", "grey.png", ["-d", "1", "--intensity_target=10000"]),
                              ("rgb__jxl_bright", "rgb.png", ["-d", "0", "--intensity_target=1000"])]:
    run("cjxl", f"/tmp/{source}", path(f"{name}.jxl"), *options)
# The profile of sRGB with the primaries of Adobe RGB and a curve that no standard has.
profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # its date
for tag, xyz in [(b"rXYZ", (0.60974, 0.31111, 0.01947)), (b"gXYZ", (0.20528, 0.62567, 0.06087)), (b"bXYZ", (0.14919, 0.06322, 0.74457))]:
    at = struct.unpack_from(">I", profile, profile.index(tag) + 4)[0]
    struct.pack_into(">3i", profile, at + 8, *(round(value * 65536) for value in xyz))
at = struct.unpack_from(">I", profile, profile.index(b"rTRC") + 4)[0]
struct.pack_into(">i", profile, at + 12, 2 << 16)
rgb_image.save("/tmp/profile.png", icc_profile=bytes(profile))
run("cjxl", "/tmp/profile.png", path("lossy_jxl_profile__jxl.jxl"), "-d", "1")
run("cjxl", "/tmp/profile.png", path("rgb__jxl_profile.jxl"), "-d", "0")
# HDR with the white of the picture at 203 cd/m2 (ITU-R BT.2408).
linear = np.where(rgb <= 10, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
wide = linear @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T
root = (wide * 203 / 10000) ** (1305 / 8192)
pq = ((107 / 128 + 2413 / 128 * root) / (1 + 2392 / 128 * root)) ** (2523 / 32)
scene = wide * 0.203 * np.maximum(wide @ [0.2627, 0.6780, 0.0593] * 0.203, 1e-6)[..., None] ** (-0.2 / 1.2)
hlg = np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)
for name, samples, white in [("PeQ", pq, 10000), ("PeQ", pq, 1000), ("HLG", hlg, 1000)]:
    with open("/tmp/hdr.ppm", "wb") as file:
        file.write(b"P6 25 25 65535 " + (samples * 65535).round().astype(">u2").tobytes())
    for distance in ["0", "1"]:
        run("cjxl", "/tmp/hdr.ppm", path(f"hdr__jxl_{name.lower()}_{white}_d{distance}.jxl"), "-d", distance,
            f"--intensity_target={white}", "-x", f"color_space=RGB_D65_202_Rel_{name}")
expected["hdr"] = rgb
for name, source, suffix, options in [("rgb__jp2", "rgb", "jp2", []), ("grey__jp2", "grey", "jp2", []),
                                      ("rgb__j2k_tiles", "rgb", "j2k", ["-t", "16,16", "-p", "RPCL"]),
                                      ("lossy_jp2__jp2", "rgb", "jp2", ["-I", "-r", "8"])]:
    run("opj_compress", "-i", f"/tmp/{source}.png", "-o", path(f"{name}.{suffix}"), "-n", "3", *options)
# JPEG 2000 with other divisions, channels and framings.
Image.fromarray(np.dstack([rgb, alpha]), "RGBA").save("/tmp/rgb_alpha.png")
Image.fromarray(np.dstack([grey, alpha]), "LA").save("/tmp/grey_alpha.png")
for name, source, options in [("rgb__jp2_precincts.jp2", "rgb", ["-c", "[32,32],[16,16]"]), ("rgb__jp2_blocks.jp2", "rgb", ["-b", "4,4"]),
                              ("rgb__j2k_alpha.j2k", "rgb_alpha", []), ("grey__j2k_alpha.j2k", "grey_alpha", []),
                              ("rgb__jp2_alpha.jp2", "rgb_alpha", []), ("rgb__j2k_parts.j2k", "rgb", ["-t", "16,16", "-TP", "R"]),
                              ("grey__j2k_whole.j2k", "grey", []), ("rgb__j2k_whole.j2k", "rgb", [])]:
    run("opj_compress", "-i", f"/tmp/{source}.png", "-o", path(name), "-n", "3", *options)
Image.fromarray(cmyk, "CMYK").save(path("cmyk__jp2.jp2"))
jp2, whole, alone, parts = read("rgb__jp2.jp2"), read("rgb__j2k_whole.j2k"), read("rgb__j2k_alpha.j2k"), read("rgb__j2k_parts.j2k")
write("rgb__jp2_after.jp2", jp2 + b"junk" * 9)
write("rgb__jp2_no_end.jp2", jp2[:-2])
write("rgb__j2k_no_end.j2k", parts[:-2])
at = whole.index(b"\xff\x90\0\x0a") + 6
for name, after in [("no_length", b""), ("no_length_after", b"junk")]:
    write(f"rgb__j2k_{name}.j2k", whole[:at] + bytes(4) + whole[at + 4:] + after)
write("rgb__j2k_no_length_no_end.j2k", whole[:at] + bytes(4) + whole[at + 4:-2])
at = whole.index(b"\xff\x52")  # an index of the packets, and a segment that is not defined
write("rgb__j2k_segments.j2k", whole[:at] + b"\xff\x57\0\x05\0\0\0" + b"\xff\x6f\0\x04ab" + whole[at:])
at = at_part = parts.index(b"\xff\x90\0\x0a")
tile_parts = []
while parts[at_part:at_part + 2] != b"\xff\xd9":
    length = struct.unpack_from(">I", parts, at_part + 6)[0]
    tile_parts.append(parts[at_part:at_part + length])
    at_part += length
write("rgb__j2k_parts_in_turn.j2k", parts[:at] + b"".join(sorted(tile_parts, key=lambda part: part[10])) + b"\xff\xd9")
def box(kind, content):
    return struct.pack(">I4s", len(content) + 8, kind) + content
def boxes(codestream, components, *more):
    header = box(b"ihdr", struct.pack(">IIHBBBB", 25, 25, components, 7, 7, 0, 0)) + b"".join(more)
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", header) + b"\0\0\0\0jp2c" + codestream
color = lambda number: box(b"colr", b"\1\0\0" + struct.pack(">I", number))
channels = lambda kind, to: box(b"cdef", struct.pack(">H12H", 4, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, kind, to))
write("rgb__jp2_alpha_unnamed.jp2", boxes(alone, 4, color(16)))
write("rgb__jp2_alpha_unknown.jp2", boxes(alone, 4, color(16), channels(65535, 65535)))
write("rgb__jp2_alpha_premultiplied.jp2", boxes(alone, 4, color(16), channels(2, 0)))
write("rgb__jp2_color_unknown.jp2", boxes(whole, 3, color(99)))
write("rgb__jp2_color_missing.jp2", boxes(alone, 4))
indices = np.asarray(sixteen)
Image.fromarray(indices).save("/tmp/indices.png")
run("opj_compress", "-i", "/tmp/indices.png", "-o", "/tmp/indices.j2k", "-n", "3")
with open("/tmp/indices.j2k", "rb") as file:
    palette = box(b"pclr", b"\0\x10\3\7\7\7" + bytes(sixteen.getpalette()[:48]))
    mapping = box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, i) for i in range(3)))
    write("palette16__jp2.jp2", boxes(file.read(), 1, color(16), palette, mapping))
run("heif-enc", "-q", "80", "/tmp/large.png", "-o", path("lossy_heic__heic.heic"))
run("heif-enc", "-q", "80", "-p", "chroma=444", "/tmp/large.png", "-o", path("lossy_heic_444__heic.heic"))
large.convert("L").save("/tmp/large_grey.png")
run("heif-enc", "-q", "80", "-p", "x265:range=limited", "/tmp/large_grey.png", "-o", path("lossy_heic_grey__heic.heic"))
# The orientation of EXIF is not that of the picture; that of the container is: a quarter turn instead of the bit depths.
run("heif-enc", "-q", "80", "/tmp/turned.jpg", "-o", path("lossy_heic_exif__heic.heic"))
heic = read("lossy_heic__heic.heic")
at = heic.index(b"pixi")
write("lossy_heic_turned__heic.heic", heic[:at] + b"irot\1" + bytes(7) + heic[at + 12:])
for file in glob.glob(f"{here}/lossy_*"):
    decoder = {"jxl": ["djxl", "--color_space=RGB_D65_SRG_Rel_SRG"], "jp2": ["opj_decompress", "-i"], "heic": ["heif-convert"]}[file.rsplit(".")[-1]]
    run(*decoder, file, *(["-o"] if "opj" in decoder[0] else []), "/tmp/decoded.png")
    decoded = Image.open("/tmp/decoded.png").convert("RGB")
    if "stored" in file:  # djxl does not convert it
        stored_profile = ImageCms.ImageCmsProfile(io.BytesIO(Image.open("/tmp/decoded.png").info["icc_profile"]))
        decoded = ImageCms.profileToProfile(decoded, stored_profile, ImageCms.createProfile("sRGB"), 1)
    turned_large = large.transpose(Image.Transpose.ROTATE_90)
    assert "turned" not in file or np.abs(np.asarray(decoded).astype(int) - np.asarray(turned_large)).mean() < 8
    # The images of HEIC are larger than the others, so they are compared after resizing as torchvision does it.
    expected[os.path.basename(file).split("__")[0]] = np.asarray(decoded.resize((25, 25), Image.BILINEAR))

save_file({key: np.ascontiguousarray(value) for key, value in expected.items()}, path("expected.safetensors"))
files = glob.glob(f"{here}/*__*")
assert all(os.path.basename(f).split("__")[0] in expected for f in files)
print(len(files), "images,", sum(map(os.path.getsize, files)), "bytes")
