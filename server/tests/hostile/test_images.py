"""Images that took gigabytes or hours when they were found, and their variants. Each is
sent alone, and all of them at once."""

import time
import unittest

import client
import images
from case import SHARED, Hostile, at_once, status
from server import SMALL

SIDE = int(SMALL["max-pixels"] ** 0.5)
REFUSED = (413, 415, 422)
ANSWERED = (200, *REFUSED)


def hidden_sizes():
    """The size that the decoder uses is not the one that is read first."""
    for marker in (0x01, 0xD0, 0xD3, 0xD7, 0xD8):
        for small_first in (False, True):
            file = images.hidden_frame(65_535, 65_535, marker, small_first)
            yield f"a frame behind ff{marker:02x}, {small_first}", file, ANSWERED
    yield "two frames", images.two_frames(65_535, 65_535), ANSWERED


def images_in_images():
    """The JPEGs in a TIFF are larger than its strips, or there are many of them."""
    for side in (8_000, 16_000, 65_000):
        inner = images.jpeg(side, side, data=bytes(8))
        yield f"a TIFF with a JPEG of {side}", images.tiff_of_jpegs(1000, 1000, inner, 1000), REFUSED
        three = images.jpeg(side, side, components=3, data=bytes(8))
        yield f"a TIFF with a JPEG of {side}, 3", images.tiff_of_jpegs(1000, 1000, three, 1000, 3), REFUSED
    inner = images.progressive(SIDE, SIDE, scans=3)
    yield "a TIFF with 4000 JPEGs", images.tiff_of_jpegs(1000, 4000, inner, 1), REFUSED
    whole = images.jpeg(SIDE, 16)
    yield "a TIFF of whole JPEGs", images.tiff_of_jpegs(SIDE, SIDE, whole, 16), ANSWERED
    for scans in (10, 20, 900):
        inner = images.runs(SIDE, 16, scans)
        yield f"a TIFF of JPEGs with {scans} scans", images.tiff_of_jpegs(SIDE, SIDE, inner, 16), ANSWERED


def empty_scans():
    """Scans that have no or almost no data and go over all pixels."""
    for components in (1, 3):
        for scans in (10, 98, 500):
            file = images.progressive(SIDE, SIDE, components, scans)
            yield f"{scans} scans of {components}", file, (422,)
    file = images.progressive(SIDE, SIDE, 1, 200, approximation=0x10)
    yield "200 scans that refine", file, (422,)
    for scans in (3, 20, 98, 900):
        yield f"{scans} scans of runs", images.runs(SIDE, SIDE, scans), ANSWERED
    file = images.progressive(SIDE, SIDE, 1, 60, bytes(SIDE * SIDE // 512 + 1))
    yield "60 whole scans", file, ANSWERED


def metadata():
    """Metadata that claims gigabytes, or expands to them."""
    for name in (b"EXIF", b"XMP ", b"ICCP"):
        for claimed in (0x7FFF_FFFF, 0xFFFF_FFF8, 0xFFFF_FFFF):
            file = images.webp_with_metadata(name, claimed)
            yield f"{name.decode()}of {claimed:x} bytes", file, ANSWERED
    for name, bomb in (("iCCP", images.profile_bomb), ("zTXt", images.text_bomb)):
        yield f"{name} of 1 GiB", images.png(16, 16, before=bomb(1 << 30)), ANSWERED
    yield "100 profiles", images.png(16, 16, before=images.profile_bomb(1 << 24) * 100), ANSWERED


def large_canvases():
    """Few bytes, and as many pixels as are allowed, or more."""
    for side in (SIDE, 16_000):
        yield f"WebP of {side}", images.webp(side, side), ANSWERED
        yield f"animated WebP of {side}", images.animated_webp(side, side), ANSWERED
        yield f"frame of another size in {side}", images.animated_webp_of_two_sizes(side, side), ANSWERED
        yield f"GIF of {side}", images.gif(side, side, 1, 1), ANSWERED
        yield f"GIF frame of {side}", images.gif(8, 8, side, side), ANSWERED
        yield f"BMP of {side}", images.bmp_rle(side, side), ANSWERED
        yield f"PPM of {side}", images.ppm(side, side), REFUSED
        yield f"QOI of {side}", images.qoi(side, 1), ANSWERED
    yield "200 frames", images.animated_webp(SIDE, SIDE, 200), ANSWERED
    yield "interlaced PNG", images.png(SIDE, SIDE, 16, 6, interlaced=True), (200,)
    yield "PNG of 60000", images.png(60_000, 16, 16, 6), ANSWERED


def reference():
    """Ordinary images of the largest size: the work that any image may take."""
    yield "JPEG", images.jpeg(SIDE, SIDE, 3, sampling=0x22)
    yield "PNG", images.png(SIDE, SIDE, 16, 6, interlaced=True)
    yield "TIFF", images.tiff_of_pixels(SIDE, SIDE, 16, 4, 5)


class Images(Hostile):
    # A request may take as long as its work needs.
    limits = {"request-timeout": "300s"}

    def check(self, files):
        """Each file alone: its status, and no more time than ordinary images need."""
        files = list(files)
        longest = max(self.seconds(file)[0] for _, file in reference())
        for name, file, allowed in files:
            took, response = self.seconds(file)
            with self.subTest(name):
                self.assertIn(response.status, allowed, response.body[:300])
                self.assertLess(took, 3 * longest + 0.5, f"{took:.2f} s; ordinary images take {longest:.2f} s")
        results = at_once([lambda file=file: client.ask(self.port, "/classify", file)
                           for _, file, _ in files * 2])
        for (name, _, allowed), result in zip(files * 2, results):
            with self.subTest(name):
                self.assertIn(status(result), (*allowed, 429))

    def seconds(self, file):
        began = time.monotonic()
        response = client.ask(self.port, "/classify", file, timeout=400)
        return time.monotonic() - began, response

    def test_sizes_that_two_parsers_read_differently(self):
        self.check(hidden_sizes())

    def test_jpegs_in_tiffs(self):
        self.check(images_in_images())

    def test_progressive_jpegs_with_empty_scans(self):
        self.check(empty_scans())

    def test_metadata_that_claims_or_expands_to_gigabytes(self):
        self.check(metadata())

    def test_few_bytes_and_many_pixels(self):
        self.check(large_canvases())

    @unittest.skipUnless(SHARED.is_dir(), "skipped: no ../shared")
    def test_the_files_of_shared(self):
        names = [path for path in sorted(SHARED.iterdir()) if path.suffix in (".jpg", ".tiff", ".webp")]
        self.assertGreater(len(names), 5)
        self.check((path.name, path.read_bytes(), ANSWERED) for path in names)
