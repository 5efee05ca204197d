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
def lossless(cat):
    """The bytes of a PNG, which has the same pixels for every decoder."""
    file = io.BytesIO()
    PIL.Image.open(io.BytesIO(cat)).convert("RGB").save(file, "PNG")
    return file.getvalue()


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
def preprocessing(address):
    """How the model wants its images."""
    [version] = requests.get(f"http://{address}/models/{MODEL}").json()["versions"]
    return version["input"]["preprocessing"]


@pytest.fixture(scope="session")
def pixels(preprocessing):
    """The pixels of an image file as the network's input, [S, S, 3] UINT8, by Pillow:
    resize, crop."""

    def pixels(file):
        image = PIL.Image.open(io.BytesIO(file)).convert("RGB")
        side, short = preprocessing["crop"], preprocessing["resize"]["short_side"]
        width, height = image.size
        size = (short, short * height // width) if width <= height else (short * width // height, short)
        filter = getattr(PIL.Image.Resampling, preprocessing["interpolation"].upper())
        image = image.resize(size, filter)
        left, top = round((image.width - side) / 2), round((image.height - side) / 2)
        return numpy.asarray(image.crop((left, top, left + side, top + side)))

    return pixels


@pytest.fixture(scope="session")
def normalised(pixels, preprocessing):
    """As `pixels`, normalised: [3, S, S] FP32."""

    def normalised(file):
        scaled = pixels(file).astype(numpy.float32) / 255
        mean, std = (numpy.array(preprocessing[key], numpy.float32) for key in ("mean", "std"))
        return numpy.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))

    return normalised


def assert_top5(scores, predictions):
    """The scores of all classes have the same best class as the native API, and the five
    best of that API are among the best ten. In bf16, the order of close ones may differ
    with the size of the batch."""
    best = numpy.argsort(-numpy.asarray(scores), kind="stable")[:10].tolist()
    expected = [prediction["index"] for prediction in predictions]
    assert best[0] == expected[0], (best, expected)
    assert set(expected) <= set(best), (best, expected)
