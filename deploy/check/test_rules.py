"""Each rule finds the fault that it is for: a good manifest is broken in one place."""

import copy

import jsonschema
import kubernetes_validate
import pytest
from manifests import DEPLOY, load, validate
from rules import faults

GOOD = load(DEPLOY / "kustomize" / "base" / "deployment.yaml")[0]
RUNTIME = load(DEPLOY / "kserve" / "clusterservingruntime.yaml")[0]
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
SECURITY = (*CONTAINER, "securityContext")
GONE = object()


def broken(manifest, place, value):
    """A copy of the manifest with one value changed or removed."""
    manifest = copy.deepcopy(manifest)
    inner = manifest
    for key in place[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return manifest


BROKEN = {
    "root allowed": ((*POD, "securityContext", "runAsNonRoot"), GONE, "may run as root"),
    "user 0": ((*SECURITY, "runAsUser"), 0, "may run as root"),
    "the container's setting wins": ((*SECURITY, "runAsNonRoot"), False, "may run as root"),
    "privileged": ((*SECURITY, "privileged"), True, "is privileged"),
    "escalation": ((*SECURITY, "allowPrivilegeEscalation"), GONE, "may gain privileges"),
    "writable root": ((*SECURITY, "readOnlyRootFilesystem"), False, "can be written"),
    "capabilities kept": ((*SECURITY, "capabilities"), {}, "capabilities"),
    "capability added": ((*SECURITY, "capabilities", "add"), ["NET_ADMIN"], "capabilities"),
    "no seccomp": ((*POD, "securityContext", "seccompProfile"), GONE, "seccomp"),
    "no limit on memory": ((*CONTAINER, "resources", "limits", "memory"), GONE, "limit on memory"),
    "no requests": ((*CONTAINER, "resources", "requests"), GONE, "requests no CPU"),
    "no threads": ((*CONTAINER, "resources", "limits", "cpu"), GONE, "RESNET_THREADS"),
    "no startup probe": ((*CONTAINER, "startupProbe"), GONE, "startupProbe"),
    "no readiness probe": ((*CONTAINER, "readinessProbe"), GONE, "readinessProbe"),
    "no liveness probe": ((*CONTAINER, "livenessProbe"), GONE, "livenessProbe"),
    "probe of a port alone": ((*CONTAINER, "readinessProbe"), {"tcpSocket": {"port": "http"}}, "readinessProbe"),
    "latest": ((*CONTAINER, "image"), "resnet:latest", "no fixed tag"),
    "no tag": ((*CONTAINER, "image"), "registry:5000/resnet", "no fixed tag"),
    "token": ((*POD, "automountServiceAccountToken"), GONE, "token"),
    "service links": ((*POD, "enableServiceLinks"), GONE, "enableServiceLinks"),
    "host network": ((*POD, "hostNetwork"), True, "hostNetwork"),
    "host folder": ((*POD, "volumes", 0), {"name": "cache", "hostPath": {"path": "/"}}, "folder of the node"),
    "killed while it drains": ((*POD, "terminationGracePeriodSeconds"), 40, "is killed after 40 s"),
}


def test_the_good_manifests_have_no_faults():
    assert faults(GOOD) == [] and faults(RUNTIME) == []


@pytest.mark.parametrize("place, value, fault", BROKEN.values(), ids=BROKEN.keys())
def test_one_broken_place_is_one_fault(place, value, fault):
    found = faults(broken(GOOD, place, value))
    assert len(found) == 1 and fault in found[0], found


def test_the_rules_see_the_runtime_of_kserve():
    place = ("spec", "containers", 0)
    assert "may run as root" in faults(broken(RUNTIME, (*place, "securityContext", "runAsNonRoot"), GONE))[0]
    args = [argument.replace("timeout=20s", "timeout=60s") for argument in RUNTIME["spec"]["containers"][0]["args"]]
    assert "is killed after 30 s" in faults(broken(RUNTIME, (*place, "args"), args))[0]


def test_schemas_refuse_unknown_fields_and_wrong_types():
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken(GOOD, (*CONTAINER, "livenesProbe"), {}))
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken(GOOD, (*POD, "terminationGracePeriodSeconds"), "45s"))
    with pytest.raises(jsonschema.ValidationError):
        validate(broken(RUNTIME, ("spec", "protocolVersion"), ["v1"]))
    with pytest.raises(jsonschema.ValidationError):
        validate(broken(RUNTIME, ("spec", "containers", 0, "startupProbe", "periodSeconds"), "2s"))
