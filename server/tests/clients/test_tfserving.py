"""The requests of TensorFlow Serving's resnet_client.py, and of its documentation."""

import base64
import io
import json

import numpy
import PIL.Image
import pytest
import requests
from conftest import MODEL


@pytest.fixture
def url(address):
    return f"http://{address}/v1/models/{MODEL}"


def best(answer):
    return int(numpy.argmax(answer["predictions"][0]))


def test_resnet_client(url, top5, cat):
    expected = top5(cat)[0]["index"]
    text = base64.b64encode(cat).decode("utf-8")
    encoded = '{"instances" : [{"b64": "%s"}]}' % text
    image = numpy.array(PIL.Image.open(io.BytesIO(cat)).convert("RGB").reduce(2))
    pixels = json.dumps({"instances": numpy.expand_dims(image / 255.0, 0).tolist()})
    for body in (encoded, pixels):
        # A str has no content type.
        response = requests.post(f"{url}:predict", data=body)
        response.raise_for_status()
        assert best(response.json()) == expected


def test_formats(url, top5, lossless):
    expected = top5(lossless)[0]
    b64 = {"b64": base64.b64encode(lossless).decode()}
    for body in ({"signature_name": "serving_default", "instances": [b64]},
                 {"instances": [{"image": b64}, {"image": b64}]}):
        assert best(requests.post(f"{url}/versions/1:predict", json=body).json()) == expected["index"]
    columns = requests.post(f"{url}:predict", json={"inputs": {"image": [b64]}}).json()
    assert int(numpy.argmax(columns["outputs"][0])) == expected["index"]
    [[first, *_]] = requests.post(f"{url}:classify", json={"examples": [{"image": b64}]}).json()["results"]
    assert first[0] == expected["label"]
    assert first[1] == pytest.approx(expected["probability"], abs=1e-5)


def test_status_and_metadata(url):
    [version] = requests.get(url).json()["model_version_status"]
    assert version == {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    metadata = requests.get(f"{url}/metadata").json()
    assert metadata["model_spec"]["name"] == MODEL
    assert "serving_default" in metadata["metadata"]["signature_def"]["signature_def"]


def test_errors(address, url):
    unknown = requests.post(f"http://{address}/v1/models/no:predict", json={"instances": ["AAAA"]})
    assert unknown.status_code == 404
    assert unknown.json()["error"] == "Servable not found for request: Latest(no)"
    empty = requests.post(f"{url}:predict", data="{}")
    assert empty.status_code == 400
    assert empty.json()["error"] == "Missing 'inputs' or 'instances' key"
