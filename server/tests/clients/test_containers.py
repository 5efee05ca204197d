"""Requests as SageMaker, Vertex AI, PhotoPrism and DeepStack's clients send them. Their
clients run in the cloud or in another program; the requests follow their sources."""

import base64
import os

import requests
from conftest import MODEL, PHOTOS


def test_sagemaker(address, top5, cat):
    assert requests.get(f"http://{address}/ping").status_code == 200
    url = f"http://{address}/invocations"
    image = requests.post(url, data=cat, headers={"Content-Type": "application/x-image", "Accept": "*/*"})
    best = top5(cat)[0]["label"]
    assert list(image.json())[0] == best.replace(" ", "_")
    inputs = requests.post(url, json={"inputs": base64.b64encode(cat).decode()})
    assert inputs.json()[0]["label"] == best


def test_vertex(address, top5, cat):
    assert requests.get(f"http://{address}{os.environ['AIP_HEALTH_ROUTE']}").status_code == 200
    instance = {"content": base64.b64encode(cat).decode(), "mimeType": "image/jpeg"}
    body = {"instances": [instance] * 2, "parameters": {"confidenceThreshold": 0.0, "maxPredictions": 5}}
    answer = requests.post(f"http://{address}{os.environ['AIP_PREDICT_ROUTE']}", json=body).json()
    for prediction in answer["predictions"]:
        assert prediction["displayNames"] == [p["label"] for p in top5(cat)]
        assert prediction["ids"] == [str(p["index"]) for p in top5(cat)]
        assert len(prediction["confidences"]) == 5


def test_photoprism(address, top5, cat):
    crop = "data:image/jpeg;base64," + base64.b64encode(cat).decode()
    body = {"id": "b6e1a4a2-8a0a-4bd2-9a3c-000000000000", "suffix": "", "stream": False, "images": [crop] * 3}
    answer = requests.post(f"http://{address}/api/v1/vision/labels", json=body).json()
    assert (answer["id"], answer["code"]) == (body["id"], 200)
    assert answer["model"]["name"] == MODEL and answer["model"]["resolution"] == 224
    labels = answer["result"]["labels"]
    names = [label["name"] for label in labels]
    assert names[0] == top5(cat)[0]["label"] and len(names) == len(set(names))
    assert labels[0].keys() == {"name", "source", "confidence", "topicality"}
    error = requests.post(f"http://{address}/api/v1/vision/labels", json={"images": []}).json()
    assert error["code"] == 400 and error["error"]


def test_deepstack(address, top5, cat):
    image = (PHOTOS / "cat.jpg").read_bytes()
    answer = requests.post(f"http://{address}/v1/vision/scene", files={"image": image}).json()
    assert answer["success"] is True and answer["label"] == top5(cat)[0]["label"]
    assert 0 < answer["confidence"] <= 1
