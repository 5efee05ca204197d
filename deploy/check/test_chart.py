"""The Helm chart: what it renders is valid and safe, and bad values are refused."""

import json
import os
import re
import subprocess

import helm_python
import pytest
import yaml
from manifests import CHART, VALUES, render, validate
from metrics import metric_names, unknown_metrics
from rules import environment, faults


def named(path):
    return path.name.removesuffix("-values.yaml")


@pytest.mark.parametrize("path", VALUES, ids=named)
def test_values_are_rendered_into_valid_and_safe_manifests(path):
    values = yaml.safe_load(path.read_text())
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    manifests = render(values)
    assert ("Deployment", "photos" if named(path) == "all" else "resnet") in manifests
    for manifest in manifests.values():
        validate(manifest)
        assert faults(manifest) == []


def test_all_switches_render_every_kind():
    kinds = {kind for kind, _ in render(yaml.safe_load((CHART / "ci" / "all-values.yaml").read_text()))}
    assert kinds == {
        "ConfigMap", "Deployment", "GRPCRoute", "HTTPRoute", "Ingress", "NetworkPolicy", "PodDisruptionBudget",
        "PrometheusRule", "ScaledObject", "Service", "ServiceAccount", "ServiceMonitor",
    }  # fmt: skip


REFUSED = {
    "unknown value": ({"replica": 3}, "replica"),
    "negative replicas": ({"replicas": -1}, "replicas"),
    "latest": ({"image": {"tag": "latest"}}, "tag"),
    "short digest": ({"image": {"digest": "sha256:12"}}, "digest"),
    "model without a source": ({"models": [{"name": "pets"}]}, "source"),
    "claim without a name": ({"modelVolume": {"kind": "pvc"}}, "claimName"),
    "volume without an image": ({"modelVolume": {"kind": "image"}}, "reference"),
    "cache over the models": ({"modelVolume": {"mountPath": "/models"}}, "mountPath"),
    "unknown flag": ({"settings": {"max-bach": 8}}, "max-bach"),
    "flag with its own value": ({"settings": {"port": 9000}}, "port"),
    "setting of the wrong type": ({"settings": {"max-batch": "many"}}, "max-batch"),
    "variable of the chart": ({"env": [{"name": "RESNET_PORT", "value": "1"}]}, "env"),
    "privileged port": ({"port": 80}, "port"),
    "no limit on memory": ({"resources": {"limits": {"memory": None}}}, "memory"),
    "root": ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
    "user 0": ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
    "no seccomp": ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
    "unknown scaling": ({"autoscaling": {"kind": "vpa"}}, "kind"),
    "route without a gateway": ({"gateway": {"http": {"enabled": True}}}, "parentRefs"),
    "no drain timeout": ({"drain": {"timeoutSeconds": 0}}, "timeoutSeconds"),
    "same host name for both routes": (
        {
            "gateway": {
                "http": {"enabled": True},
                "grpc": {"enabled": True, "hostnames": ["resnet.example.com"]},
                "parentRefs": [{"name": "gateway"}],
            }
        },
        "may not share",
    ),
    "nothing to serve": ({"models": []}, "no model is served"),
    "the Hub behind a closed policy": (
        {"models": [{"name": "a", "source": "timm/resnet18.a1_in1k"}], "networkPolicy": {"enabled": True}},
        "networkPolicy.hub",
    ),
}


@pytest.mark.parametrize("values, named_in_error", REFUSED.values(), ids=REFUSED.keys())
def test_bad_values_are_refused_by_name(values, named_in_error):
    with pytest.raises(helm_python.HelmError, match=re.escape(named_in_error)):
        render(values)


def container(values):
    return render(values)["Deployment", "resnet"]["spec"]["template"]["spec"]["containers"][0]


def test_settings_are_variables_with_the_text_of_the_values():
    variables = environment(container({"settings": {"max-pixels": 64000000, "min-confidence": 0.7, "max-body": "16MiB"}}))
    assert variables["RESNET_MAX_PIXELS"] == "64000000"
    assert variables["RESNET_MIN_CONFIDENCE"] == "0.7"
    assert variables["RESNET_MAX_BODY"] == "16MiB"


def test_a_setting_of_a_gpu_is_there_once_and_wins():
    variables = container({"gpu": {"enabled": True}, "settings": {"max-batch": 32}})["env"]
    assert [v["value"] for v in variables if v["name"] == "RESNET_MAX_BATCH"] == ["32"]


def test_the_grace_period_follows_the_drain_times():
    drain = {"delaySeconds": 7, "timeoutSeconds": 60, "preStopSleepSeconds": 3, "marginSeconds": 5}
    pod = render({"drain": drain})["Deployment", "resnet"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 75


def test_a_changed_configuration_file_restarts_the_pods():
    def checksum(config):
        template = render({"config": config})["Deployment", "resnet"]["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    assert checksum("max-batch = 8\n") != checksum("max-batch = 4\n")


def test_a_scaler_owns_the_number_of_replicas():
    assert "replicas" in render({})["Deployment", "resnet"]["spec"]
    assert "replicas" not in render({"autoscaling": {"kind": "hpa"}})["Deployment", "resnet"]["spec"]


def test_the_queue_time_of_keda_is_a_metric_of_the_server():
    trigger = render({"autoscaling": {"kind": "keda"}})["ScaledObject", "resnet"]["spec"]["triggers"][0]
    assert metric_names(trigger["metadata"]["query"]) == {"resnet_queue_seconds_sum", "resnet_queue_seconds_count"}
    assert unknown_metrics(trigger["metadata"]["query"]) == set()
    # A mean over all replicas must not be divided by their number.
    assert trigger["metricType"] == "Value"


@pytest.mark.parametrize("path", ["startup", "readiness", "liveness"])
def test_probes_ask_for_routes_of_the_contract(path):
    contract = yaml.safe_load((CHART.parents[2] / "openapi.yaml").read_text())
    for values in ({}, {"gpu": {"enabled": True}}):
        assert container(values)[f"{path}Probe"]["httpGet"]["path"] in contract["paths"]


def test_variables_are_those_of_the_binary():
    binary = os.environ.get("RESNET", "")
    if not os.access(binary, os.X_OK):
        pytest.skip("RESNET names no binary")
    shown = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"\[env:\s+(RESNET_\w+)", shown))
    schema = json.loads((CHART / "values.schema.json").read_text())
    settings = schema["properties"]["settings"]["properties"]
    assert {f"RESNET_{flag.replace('-', '_').upper()}" for flag in settings} <= known
    for path in VALUES:
        for manifest in render(yaml.safe_load(path.read_text())).values():
            if manifest["kind"] == "Deployment":
                variables = environment(manifest["spec"]["template"]["spec"]["containers"][0])
                assert {name for name in variables if name.startswith("RESNET_")} <= known
