"""huggingface_hub's InferenceClient, with the server's address as the model."""

import asyncio

import pytest
from conftest import MODEL, PHOTOS
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError


@pytest.fixture
def client(address):
    return InferenceClient(model=f"http://{address}", provider="hf-inference")


def labels(answer):
    return [element.label for element in answer]


def test_without_parameters(client, address, top5, cat):
    expected = [prediction["label"] for prediction in top5(cat)]
    assert labels(client.image_classification(cat)) == expected
    assert labels(client.image_classification(str(PHOTOS / "cat.jpg"))) == expected
    of_model = client.image_classification(cat, model=f"http://{address}/models/{MODEL}")
    assert labels(of_model) == expected
    assert of_model[0].score == pytest.approx(top5(cat)[0]["probability"], abs=1e-5)


def test_with_parameters(client, top5, lossless):
    [best] = client.image_classification(lossless, top_k=1)
    assert best.label == top5(lossless)[0]["label"]
    logits = client.image_classification(lossless, top_k=3, function_to_apply="none")
    assert len(logits) == 3 and logits[0].score > 1
    scores = client.image_classification(lossless, function_to_apply="sigmoid")
    assert all(0 <= element.score <= 1 for element in scores)


def test_asyncio(address, top5, cat):
    async def classify():
        client = AsyncInferenceClient(model=f"http://{address}")
        return await client.image_classification(cat, top_k=2)

    assert labels(asyncio.run(classify())) == [p["label"] for p in top5(cat)[:2]]


def test_health_and_information(client):
    assert client.health_check()
    assert client.get_endpoint_info()["model_id"] == MODEL


def test_errors(client, address, cat):
    with pytest.raises(HfHubHTTPError, match="cannot be decoded|not an image|unsupported|format"):
        client.image_classification(b"this is not an image")
    with pytest.raises(HfHubHTTPError, match="no model `no`"):
        client.image_classification(cat, model=f"http://{address}/models/no")
