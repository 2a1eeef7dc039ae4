"""What each service says of itself on /health and /metrics."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from market.stack import get_health
from market.status.report import Part, ago

RECORDS: Final = ("stage_lag_records", "sink_lag_records")
SECONDS: Final = ("ingest_clock_lag_seconds", "sink_lag_seconds")
STARTED: Final = "process_start_time_seconds"
Samples = dict[str, list[float]]


def service(name: str, port: int) -> Part:
    """Health and lag of the service on ``port``; broken where nothing answers."""
    healthy, report = get_health(port)
    if not report:
        return Part(name, False, "broken", detail=f"no answer on 127.0.0.1:{port}", facts={"port": port})
    checks: Mapping[str, Any] = report.get("checks", {})
    samples = read_metrics(port)
    records = [sum(samples[metric]) for metric in RECORDS if metric in samples]
    seconds = [max(samples[metric]) for metric in SECONDS if metric in samples]
    facts: dict[str, Any] = {
        "port": port,
        "lag_records": int(records[0]) if records else None,
        "lag_seconds": round(seconds[0], 3) if seconds else None,
        "up_seconds": round(time.time() - samples[STARTED][0]) if STARTED in samples else None,
        "checks": checks,
    }
    detail = "; ".join(_describe(checks, healthy=healthy))
    return Part(name, healthy, "ok" if healthy else "broken", _lag(records, seconds), detail, facts)


def read_metrics(port: int) -> Samples:
    """The values of each sample over its labels; none where /metrics does not answer."""
    samples: Samples = {}
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read(4_000_000).decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(sample.value)
    except (OSError, ValueError):
        return samples
    return samples


def _lag(records: list[float], seconds: list[float]) -> str:
    return ", ".join([*(f"{n:,.0f} records" for n in records), *(ago(max(s, 0)) for s in seconds)])


def _describe(checks: Mapping[str, Any], *, healthy: bool) -> list[str]:
    """What is worth saying: of a healthy service its market and role, else each check that fails."""
    said = []
    for name, check in checks.items():
        if not healthy and check["ok"]:
            continue
        tell = _TELL.get(name)
        if tell is not None:
            said += tell(check["detail"], healthy)
        elif not healthy:
            said.append(f"{name}: {json.dumps(check['detail'])}")
    return said


def _data(detail: Mapping[str, Mapping[str, Any]], healthy: bool) -> list[str]:
    said = []
    for market, found in detail.items():
        age = found["seconds_since_data"]
        heard = "no data yet" if age is None else f"newest data {ago(age)} ago"
        if healthy or found["broken"]:
            said.append(f"{market} {'' if healthy else 'silent though '}{found['market']}, {heard}")
    return said


def _role(detail: Mapping[str, Any], healthy: bool) -> list[str]:
    return [f"role {detail['role']}"] if not healthy or detail["role"] != "holder" else []


_TELL: Final[Mapping[str, Callable[[Any, bool], list[str]]]] = {"data": _data, "role": _role}
