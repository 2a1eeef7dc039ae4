"""The files of deploy/prometheus and deploy/grafana, and the programs that read them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from market.native.jars import cache_dir

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RUNBOOKS = ROOT / "docs" / "runbooks"
JMX_AGENT = "io.prometheus.jmx:jmx_prometheus_javaagent:1.0.1"
NOT_INSTALLED = "not installed (Debian's packages prometheus and prometheus-postgres-exporter)"


def load(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text())


def rules() -> list[dict[str, Any]]:
    """All recording and alert rules."""
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    return [rule for path in files for group in load(path)["groups"] for rule in group["rules"]]


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panel_queries() -> Iterator[tuple[str, str, bool]]:
    """(where it stands, the query, whether it is SQL) of every panel and variable."""
    for uid, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                query = target.get("rawSql") or target["expr"]
                yield f"{uid} / {panel['title']} / {target['refId']}", query, "rawSql" in target
        for variable in board["templating"]["list"]:
            yield f"{uid} / variable {variable['name']}", variable["query"], True


def jmx_agent() -> Path | None:
    """The JMX exporter's jar, fetched by Maven the first time; None where that cannot be done."""
    jar = cache_dir() / f"{JMX_AGENT.split(':')[1]}-{JMX_AGENT.rpartition(':')[2]}.jar"
    maven = shutil.which("mvn")
    if jar.exists() or maven is None:
        return jar if jar.exists() else None
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jar.parent) as temporary:
        command = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={JMX_AGENT}", f"-DoutputDirectory={temporary}"]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
        (Path(temporary) / jar.name).rename(jar)
    return jar
