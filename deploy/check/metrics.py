"""The metrics that docs/metrics.md lists, and those that a query of Prometheus names."""

import re

from manifests import DEPLOY

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def samples():
    """The names of all samples, with their suffixes."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+)", (DEPLOY.parent / "docs/metrics.md").read_text(), re.MULTILINE)
    return {name + suffix for name, kind in rows for suffix in SUFFIXES[kind]}


def metric_names(query):
    """The metrics in a query: not those in a label, and not what a rule records."""
    return set(re.findall(r"(?<![\w:])(?:resnet|process)_\w+(?![\w:])", query))


def unknown_metrics(query):
    return metric_names(query) - samples()
