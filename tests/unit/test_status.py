"""What ``market status`` makes of what the parts say."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry, Gauge

from market.live import footer
from market.stack import METRICS_PORTS
from market.status import ports
from market.status.command import market
from market.status.report import Part, ago, as_json, print_table
from market.status.servers import newest_tick
from market.status.services import service
from marketdata.sessions import market_state
from marketdata.units import SECOND_US
from streaming import ops
from streaming.ops import Health, OpsServer

NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)
CLOSED = "closed, opens Monday 09:30 New York"


def stocks(**changes: Any) -> dict[str, Any]:
    found = {"market": CLOSED, "open": False, "seconds_since_data": 140_000.0, "broken": False}
    return {"stocks": found | changes}


def answer(monkeypatch: pytest.MonkeyPatch, checks: dict[str, tuple[bool, Any]], **gauges: list[float]) -> Part:
    """What is made of a service that says this."""
    registry = CollectorRegistry()
    for name, values in gauges.items():
        gauge = Gauge(name, name, ["label"], registry=registry)
        for n, value in enumerate(values):
            gauge.labels(str(n)).set(value)
    monkeypatch.setattr(ops, "REGISTRY", registry)
    health = Health()
    for name, result in checks.items():
        health.add(name, lambda result=result: result)
    server = OpsServer(health, "127.0.0.1", 0).start()
    try:
        return service("ingest", server.port)
    finally:
        server.stop()


def test_a_closed_market_is_healthy_and_says_when_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"role": (True, {"role": "holder", "epoch": 1}), "data": (True, stocks())}
    part = answer(monkeypatch, checks, ingest_clock_lag_seconds=[0.2, 0.3])
    assert (part.ok, part.state, part.lag) == (True, "ok", "0.3 s")
    assert part.detail == f"stocks {CLOSED}, newest data 39 h ago"
    assert part.facts["lag_seconds"] == 0.3


def test_silence_in_an_open_market_is_broken_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = stocks(market="open until 16:00 New York", open=True, seconds_since_data=75.0, broken=True)
    part = answer(monkeypatch, {"clocks": (True, {}), "data": (False, silent)})
    assert (part.ok, part.state) == (False, "broken")
    assert part.detail == "stocks silent though open until 16:00 New York, newest data 75 s ago"


def test_other_failing_checks_are_named_with_their_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"progress": (False, {"stalled": ["ratios/3"]}), "other": (True, {}), "data": (True, stocks())}
    part = answer(monkeypatch, checks, stage_lag_records=[3.0, 4.0])
    assert (part.ok, part.lag, part.detail) == (False, "7 records", 'progress: {"stalled": ["ratios/3"]}')


def test_a_standby_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(monkeypatch, {"role": (True, {"role": "standby", "epoch": 0})}).detail == "role standby"


def test_a_service_that_does_not_answer_is_broken() -> None:
    part = service("sink", 1)
    assert (part.ok, part.detail) == (False, "no answer on 127.0.0.1:1")


def ingest(since_trade: float | None, up: float = 1_000) -> Part:
    checks = {"data": {"detail": stocks(seconds_since_trade=since_trade)}}
    return Part("ingest", True, "ok", facts={"checks": checks, "up_seconds": up})


@pytest.mark.parametrize(
    ("age", "since_trade", "ok"),
    [(1.0, 0.5, True), (61.0, 1.5, True), (62.0, 1.5, False), (140_000, 140_000, True), (140_000, None, True)],
)
def test_rows_that_do_not_follow_the_trades_are_broken(age: float, since_trade: float | None, ok: bool) -> None:
    at = NOW - timedelta(seconds=age)
    part = newest_tick(("MARA", at, at), ingest(since_trade), NOW.timestamp())
    assert (part.ok, part.facts["age_seconds"]) == (ok, age)
    assert ("while ingest received a trade" in part.detail) is not ok


def test_a_delayed_feeds_rows_are_judged_by_when_they_were_received() -> None:
    row = ("MARA", NOW - timedelta(seconds=901), NOW - timedelta(seconds=1))
    assert newest_tick(row, ingest(0.5), NOW.timestamp()).ok
    assert newest_tick(row, None, NOW.timestamp()).ok


@pytest.mark.parametrize(("since_trade", "up", "ok"), [(0.5, 30.0, True), (0.5, 61.0, False), (None, 9_000.0, True)])
def test_no_row_at_all_is_broken_once_trades_have_come_for_a_while(
    since_trade: float | None, up: float, ok: bool
) -> None:
    assert newest_tick(None, ingest(since_trade, up)).ok is ok


def test_the_live_view_tells_of_the_exchange() -> None:
    at = datetime(2026, 11, 22, 12, tzinfo=ZoneInfo("America/New_York"))
    state = market_state(int(at.timestamp()) * SECOND_US)
    counts = {"stage_lag_records:ratio": 1_200.0, "stage_lag_records:aggregator": 3.0, "sink_lag_records": 45.0}
    assert footer("52", counts, 7, state) == (
        "-- 52 trades/s | lag: ratio 1,200, candles 3, rows 45 records | 7 candles shown | "
        "NYSE closed, opens Monday 09:30 New York"
    )
    assert footer("52", counts, 7, None).endswith("7 candles shown")


def test_the_market_is_never_broken() -> None:
    at = datetime(2026, 11, 22, 12, tzinfo=ZoneInfo("America/New_York"))
    part = market(int(at.timestamp()) * SECOND_US)
    assert (part.ok, part.state, part.detail) == (True, "closed", CLOSED)
    assert part.facts == {"opens": "2026-11-23T14:30:00+00:00"}


PARTS = [Part("ingest", True, "ok", "0.3 s", "stocks"), Part("kafka", False, "broken", detail="away", facts={"n": 1})]


def test_the_table_and_json() -> None:
    out = io.StringIO()
    print_table(PARTS, out)
    assert out.getvalue().splitlines() == [
        "part    state   lag    detail",
        "ingest  ok      0.3 s  stocks",
        "kafka   broken         away",
    ]
    assert json.loads(as_json(PARTS)) == {
        "ok": False,
        "parts": {
            "ingest": {"ok": True, "state": "ok", "detail": "stocks"},
            "kafka": {"ok": False, "state": "broken", "detail": "away", "n": 1},
        },
    }
    assert json.loads(as_json(PARTS[:1]))["ok"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (75, "75 s"),
        (120, "2 min"),
        (7_200, "2 h"),
        (140_000, "39 h"),
        (4e5, "5 days"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_ports_are_those_of_the_stack_that_runs(tmp_path: Path) -> None:
    assert ports.service_ports(tmp_path) == METRICS_PORTS
    with ports.known(tmp_path, {"sink": 1, "ratio-2": 2, "ratio": 3, "ingest": 4}):
        assert list(ports.service_ports(tmp_path).items()) == [
            ("ingest", 4),
            ("ratio", 3),
            ("ratio-2", 2),
            ("sink", 1),
        ]
    assert ports.service_ports(tmp_path) == METRICS_PORTS
    (tmp_path / ports.FILE).write_text("broken")
    assert ports.service_ports(tmp_path) == METRICS_PORTS
    assert ports.read_ports("ingest=9101, sink=9104") == {"ingest": 9101, "sink": 9104}
    for wrong in ("9101", "ingest=", "ingest=x", "=9101"):
        with pytest.raises(ValueError, match="is not NAME=PORT"):
            ports.read_ports(wrong)
