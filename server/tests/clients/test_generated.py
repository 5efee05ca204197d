"""Clients that are generated of openapi.yaml upload a photo: Python by
openapi-python-client, TypeScript by openapi-typescript and openapi-fetch."""

import base64
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from conftest import MODEL, PHOTOS

ROOT = pathlib.Path(__file__).parents[3]
TYPESCRIPT = pathlib.Path(__file__).parent / "typescript"


def generated(folder, document):
    """The package that is generated of a document, imported."""
    command = [pathlib.Path(sys.executable).with_name("openapi-python-client"), "generate", "--meta=none"]
    package = document.stem.replace("-", "_") + "_client"
    subprocess.run([*command, f"--path={document}", f"--output-path={folder / package}"],
                   check=True, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    sys.path.insert(0, str(folder))
    return importlib.import_module(package)


@pytest.fixture(scope="module")
def native(tmp_path_factory, address):
    package = generated(tmp_path_factory.mktemp("native"), ROOT / "openapi.yaml")
    with package.Client(base_url=f"http://{address}") as client:
        yield package, client


def part(package, name):
    return importlib.import_module(f"{package.__name__}.{name}")


def test_python_uploads_bytes(native, top5, cat):
    package, client = native
    types = part(package, "types")
    with (PHOTOS / "cat.jpg").open("rb") as file:
        response = part(package, "api.default.classify").sync_detailed(
            client=client, body=types.File(payload=file), top_k=2)
    assert response.status_code == 200 and len(response.parsed.predictions) == 2
    assert response.parsed.predictions[0].index == top5(cat)[0]["index"]
    request = part(package, "api.default.classify")._get_kwargs(body=types.File(payload=b""))
    assert request["headers"]["Content-Type"] == "application/octet-stream"
    embedding = part(package, "api.default.embed_with").sync(MODEL, client=client, body=types.File(payload=cat))
    assert embedding.dimension == len(embedding.embedding)


def test_python_uploads_a_form(native, top5, cat):
    package, client = native
    types, models = part(package, "types"), part(package, "models")
    file = lambda name: types.File(payload=(PHOTOS / name).read_bytes(), file_name=name, mime_type="image/jpeg")
    body = models.ClassifyFilesBody(image=[file("cat.jpg"), file("coffee.jpg"), file("README.md")])
    cats, coffee, problem = part(package, "api.default.classify").sync(client=client, body=body)
    assert cats.predictions[0].index == top5(cat)[0]["index"]
    assert coffee.predictions[0].label == "espresso"
    assert isinstance(problem, models.Problem) and problem.status == 415


def test_python_uploads_json_and_reads_problems(native, top5, cat):
    package, client = native
    models, classify = part(package, "models"), part(package, "api.default.classify_with")
    body = models.Images(image=base64.b64encode(cat).decode())
    answer = classify.sync(MODEL, client=client, body=body, labels=["domestic cat", "dog"])
    assert answer.predictions[0].index == top5(cat)[0]["index"]
    assert [label.name for label in answer.labels] == ["domestic cat", "dog"]
    problem = classify.sync("no", client=client, body=body)
    assert isinstance(problem, models.Problem) and problem.type_ == "/docs#model-not-found"


def test_python_client_of_the_open_inference_protocol(tmp_path, address, top5, cat):
    package = generated(tmp_path, ROOT / "docs/openapi/oip.yaml")
    models = part(package, "models")
    request = models.InferRequest.from_dict({
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(cat).decode()]}],
        "outputs": [{"name": "logits", "parameters": {"classification": 1}}],
    })
    with package.Client(base_url=f"http://{address}") as client:
        metadata = part(package, "api.default.metadata_of_model").sync(MODEL, client=client)
        assert metadata.inputs[0].shape == [-1, 224, 224, 3]
        infer = part(package, "api.default.infer_model")
        answer = infer.sync(MODEL, client=client, body=request)
        assert answer.outputs[0].data[0].split(":")[1] == str(top5(cat)[0]["index"])
        # The client has a method for one type of response only, JSON.
        raw = infer._get_kwargs(MODEL, body=part(package, "types").File(payload=cat), inference_header_content_length=0)
        raw = client.get_httpx_client().request(**raw)
        assert raw.status_code == 200 and raw.headers["content-type"] == "application/octet-stream"
        error = infer.sync("no", client=client, body=request)
        assert error.error == "Request for unknown model: 'no' is not found"


@pytest.fixture(scope="module")
def typescript():
    """A folder with the packages of npm, the generated types, and the compiled program."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = pathlib.Path(os.environ["CLIENTS"]) / "typescript"
    installed = folder / "node_modules" / "typescript"
    if not installed.exists() or (folder / "package.json").read_text() != (TYPESCRIPT / "package.json").read_text():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TYPESCRIPT, folder)
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
        if subprocess.run(command, cwd=folder, capture_output=True).returncode != 0:
            shutil.rmtree(folder)
            pytest.skip("npm cannot be reached")
    shutil.copytree(TYPESCRIPT, folder, dirs_exist_ok=True)
    for command in (["node", "generate.mjs", ROOT / "openapi.yaml", "api.d.ts"], ["npx", "tsc", "--project", "."]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_typescript_uploads(typescript, address, top5, cat):
    command = ["node", "out/upload.js", f"http://{address}", PHOTOS / "cat.jpg"]
    done = subprocess.run(command, cwd=typescript, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    best = top5(cat)[0]["index"]
    assert json.loads(done.stdout) == {
        "image": [best],
        "octets": [best],
        "multipart": [best, best],
        "json": [best],
        "problem": "Unsupported image format",
    }
