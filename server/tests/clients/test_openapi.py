"""openapi.yaml and docs/openapi/ are valid, and schemathesis finds no request whose
response is not as they say, or a status of 500 or more."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time

import openapi_spec_validator
import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]
HERE = pathlib.Path(__file__).parent / "openapi"

# The documents and the protocols that they are about.
DOCUMENTS = {
    "openapi.yaml": "native",
    "docs/openapi/oip.yaml": "oip",
    "docs/openapi/torchserve.yaml": "torchserve",
    "docs/openapi/tensorflow-serving.yaml": "tensorflow-serving",
    "docs/openapi/huggingface.yaml": "huggingface",
    "docs/openapi/containers.yaml": "sagemaker,vertex-ai",
    "docs/openapi/photoprism.yaml": "photoprism",
    "docs/openapi/roboflow.yaml": "roboflow",
    "docs/openapi/deepstack.yaml": "deepstack",
}


@contextlib.contextmanager
def serving(protocols, log):
    """A server of one's own, as models are unloaded and removed: the addresses of both
    listeners."""
    command = [os.environ["RESNET"], "serve", "--port", "0", "--admin", "127.0.0.1:0", "--protocols", protocols]
    # Few images, as schemathesis sends as many as a document allows.
    models = ["--model", "resnet50_thin", "--model", "other=resnet50_thin", "--max-images", "4"]
    with log.open("w") as out:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen([*command, *models, "--log-format", "json"], stdout=out, stderr=out, env=environment)
    try:
        for _ in range(600):
            text = log.read_text()
            if '"ready; try' in text:
                break
            assert server.poll() is None, text
            time.sleep(0.1)
        yield [re.search(f'"{what}.*?"address":"([^"]*)"', text)[1]
               for what in ("listening; the models", "listening for administration")]
        assert server.poll() is None, log.read_text()[-4000:]
    finally:
        server.kill()
        server.wait()


def of_admin(document):
    """The ids of the operations that only the admin listener has."""
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and ("servers" in item or "servers" in operation):
                yield operation["operationId"]


def test_all_documents_are_listed():
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "docs/openapi").iterdir()}
    assert found == DOCUMENTS.keys() - {"openapi.yaml"}


def run(name, folder):
    """Runs schemathesis with a document; returns what it found."""
    document = yaml.safe_load((ROOT / name).read_text())
    openapi_spec_validator.validate(document)
    admin = list(of_admin(document))
    # A path may have methods of the native API besides those of another one.
    shared = [] if name == "openapi.yaml" else ["--exclude-checks", "unsupported_method,allow_header_conformance"]
    schemathesis = [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml"]
    found = ""
    with serving(DOCUMENTS[name], folder / "server.log") as addresses:
        for address, option in zip(addresses, ("--exclude-operation-id", "--include-operation-id")):
            if option.startswith("--include") and not admin:
                continue
            filters = [argument for operation in admin for argument in (option, operation)]
            command = [*schemathesis, "--no-color", "run", "--warnings", "off", ROOT / name, "--url", f"http://{address}"]
            done = subprocess.run([*command, *shared, *filters], cwd=HERE, capture_output=True, text=True)
            found += done.stdout + done.stderr if done.returncode else ""
    return found


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """The runs of the documents that are selected, two at a time."""
    items = [item for item in request.session.items if item.originalname == "test_server"]
    names = [item.callspec.params["name"] for item in items]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, name, tmp_path_factory.mktemp("server")) for name in names}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_server(name, runs):
    found = runs[name].result()
    assert not found, found
