"""What every manifest must have, beyond the schemas: the restricted Pod Security
Standard, limits, probes, a fixed image, and time to end. `faults` lists what is wrong."""

import re

# Kinds with a schema of Kubernetes; the others have one in schemas/.
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def pods(manifest):
    """The pod specifications in a manifest: (spec, whether KServe completes it)."""
    if manifest["kind"] == "Deployment":
        yield manifest["spec"]["template"]["spec"], False
    elif manifest["kind"] == "ClusterServingRuntime":
        yield manifest["spec"], True


def faults(manifest):
    """Sentences about what is wrong with a manifest; none if it is right."""
    found = []
    for pod, completed in pods(manifest):
        if not completed:
            found += pod_faults(pod)
        for container in pod["containers"]:
            found += [f"{container['name']}: {fault}" for fault in container_faults(container, pod)]
            found += [f"{container['name']}: {fault}" for fault in drain_faults(container, pod)]
    return found


def pod_faults(pod):
    if pod.get("automountServiceAccountToken") is not False:
        yield "a token of the API of Kubernetes is mounted"
    # A service `resnet` in the namespace would set RESNET_PORT to tcp://...
    if pod.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not false"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"{key} is set"
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield f"the volume {volume['name']} is a folder of the node"


def container_faults(container, pod):
    # The container's setting wins over the pod's.
    security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        yield "may run as root"
    if security.get("privileged"):
        yield "is privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "the root filesystem can be written"
    capabilities = security.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "capabilities are not dropped"
    if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}):
        yield "has no limit on memory"
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield "requests no CPU or no memory"
    # Without a limit, the server would take a thread for each CPU of the node.
    if "cpu" not in resources.get("limits", {}) and "RESNET_THREADS" not in environment(container):
        yield "has neither a limit on CPU nor RESNET_THREADS"
    for probe in PROBES:
        if "httpGet" not in container.get(probe, {}):
            yield f"has no {probe} over HTTP"
    if not re.search(r"(@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]*)$", container.get("image", "")):
        yield f"the image {container.get('image')} has no fixed tag"


def drain_faults(container, pod):
    """SIGKILL comes after the server's own limits."""
    arguments = dict(re.findall(r"--([\w-]+)=(\S+)", "\n".join(container.get("args", []))))
    variables = environment(container)
    delay = seconds(arguments.get("drain-delay", variables.get("RESNET_DRAIN_DELAY", "1s")))
    limit = seconds(arguments.get("drain-timeout", variables.get("RESNET_DRAIN_TIMEOUT", "25s")))
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    # 30 s is the default of Kubernetes and of KServe.
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if pause + delay + limit >= grace:
        yield f"is killed after {grace} s, but may drain for {pause + delay + limit} s"


def environment(container):
    return {variable["name"]: variable.get("value") for variable in container.get("env", [])}


def seconds(text):
    return 0 if text == "off" else int(text.removesuffix("s"))
