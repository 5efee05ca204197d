"""TorchServe's clients: the curl lines of its README and of docs/inference_api.md and
docs/management_api.md, and requests of its Python examples."""

import base64
import json
import subprocess

import pytest
import requests
from conftest import MODEL, PHOTOS

CAT = PHOTOS / "cat.jpg"


def curl(*arguments):
    """The JSON that curl prints."""
    command = ["curl", "--silent", "--show-error", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.fixture
def labels(top5, cat):
    """The labels of the cat as TorchServe spells them."""
    return [prediction["label"].replace(" ", "_") for prediction in top5(cat)]


def test_ping(address):
    assert curl(f"http://{address}/ping") == {"status": "Healthy"}


def test_predictions(address, labels):
    url = f"http://{address}/predictions/{MODEL}"
    for arguments in (
        [url, "-T", CAT],
        [url, "-F", f"data=@{CAT}"],
        [f"{url}/1.0", "-T", CAT],
        [f"{url}/1.0", "-F", f"data=@{CAT}"],
        ["-X", "POST", url, "--data-binary", f"@{CAT}"],
        ["-X", "POST", f"http://{address}/invocations?model_name={MODEL}", "-T", CAT],
        ["-X", "POST", f"http://{address}/models/{MODEL}/invoke", "-T", CAT],
    ):
        answer = curl(*arguments)
        assert list(answer) == labels, arguments
        assert all(0 <= value <= 1 for value in answer.values())


def test_requests(address, labels, cat):
    url = f"http://{address}/predictions/{MODEL}"
    with CAT.open("rb") as file:
        assert list(requests.post(url, files={"data": file}).json()) == labels
    with CAT.open("rb") as file:
        assert list(requests.put(url, data=file).json()) == labels
    text = base64.b64encode(cat).decode()
    assert list(requests.post(url, data={"data": text}).json()) == labels
    assert list(requests.post(url, data=text).json()) == labels


def test_explanations(address):
    map = curl(f"http://{address}/explanations/{MODEL}", "-T", CAT)
    assert len(map) == 1 and len(map[0]) == len(map[0][0]) > 1


def test_kserve(address, labels, cat, tmp_path):
    body = tmp_path / "request.json"
    body.write_text(json.dumps({"instances": [{"data": base64.b64encode(cat).decode()}]}))
    answer = curl("-H", "Content-Type: application/json", "--data", f"@{body}",
                  f"http://{address}/v1/models/{MODEL}:predict")
    [prediction] = answer["predictions"]
    assert list(prediction) == labels
    answer = curl("-H", "Content-Type: application/json", "--data", f"@{body}",
                  f"http://{address}/v1/models/{MODEL}:explain")
    assert len(answer["explanations"]) == 1
    assert curl(f"http://{address}/v1/models/{MODEL}")["ready"] is True


def test_description(address):
    answer = curl("-X", "OPTIONS", f"http://{address}")
    assert answer["openapi"] == "3.0.1" and "/predictions/{model_name}" in answer["paths"]


def test_errors(address):
    answer = curl(f"http://{address}/predictions/no", "-T", CAT)
    assert answer == {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: no"}
    response = requests.post(f"http://{address}/predictions/{MODEL}", data="not an image")
    assert response.status_code == 400 and response.json()["type"] == "BadRequestException"


def test_metrics(address):
    name = "ts_inference_requests_total"
    page = requests.get(f"http://{address}/metrics?name[]={name}").text
    assert f'{name}{{model_name="{MODEL}",' in page


def test_management(admin_address, address, labels):
    url = f"http://{admin_address}/models"
    registered = curl("-X", "POST", f"{url}?url={MODEL}&model_name=new&initial_workers=1&synchronous=true")
    assert registered == {"status": 'Model "new" Version: 1.0 registered with 1 initial workers'}
    [version] = curl(f"{url}/new/all")
    assert version["modelName"] == "new" and version["workers"][0]["status"] == "READY"
    scaled = curl("-X", "PUT", f"{url}/new?min_worker=3&synchronous=true")
    assert scaled == {"status": "Workers scaled to 3 for model: new"}
    assert list(curl(f"http://{address}/predictions/new", "-T", CAT)) == labels
    default = curl("-X", "PUT", f"{url}/new/1.0/set-default")
    assert default["status"].startswith("Default version successfully updated")
    assert curl("-X", "DELETE", f"{url}/new") == {"status": 'Model "new" unregistered'}
    assert requests.get(f"{url}/new/all").status_code == 404
