"""The manifests of KServe and Kustomize are valid and safe, and agree with the chart."""

import pytest
import yaml
from manifests import CHART, DEPLOY, kustomize, load, render, validate
from rules import faults

KSERVE = sorted((DEPLOY / "kserve").glob("*.yaml"))
BASE = [path for path in sorted((DEPLOY / "kustomize" / "base").glob("*.yaml")) if path.name != "kustomization.yaml"]


@pytest.mark.parametrize("path", KSERVE + BASE, ids=lambda path: path.name)
def test_files_are_valid_and_safe(path):
    for manifest in load(path):
        validate(manifest)
        assert faults(manifest) == []


def test_each_protocol_of_the_runtime_has_an_example():
    runtime = load(DEPLOY / "kserve" / "clusterservingruntime.yaml")[0]
    examples = [load(path)[0]["spec"]["predictor"]["model"] for path in KSERVE if path.name.startswith("inferenceservice")]
    assert sorted(model["protocolVersion"] for model in examples) == sorted(runtime["spec"]["protocolVersions"])
    assert {model["runtime"] for model in examples} == {runtime["metadata"]["name"]}
    formats = {entry["name"] for entry in runtime["spec"]["supportedModelFormats"]}
    assert {model["modelFormat"]["name"] for model in examples} <= formats


def test_the_runtime_serves_the_folder_and_port_that_kserve_uses():
    container = load(DEPLOY / "kserve" / "clusterservingruntime.yaml")[0]["spec"]["containers"][0]
    assert container["name"] == "kserve-container"
    assert {"--model={{.Name}}=/mnt/models", "--port=8080"} <= set(container["args"])
    grpc = load(DEPLOY / "kserve" / "inferenceservice-grpc.yaml")[0]["spec"]["predictor"]["model"]
    assert grpc["ports"] == [{"name": "h2c", "containerPort": 8080, "protocol": "TCP"}]


def without_instance(labels):
    return {"app.kubernetes.io/name": labels["app.kubernetes.io/name"]}


def test_the_base_is_what_the_chart_renders():
    values = yaml.safe_load((CHART / "ci" / "default-values.yaml").read_text())
    chart = render(values)["Deployment", "resnet"]["spec"]
    base = load(DEPLOY / "kustomize" / "base" / "deployment.yaml")[0]["spec"]
    for constraint in chart["template"]["spec"]["topologySpreadConstraints"]:
        selector = constraint["labelSelector"]
        selector["matchLabels"] = without_instance(selector["matchLabels"])
    assert base["template"]["spec"] == chart["template"]["spec"]
    assert base["strategy"] == chart["strategy"]
    service = render(values)["Service", "resnet"]["spec"]
    assert load(DEPLOY / "kustomize" / "base" / "service.yaml")[0]["spec"]["ports"] == service["ports"]


def test_the_overlay_is_valid_and_safe():
    folder = DEPLOY / "kustomize" / "overlays" / "production"
    for path in folder.glob("*.yaml"):
        load(path)
    manifests = kustomize(folder)
    if manifests is None:
        pytest.skip("kubectl is not installed")
    kinds = {manifest["kind"]: manifest for manifest in manifests}
    assert len(kinds) == len(manifests) == 7
    for manifest in manifests:
        validate(manifest)
        assert faults(manifest) == []
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["serve", "--model=pets=/mnt/models/pets"]
    assert pod["containers"][0]["image"] == "registry.example.com/vision/resnet:0.1.0"
    assert "replicas" not in kinds["Deployment"]["spec"]
