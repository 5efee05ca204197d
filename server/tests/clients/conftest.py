"""What the tests of all clients share: the server's addresses, photos, and what the
native API says about them."""

import io
import os
import pathlib

import numpy
import PIL.Image
import pytest
import requests

PHOTOS = pathlib.Path(__file__).parents[3] / "photos"
MODEL = "resnet50_thin"
OTHER = "other"


@pytest.fixture(scope="session")
def address():
    """HOST:PORT of the public listener."""
    return os.environ["RESNET_ADDRESS"]


@pytest.fixture(scope="session")
def admin_address():
    """HOST:PORT of the admin listener."""
    return os.environ["RESNET_ADMIN_ADDRESS"]


@pytest.fixture(scope="session")
def cat():
    """The bytes of a JPEG."""
    return (PHOTOS / "cat.jpg").read_bytes()


@pytest.fixture(scope="session")
def rocket():
    """The bytes of a PNG, which has the same pixels for every decoder."""
    return (PHOTOS / "rocket.png").read_bytes()


@pytest.fixture(scope="session")
def top5(address):
    """The five most probable classes of an image file, as the native API returns them:
    dictionaries with index, label and probability."""

    def top5(file, model=MODEL):
        response = requests.post(f"http://{address}/models/{model}/classify?top_k=5", data=file)
        response.raise_for_status()
        return response.json()["predictions"]

    return top5


@pytest.fixture(scope="session")
def pixels():
    """The pixels of an image file as the network's input, [224, 224, 3] UINT8, by
    Pillow: short side 256, centre 224."""

    def pixels(file):
        image = PIL.Image.open(io.BytesIO(file)).convert("RGB")
        width, height = image.size
        size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
        image = image.resize(size, PIL.Image.BILINEAR)
        left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
        return numpy.asarray(image.crop((left, top, left + 224, top + 224)))

    return pixels


@pytest.fixture(scope="session")
def normalised(pixels):
    """As `pixels`, normalised: [3, 224, 224] FP32."""

    def normalised(file):
        scaled = pixels(file).astype(numpy.float32) / 255
        mean = numpy.array([0.485, 0.456, 0.406], numpy.float32)
        std = numpy.array([0.229, 0.224, 0.225], numpy.float32)
        return numpy.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))

    return normalised
