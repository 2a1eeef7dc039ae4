"""Metrics are declared once, in one shape, and documented from there."""

import itertools
import math
import re
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from market.monitoring.__main__ import differences
from market.monitoring.page import modules
from services.aggregator.metrics import CANDLE_LATENCY, OfCandles
from streaming import metrics
from streaming.catalogue import LATENCY_BUCKETS_S, Declared, Label, begin_at_zero, counter, declared_in, histogram
from streaming.gauges import StageGauges
from streaming.ops import Health

ALL = [declared for module in modules().values() for declared in declared_in(module)]
SERIES_OF_A_PROCESS = 12_000


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_docs_and_dashboards_are_what_the_code_says() -> None:
    assert differences() == []


@pytest.mark.parametrize("declared", ALL, ids=lambda declared: declared.name)
def test_a_declaration_is_whole(declared: Declared) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]+", declared.name)
    assert declared.meaning
    assert declared.unit
    assert declared.name.endswith("_total") == (declared.kind == "counter")
    assert ("seconds" in declared.name) == (declared.unit == "seconds")
    assert not declared.meaning.endswith(".")


def test_names_are_declared_once() -> None:
    names = [declared.name for declared in ALL]
    assert sorted(names) == sorted(set(names))
    assert len(names) > 60


def test_no_process_can_have_too_many_series() -> None:
    partitions = {"stage_lag_records": 3 * 64}
    for module in modules().values():
        series = sum(partitions.get(declared.name, declared.series) for declared in declared_in(module))
        assert series < SERIES_OF_A_PROCESS / 4, module.__name__


def test_every_latency_is_resolved_from_1_ms_to_10_s() -> None:
    latencies = [declared for declared in ALL if declared.kind == "histogram"]
    assert len(latencies) >= 8
    for declared in latencies:
        bounds = [bound for bound in declared.buckets if 0.001 <= bound <= 10]
        assert (bounds[0], bounds[-1]) == (0.001, 10), declared.name
        assert all(b <= 2.5 * a for a, b in itertools.pairwise(bounds)), declared.name
        assert 0.5 in bounds, "the objectives count what is under it"


def test_what_comes_beyond_the_declared_values_is_other() -> None:
    metric = counter("test_bounded_total", "times", "Of a test", Label("reason", "two at most", 2))
    begin_at_zero(metric, ["a", "b"])
    for reason in ("a", "c", "d", "e"):
        metric.labels(reason).inc()
    assert [value("test_bounded_total", reason=reason) for reason in ("a", "b", "c", "other")] == [1, 0, None, 3]
    with pytest.raises(TypeError):
        metric.labels(reason="a")
    REGISTRY.unregister(metric)


def test_no_second_series_tells_when_a_counter_began() -> None:
    metric = histogram("test_plain_seconds", "seconds", "Of a test")
    metric.observe(0.003)
    assert value("test_plain_seconds_created") is None
    assert value("test_plain_seconds_bucket", le="0.005") == 1
    assert tuple(LATENCY_BUCKETS_S) == tuple(metric._upper_bounds[:-1])
    REGISTRY.unregister(metric)


def test_health_is_a_series_of_each_check() -> None:
    health, healthy = Health(), [True]
    health.add("loop", lambda: (healthy[0], "detail"))
    assert value("service_health", check="loop") == 1
    healthy[0] = False
    assert value("service_health", check="loop") == 0


def partition(stage: str, *, clock_s: float, read_s: float = 0) -> SimpleNamespace:
    return SimpleNamespace(
        stage=SimpleNamespace(name=stage),
        processor=SimpleNamespace(clock=round(clock_s * 1e6)),
        emitter=SimpleNamespace(emitted=2, suppressed=1),
        snapshots=SimpleNamespace(versions={"A": 1, "B": 1}),
        state_records=10,
        read_ms=round(read_s * 1e3),
    )


def test_gauges_of_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.gauges.time", SimpleNamespace(time=lambda: 1_000.0))
    own = {
        ("in", 0): partition("gauged", clock_s=990, read_s=995),
        ("in", 1): partition("gauged", clock_s=999, read_s=900),
    }
    gauges = StageGauges(lambda: own, ["gauged"])  # type: ignore[arg-type, return-value]
    gauges.show(own, {("in", 0): 5, ("in", 1): 0})  # type: ignore[arg-type]
    assert value("stage_clock_age_seconds", stage="gauged") == 10, "the one furthest back counts"
    assert value("stage_lag_seconds", stage="gauged") == 5, "the other has nothing left to read"
    assert value("stage_lag_records", stage="gauged", partition="0") == 5
    assert value("stage_state_symbols", stage="gauged") == 4
    assert value("stage_state_records", stage="gauged") == 20
    assert value("stage_partitions", stage="gauged") == 2
    del own["in", 0]
    gauges.show(own, {("in", 1): 0})  # type: ignore[arg-type]
    assert value("stage_lag_records", stage="gauged", partition="0") is None, "it is another's now"
    assert value("stage_lag_seconds", stage="gauged") == 0
    own.clear()
    assert math.isnan(value("stage_clock_age_seconds", stage="gauged") or 0)


def test_candles_are_counted_once_a_run() -> None:
    counts, labels = OfCandles("crypto", {0: "500ms", 1: "1s"}), {"market": "crypto", "interval": "1s"}
    before = [
        value(name, **labels) or 0
        for name in ("candles_total", "candles_revised_total", "candle_latency_seconds_count")
    ]
    for end in (1_000_000, 2_000_000):
        counts.closed(1, end, 0)
    counts.closed(1, 1_000_000, 1)
    counts.report(2_300_000)
    counts.report(2_400_000)
    after = [
        value(name, **labels) or 0
        for name in ("candles_total", "candles_revised_total", "candle_latency_seconds_count")
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 1]
    assert CANDLE_LATENCY.labels("crypto", "1s")._sum.get() == pytest.approx(0.3)
    assert metrics.MARKET.at_most == 2
