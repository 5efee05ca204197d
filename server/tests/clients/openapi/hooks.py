"""What schemathesis generates for images, models and versions. Most requests have an
image that can be decoded and a model that exists; the others check the errors."""

import base64
import io
import zlib

import PIL.Image
import schemathesis
from hypothesis import strategies

MODEL = "resnet50_thin"


def file(kind, size=(4, 3)):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (200, 100, 50)).save(buffer, kind)
    return buffer.getvalue()


FILES = [file(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP")]
BROKEN = [FILES[0][:40], FILES[1][:100], b"%PDF-1.7\n", b"\xff\xd8\xff", b"P3 1 1 255 7 7 7"]
images = strategies.sampled_from(FILES * 2 + BROKEN) | strategies.binary(max_size=64)
base64s = images.map(lambda image: base64.b64encode(image).decode())

schemathesis.openapi.format("byte", base64s)
schemathesis.openapi.format("binary", images)
schemathesis.openapi.media_type("image/*", images, aliases=["application/octet-stream"])


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Replaces most names by that of a model. The choice depends on the name, so that a
    failure can be repeated."""
    for name, known in (("name", MODEL), ("version", "1")):
        value = (path_parameters or {}).get(name)
        if isinstance(value, str) and zlib.crc32(value.encode("utf-8", "replace")) % 4:
            path_parameters[name] = known
    return path_parameters
