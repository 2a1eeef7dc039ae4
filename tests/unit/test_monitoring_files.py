"""Rules, runbooks and dashboards hold together; promtool checks and tests the rules."""

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from market.monitoring.page import modules
from streaming.catalogue import declared_in
from tests.support.monitoring import (
    GRAFANA,
    NOT_INSTALLED,
    PROMETHEUS,
    ROOT,
    RUNBOOKS,
    dashboards,
    load,
    panel_queries,
    rules,
)
from tests.support.promql import names, selectors

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
FOREIGN = re.compile(r"up$|process_|kafka_|jvm_|pg_")
"""Of Prometheus itself, of its Python client, of the exporters: whether those exist is tried on a running stack."""


def known_metrics() -> set[str]:
    known = set(RECORDED)
    for module in modules().values():
        for declared in declared_in(module):
            ends = ("_bucket", "_count", "_sum") if declared.kind == "histogram" else ("",)
            known |= {declared.name + end for end in ends}
    return known


def test_selectors_of_an_expression() -> None:
    expression = (
        'sum by (le, job) (rate(a_bucket{le="0.5", x!="y}"}[5m])) / on (i) group_left () b:c and not_fn > bool 1e3'
    )
    assert selectors(expression.replace("y}", "y")) == {'a_bucket{le="0.5", x!="y"}', "b:c", "not_fn"}
    assert names('label_replace(up{a="b"}, "market", "$1", "stage", "(.+)") or vector(1)') == {"up"}


def test_promtool_checks_the_rules_and_the_configurations(not_run: Callable[[str], None]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        not_run(f"promtool check of deploy/prometheus: {NOT_INSTALLED}")
        pytest.skip(NOT_INSTALLED)
    for command in (
        ["check", "rules", *map(str, sorted((PROMETHEUS / "rules").glob("*.yml")))],
        ["check", "config", str(PROMETHEUS / "prometheus.yml"), str(PROMETHEUS / "native.yml")],
        ["test", "rules", *map(str, sorted((PROMETHEUS / "tests").glob("*.yml")))],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_means_and_has_a_runbook(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n\n")
    assert re.search(r"\n## How to look\n\n- .+\n\n## What to do\n\n- ", page, re.DOTALL)


def test_no_runbook_without_an_alert_and_no_link_into_nothing() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)
    for page in RUNBOOKS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name} points to {link}"
        for named in re.findall(r"\bdocs/[\w/-]+\.md", page.read_text()):
            assert (ROOT / named).is_file(), f"{page.name} names {named}"


def test_every_alert_is_tested_to_fire_and_to_be_quiet() -> None:
    fires, quiet = set(), set()
    cases = [case for path in (PROMETHEUS / "tests").glob("*.yml") for case in load(path)["tests"]]
    for case in cases:
        for checked in case["alert_rule_test"]:
            (fires if checked["exp_alerts"] else quiet).add(checked["alertname"])
    assert fires == set(ALERTS)
    assert quiet == set(ALERTS)


def test_rules_and_dashboards_ask_for_metrics_that_exist() -> None:
    known, own = known_metrics(), {metric.name for metric in REGISTRY.collect()}
    asked = {f"rule {rule.get('alert') or rule['record']}": rule["expr"] for rule in rules()}
    asked |= {where: query for where, query, is_sql in panel_queries() if not is_sql}
    for where, expression in asked.items():
        for name in names(expression.replace("$__rate_interval", "1m")):
            assert name in known or FOREIGN.match(name), f"{where} asks for {name}, which is not declared"
    assert "process_cpu_seconds" in own


def test_both_configurations_differ_in_their_targets_only() -> None:
    compose, native = (load(PROMETHEUS / name) for name in ("prometheus.yml", "native.yml"))
    jobs = {}
    for config in (compose, native):
        for scrape in config["scrape_configs"]:
            (static,) = scrape.pop("static_configs")
            jobs.setdefault(scrape["job_name"], []).append(static["targets"][0].rpartition(":"))
    assert compose == native
    for (_, _, port), (host, _, same) in jobs.values():
        assert port == same
        assert host == "127.0.0.1"
    assert [jobs[name][0][2] for name in ("ingest", "ratio", "aggregator", "sink", "signals", "gateway")] == [
        str(port) for port in range(9101, 9107)
    ]


def test_dashboards_are_provisioned_and_panels_do_not_overlap() -> None:
    sources = {source["uid"] for source in load(GRAFANA / "provisioning/datasources/market.yml")["datasources"]}
    for uid, board in dashboards().items():
        assert board["uid"] == uid
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            assert {target["datasource"]["uid"] for target in panel["targets"]} <= sources
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, f"{uid}: {panel['title']} lies on another"
            assert max(x for x, _ in cells) < 24
            taken |= cells
    assert len(dashboards()) == 5
