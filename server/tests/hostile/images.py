"""Image files that cost more than they look: few bytes and many pixels, sizes that two
parsers could read differently, metadata that expands. Each function returns the bytes
of one file. Only the standard library is used."""

import struct
import zlib


def segment(marker, content):
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def quantization():
    return segment(0xDB, b"\0" + b"\1" * 64)


def huffman(table_class, symbol):
    """A Huffman table whose only code, a zero bit, is `symbol`."""
    return segment(0xC4, bytes([table_class << 4, 1]) + bytes(15) + bytes([symbol]))


def frame(marker, width, height, components, sampling=0x11):
    parts = b"".join(bytes([i + 1, sampling if i == 0 else 0x11, 0]) for i in range(components))
    return segment(marker, struct.pack(">BHHB", 8, height, width, components) + parts)


def scan(components, start, end, approximation=0):
    parts = b"".join(bytes([component, 0]) for component in components)
    return segment(0xDA, bytes([len(components)]) + parts + bytes([start, end, approximation]))


def jpeg(width, height, components=1, data=None, sampling=0x11):
    """A baseline JPEG. A grey image takes two bits for each block of 64 pixels."""
    if data is None:
        horizontal, vertical = sampling >> 4, sampling & 15
        # Blocks of the first component in an interleaved unit, plus the others.
        unit = horizontal * vertical + components - 1 if components > 1 else 1
        across, down = (-(-width // (8 * (horizontal if components > 1 else 1))),
                        -(-height // (8 * (vertical if components > 1 else 1))))
        data = bytes(across * down * unit * 2 // 8 + 1)
    tables = quantization() + huffman(0, 0) + huffman(1, 0)
    head = b"\xff\xd8" + tables + frame(0xC0, width, height, components, sampling)
    return head + scan(range(1, components + 1), 0, 63) + data + b"\xff\xd9"


def progressive(width, height, components=1, scans=1, data=None, approximation=0, symbol=0):
    """A progressive JPEG: a scan of the first coefficients and `scans` more, each of the
    bytes `data`. The first scan is whole where `data` is given. A zero bit is `symbol`
    in the scans after it."""
    tables = quantization() + huffman(0, 0) + huffman(1, symbol)
    first = b"" if data is None else bytes(-(-width // 8) * -(-height // 8) * components // 8 + 1)
    file = b"\xff\xd8" + tables + frame(0xC2, width, height, components)
    file += scan(range(1, components + 1), 0, 0) + first
    for number in range(scans):
        file += scan([1 + number % components], 1, 63, approximation) + (data or b"")
    return file + b"\xff\xd9"


def runs(width, height, scans):
    """A progressive JPEG whose scans are runs of 16384 empty blocks: a few bytes go over
    all pixels."""
    blocks = -(-width // 8) * -(-height // 8)
    data = bytes(-(-(blocks >> 14) - 1) * 15 // 8 + 4)
    return progressive(width, height, 1, scans, data, symbol=0xE0)


def hidden_frame(width, height, marker=0xD0, small_first=False):
    """A JPEG with a second frame behind a marker without a length, which a parser that
    expects one skips."""
    large, small = frame(0xC0, width, height, 3), frame(0xC0, 8, 8, 3)
    hidden = b"\xff" + bytes([marker]) + struct.pack(">H", len(large) + 2) + large
    frames = small + hidden if small_first else hidden + small
    tables = quantization() + huffman(0, 0) + huffman(1, 0)
    return b"\xff\xd8" + tables + frames + scan([1, 2, 3], 0, 63) + bytes(8) + b"\xff\xd9"


def two_frames(width, height):
    """A JPEG with two frames: a small one, and a large one."""
    tables = quantization() + huffman(0, 0) + huffman(1, 0)
    frames = frame(0xC0, 8, 8, 1) + frame(0xC0, width, height, 1)
    return b"\xff\xd8" + tables + frames + scan([1], 0, 63) + bytes(8) + b"\xff\xd9"


def deflated(length, byte=b"\0"):
    """`length` equal bytes, compressed."""
    compressor = zlib.compressobj(9)
    block = byte * (1 << 20)
    parts = [compressor.compress(block) for _ in range(length >> 20)]
    parts.append(compressor.compress(byte * (length & ((1 << 20) - 1))))
    return b"".join(parts) + compressor.flush()


def chunk(name, content):
    """A chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(width, height, depth=8, color=2, interlaced=False, before=b""):
    """A black PNG, with the chunks `before` its pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]

    def size(columns, rows):
        return rows * (1 + -(-columns * channels * depth // 8)) if columns and rows else 0

    total = size(width, height)
    if interlaced:
        passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        total = sum(size(max(0, -(-(width - x) // across)), max(0, -(-(height - y) // down)))
                    for x, y, across, down in passes)
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    body = before + chunk(b"IDAT", deflated(total))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def profile_bomb(length):
    """A colour profile that expands to `length` bytes."""
    return chunk(b"iCCP", b"x\0\0" + deflated(length))


def text_bomb(length):
    """A compressed text that expands to `length` bytes."""
    return chunk(b"zTXt", b"x\0\0" + deflated(length))


def tiff(width, height, strip, compression=8, bits=8, samples=3, photometric=2, rows=None, extra=()):
    """A TIFF whose strips are all the same bytes."""
    rows = rows or height
    count = -(-height // rows)
    tags = [(256, [width]), (257, [height]), (258, [bits] * samples), (259, [compression]),
            (262, [photometric]), (277, [samples]), (278, [rows]), (284, [1]),
            (273, [8] * count), (279, [len(strip)] * count), *extra]
    body = b"II*\0\0\0\0\0" + strip + bytes(len(strip) % 2)
    entries = b""
    for tag, values in sorted(tags):
        packed = b"".join(struct.pack("<I", value) for value in values)
        if len(packed) > 4:
            place, body = struct.pack("<I", len(body)), body + packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, 4, len(values)) + place
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + directory


def tiff_of_pixels(width, height, bits=8, samples=3, photometric=2):
    """A black TIFF in one deflated strip."""
    strip = deflated(width * height * samples * bits // 8)
    return tiff(width, height, strip, 8, bits, samples, photometric)


def tiff_of_jpegs(width, height, inner, rows, samples=1):
    """A TIFF each of whose strips is the JPEG `inner`."""
    photometric = 1 if samples == 1 else 6
    return tiff(width, height, inner, 7, 8, samples, photometric, rows)


class Bits:
    """Bits in the order of VP8L: the lowest first."""

    def __init__(self):
        self.value, self.length = 0, 0

    def put(self, value, bits):
        self.value |= value << self.length
        self.length += bits

    def bytes(self):
        return self.value.to_bytes(-(-self.length // 8) + 4, "little")


def vp8l(width, height):
    """A lossless WebP bitstream of one colour: its pixels take no bits."""
    bits = Bits()
    bits.put(0x2F, 8)
    bits.put(width - 1, 14)
    bits.put(height - 1, 14)
    bits.put(1, 1)  # alpha
    bits.put(0, 3)  # version
    bits.put(0, 3)  # no transform, no colour cache, no meta codes
    for symbol in (0, 200, 100, 255, 0):
        bits.put(1, 1)  # a simple code
        bits.put(0, 1)  # of one symbol
        bits.put(1, 1)  # of 8 bits
        bits.put(symbol, 8)
    return bits.bytes()


def riff(name, content, length=None):
    """A chunk of a WebP, which claims `length` bytes."""
    size = struct.pack("<I", len(content) if length is None else length)
    return name + size + content + bytes(len(content) % 2)


def webp_of(chunks):
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def canvas(flags, width, height):
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return riff(b"VP8X", bytes([flags, 0, 0, 0]) + size)


def webp(width, height):
    """A still lossless WebP."""
    return webp_of(riff(b"VP8L", vp8l(width, height)))


def webp_with_metadata(name, claimed):
    """A small WebP whose metadata claims more bytes than there are."""
    flags = {b"EXIF": 8, b"XMP ": 4, b"ICCP": 32}[name]
    image = riff(b"VP8L", vp8l(16, 16))
    return webp_of(canvas(flags, 16, 16) + image + riff(name, b"abc", claimed))


def animated_webp(width, height, frames=1):
    """An animation whose frames have the size of the canvas."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    one = riff(b"ANMF", bytes(6) + size + b"\x64\0\0" + b"\0" + riff(b"VP8L", vp8l(width, height)))
    return webp_of(canvas(2 | 16, width, height) + riff(b"ANIM", bytes(6)) + one * frames)


def animated_webp_of_two_sizes(width, height):
    """An animation whose frame claims another size than its pixels have."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    one = riff(b"ANMF", bytes(6) + size + b"\x64\0\0" + b"\0" + riff(b"VP8L", vp8l(8, 8)))
    return webp_of(canvas(2 | 16, width, height) + riff(b"ANIM", bytes(6)) + one)


def gif(width, height, frame_width, frame_height):
    """A GIF of the canvas `width` x `height` whose frame has almost no pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0)
    return head + image + b"\x02\x02\x4c\x01\0\x3b"


def bmp_rle(width, height):
    """A run-length coded BMP of one byte of data."""
    data = b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62 + len(data), 0, 0, 62) + head + b"\0\0\0\0\xff\xff\xff\0" + data


def ppm(width, height):
    """A PPM without pixels."""
    return b"P6\n%d %d\n255\n" % (width, height)


def qoi(width, height):
    """A QOI of runs of 62 pixels."""
    runs = b"\xfd" * (width * height // 62 + 1)
    return b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + runs + bytes(7) + b"\1"

