"""The manifests of deploy/: the chart with each file of values, KServe's, Kustomize's,
and how they are checked against the schemas."""

import json
import subprocess
from pathlib import Path

import helm_python
import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).parent
DEPLOY = HERE.parent
CHART = DEPLOY / "helm" / "resnet"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
# The oldest version that the package has a schema for, and the newest.
KUBERNETES = ("1.33.0", "1.37.0")


def load(path):
    return [document for document in yaml.safe_load_all(Path(path).read_text()) if document]


def render(values, name="resnet", namespace="vision"):
    """The manifests of the chart, by kind and name."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name=name, namespace=namespace, is_install=True)
    documents = [d for path, text in files.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text) if d]
    return {(d["kind"], d["metadata"]["name"]): d for d in documents}


def kustomize(folder):
    """The manifests of a folder, by kubectl; None where it is not installed."""
    try:
        built = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True, timeout=60)
    except FileNotFoundError:
        return None
    return [document for document in yaml.safe_load_all(built.stdout) if document]


def validate(manifest):
    """Raises where a manifest does not fit the schema of its kind."""
    schema = HERE / "schemas" / f"{manifest['kind']}.json"
    if schema.exists():
        jsonschema.validate(manifest, json.loads(schema.read_text()))
    else:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)
