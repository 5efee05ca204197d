"""The alerts and the dashboard: their queries are valid and name metrics of the server."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from manifests import CHART, DEPLOY, render
from metrics import metric_names, unknown_metrics

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "resnet.json").read_text())
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def promtool(*arguments):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, cwd=ALERTS.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid():
    promtool("check", "rules", "alerts.yaml")


def test_the_alerts_fire_and_end_as_their_tests_say():
    promtool("test", "rules", "tests.yaml")


def test_every_burn_rate_alert_has_a_long_and_a_short_window():
    alerts = {rule["alert"]: rule["expr"] for rule in RULES if "alert" in rule and "Burn" in rule["alert"]}
    assert {name.removesuffix("Fast").removesuffix("Slow") for name in alerts} == {
        "ResnetErrorBudgetBurn",
        "ResnetLatencyBudgetBurn",
    }
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for name, query in alerts.items():
        windows = ("1h", "5m") if name.endswith("Fast") else ("6h", "30m")
        used = re.findall(r"resnet:\w+:ratio_rate\w+", query)
        assert tuple(rule.rsplit("rate", 1)[1] for rule in used) == windows
        assert set(used) <= recorded


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_the_metrics_of_a_rule_exist(rule):
    assert metric_names(rule["expr"]) or "resnet:" in rule["expr"]
    assert unknown_metrics(rule["expr"]) == set()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_the_metrics_of_a_panel_exist(panel):
    for target in panel["targets"]:
        assert metric_names(target["expr"])
        assert unknown_metrics(target["expr"]) == set()


def test_the_queries_of_the_dashboard_are_valid(tmp_path):
    def query(text):
        return re.sub(r"\$(job|instance|model)", ".*", text.replace("$__rate_interval", "5m"))

    queries = [query(target["expr"]) for panel in PANELS for target in panel["targets"]]
    assert not any("$" in text for text in queries)
    rules = [{"record": f"panel:{i}", "expr": text} for i, text in enumerate(queries)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


def test_panels_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24 and (x, y) not in cells, panel["title"]
                cells.add((x, y))


def test_the_chart_has_the_same_alerts_and_dashboard():
    manifests = render({"prometheusRule": {"enabled": True}, "grafanaDashboard": {"enabled": True}})
    assert manifests["PrometheusRule", "resnet"]["spec"] == yaml.safe_load(ALERTS.read_text())
    assert json.loads(manifests["ConfigMap", "resnet-dashboard"]["data"]["resnet.json"]) == DASHBOARD
    off = render({})
    assert not any(kind == "PrometheusRule" or name.endswith("dashboard") for kind, name in off)
    # The copies are text for text, so that a change is seen.
    assert (CHART / "files/alerts.yaml").read_text() == ALERTS.read_text()
