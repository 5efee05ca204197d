"""Roboflow's inference-sdk, in the mode of a server of one's own."""

import pytest
from conftest import MODEL, PHOTOS

sdk = pytest.importorskip("inference_sdk")


@pytest.fixture
def client(address):
    client = sdk.InferenceHTTPClient(api_url=f"http://{address}", api_key="none")
    client.select_api_v1()
    return client


def test_models(client):
    names = [model.model_id for model in client.list_loaded_models().models]
    assert MODEL in names and f"{MODEL}/1" in names
    assert client.get_model_description(f"{MODEL}/1").task_type == "classification"
    assert client.get_server_info().name == "resnet"


def test_classification(client, top5, cat):
    best = top5(cat)[0]
    settings = sdk.InferenceConfiguration(confidence_threshold=0.1, client_downsizing_disabled=True)
    for model in (MODEL, f"{MODEL}/1"):
        with client.use_configuration(settings):
            answer = client.infer(str(PHOTOS / "cat.jpg"), model_id=model)
        assert answer["top"] == best["label"]
        assert answer["predictions"][0]["class_id"] == best["index"]
    with client.use_configuration(settings):
        both = client.infer([str(PHOTOS / "cat.jpg"), str(PHOTOS / "rocket.png")], model_id=MODEL)
    assert [answer["top"] for answer in both][0] == best["label"]


def test_errors(client):
    with pytest.raises(Exception, match="404"):
        client.infer(str(PHOTOS / "cat.jpg"), model_id="no/1")
