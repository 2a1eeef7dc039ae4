"""A real Prometheus scrapes the running stack: rules and dashboards must find what they ask for."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from market.native import Child, KafkaBroker, choose_ports
from market.stack import Options, Servers, Services
from tests.support.collector import Collector
from tests.support.monitoring import GRAFANA, NOT_INSTALLED, PROMETHEUS, jmx_agent, load, panel_queries, rules
from tests.support.promql import selectors

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
EXCUSED_AT_MOST = 5
SCRAPE_S = 2
HEALTHY_S = 5
"""Of trades before the feed is hurt."""
PATIENCE_S = 60
FAULTS = ({"fault": "garbage"}, {"fault": "drop", "cluster": "stocks"}, {"fault": "rest_error", "count": 1})
PROGRAMS = ("prometheus", "prometheus-postgres-exporter")


@dataclass
class Watched:
    """The addresses of a Prometheus and of the database of the stack that it watches."""

    url: str
    dsn: str
    collector: Collector

    def query(self, expression: str) -> list[Any]:
        """The series that an instant query returns now."""
        query = urllib.parse.urlencode({"query": expression})
        address = f"{self.url}/api/v1/query?{query}"
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own address
            data = json.load(answer)["data"]
        return [data["result"]] if data["resultType"] == "scalar" else data["result"]

    def rows(self, statement: str) -> int:
        """How many rows a panel's SQL returns, with Grafana's macros and variables put in."""
        statement = re.sub(r"\$__timeFilter\(([^)]+)\)", r"\1 > now() - INTERVAL '1 hour'", statement)
        statement = statement.replace("$symbol", "MARA").replace("$interval", "1s")
        assert "$" not in statement, statement
        with psycopg.connect(self.dsn) as connection:
            return len(connection.execute(statement.encode()).fetchall())

    def finds(self, query: str, *, is_sql: bool) -> bool:
        """Whether a query of a dashboard returns anything."""
        if is_sql:
            return self.rows(query) > 0
        return bool(self.query(query.replace("$__rate_interval", "30s")))


def missing(names: set[str], finds: Callable[[str], bool]) -> set[str]:
    """Those of ``names`` that are not found, however often one looks for a while."""
    deadline = time.monotonic() + PATIENCE_S
    while left := {name for name in names if not finds(name)}:
        if time.monotonic() > deadline:
            return left
        names = left
        time.sleep(SCRAPE_S)
    return set()


def configuration(ports: dict[str, int], path: Path) -> Path:
    """deploy/prometheus/native.yml with the ports that this stack has got."""
    config = load(PROMETHEUS / "native.yml")
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), f"{SCRAPE_S}s")
    config["rule_files"] = [str(PROMETHEUS / pattern) for pattern in config["rule_files"]]
    for scrape in config["scrape_configs"]:
        if port := ports.get(scrape["job_name"]):
            scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    path.write_text(yaml.safe_dump(config))
    return path


def hurt_the_feed(rest_url: str) -> None:
    """What data quality panels are there for: something unreadable, a lost connection, a failing REST."""
    for fault in FAULTS:
        body = json.dumps(fault).encode()
        urllib.request.urlopen(f"{rest_url}/admin/faults", body, timeout=5).close()  # noqa: S310 - our own address


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest, not_run: Callable[[str], None]) -> Path:
    """The exporter's jar, where all that the test needs is there."""
    jar = jmx_agent()
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking or jar is None:
        reason = f"{', '.join(lacking)}: {NOT_INSTALLED}" if lacking else "the JMX exporter could not be fetched"
        not_run(f"{request.node.nodeid}: rules and dashboards on a running stack: {reason}")
        pytest.skip(reason)
    return jar


@pytest.fixture(scope="module")
def watched(programs: Path, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The stack under trades for a while, with its exporters, and a Prometheus that has scraped them."""
    folder = tmp_path_factory.mktemp("monitoring")
    jmx, exporter, prometheus = choose_ports(None, None, None)
    agent = f"-javaagent:{programs}={jmx}:{PROMETHEUS / 'kafka-jmx.yml'}"
    with contextlib.ExitStack() as closing:
        broker = KafkaBroker(folder / "kafka", java_options=(agent,))
        closing.callback(broker.stop)
        broker.start()
        environment = closing.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("TRADE_FREQUENCY", "200")
        environment.setenv("FEED_ADMIN", "1")
        collector = closing.enter_context(Collector())
        environment.setenv("TRACING_SAMPLE_RATE", "0.1")
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        services = Services(
            Options(folder, partitions=2, schema="monitored", environment={"SPOOL_DIR": str(folder / "spool")}),
            Servers(broker.bootstrap, postgres),
            print,
        )
        closing.callback(drop_schema, postgres)
        closing.callback(services.stop)
        services.start()
        separator = "&" if "?" in postgres else "?"
        child = Child.start(
            "exporter", [PROGRAMS[1], f"--web.listen-address=127.0.0.1:{exporter}"], folder / "exporter.log",
            env={"DATA_SOURCE_NAME": f"{postgres}{separator}sslmode=disable"},
        )  # fmt: skip
        closing.callback(child.stop)
        ports = services.metrics | {"kafka": jmx, "postgres": exporter, "prometheus": prometheus}
        command = [
            PROGRAMS[0], f"--config.file={configuration(ports, folder / 'prometheus.yml')}",
            f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{prometheus}",
        ]  # fmt: skip
        child = Child.start("prometheus", command, folder / "prometheus.log")
        closing.callback(child.stop)
        services.wait_healthy(120)
        time.sleep(HEALTHY_S)
        dsn = f"{postgres}{separator}options=-csearch_path%3Dmonitored"
        watched = Watched(f"http://127.0.0.1:{prometheus}", dsn, collector)
        # Nothing that was so at the first scrape counts as an increase.
        before = 'dead_letters_total{job="ingest"} == 0'
        assert missing({before}, lambda query: bool(watched.query(query))) == set()
        hurt_the_feed(services.rest_url)
        yield watched


def drop_schema(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS monitored CASCADE")


def test_every_service_and_exporter_is_scraped(watched: Watched) -> None:
    jobs = ("ingest", "ratio", "aggregator", "sink", "kafka", "postgres", "prometheus")
    assert missing(set(jobs), lambda job: bool(watched.query(f'up{{job="{job}"}} == 1'))) == set()
    found = watched.query('up{job=~"signals|gateway"}')
    assert {series["value"][1] for series in found} <= {"0", "1"}


def test_every_selector_of_the_rules_finds_a_series(watched: Watched) -> None:
    asked = {selector for rule in rules() for selector in selectors(rule["expr"])}
    assert len(asked) > 40
    assert missing(asked, lambda selector: bool(watched.query(selector))) == set()


def test_every_query_of_the_dashboards_finds_something(watched: Watched) -> None:
    queries = {where: (query, is_sql) for where, query, is_sql in panel_queries()}
    excused = {entry["query"]: entry["reason"] for entry in load(GRAFANA / "without-data.yml")}
    assert len(excused) <= EXCUSED_AT_MOST
    assert set(excused) <= set(queries)
    assert all(excused.values())
    wanted = set(queries) - set(excused)
    assert missing(wanted, lambda where: watched.finds(queries[where][0], is_sql=queries[where][1])) == set()
    print(f"{len(wanted)} of {len(queries)} queries returned series or rows")
    for where in excused:
        assert not watched.finds(queries[where][0], is_sql=queries[where][1]), f"{where} needs no excuse any more"


def test_traces_lead_from_the_socket_to_the_row(watched: Watched) -> None:
    path = ["ingest", "ratio", "sink"]

    def found(name: str) -> bool:
        return any(name in spans for spans in watched.collector.paths())

    assert missing({" > ".join(path), " > ".join([*path[:2], "stocks"]), "ingest > crypto"}, found) == set()


def test_no_alert_fires_but_the_one_for_the_unreadable_frame(watched: Watched) -> None:
    """The faults above were that, a gap that was filled and a call of REST that was tried again."""

    def firing() -> set[str]:
        return {series["metric"]["alertname"] for series in watched.query('ALERTS{alertstate="firing"}')}

    assert missing({"DeadLetters"}, lambda name: name in firing()) == set()
    assert firing() == {"DeadLetters"}
