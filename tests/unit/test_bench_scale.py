"""How costs grow: slopes, what fails a run, and the report."""

from typing import Any

import pytest

from bench.candles import measure_candles
from bench.scale.engine import INTERVALS
from bench.scale.slopes import engine_slopes, worker_slopes
from bench.scale.workers import Series, summary, unlike
from bench.tables import as_text
from marketdata.intervals import levels
from marketdata.topics import DEFAULT_INTERVALS


def series(stage: str, partitions: int, workers: int, *rates: float, **more: Any) -> Series:
    return Series(stage, partitions, workers, list(rates), [20.0] * len(rates), [0.5] * len(rates), **more)


def engine(**given: float) -> dict[str, Any]:
    return {"us_per_trade": 5.0, "us_per_closed_candle": 70.0, "kib_per_symbol_without_horizon": 40.0,
            "candles_per_trade": 8.0, "symbols": 1_000, "intervals": 13} | given  # fmt: skip


def test_rates_are_fitted_against_workers_and_against_partitions() -> None:
    rows = [
        summary(series("ratio", partitions, workers, 10_000.0 * workers + 10 * partitions))
        for partitions in (6, 12)
        for workers in (1, 2, 3)
    ]

    found = {(one["of"], one["what"], one["against"]): one for one in worker_slopes(rows)}

    assert found["ratio, 6 partitions", "trades_per_s", "workers"]["slope"] == pytest.approx(10_000)
    assert found["ratio, 6 partitions", "trades_per_s", "workers"]["r2"] == 1
    assert found["ratio, 6 partitions", "trades_per_s", "workers"]["at_zero"] == pytest.approx(60)
    assert found["ratio, 1 worker", "trades_per_s", "partitions"]["slope"] == pytest.approx(10)
    assert found["ratio, 2 workers", "trades_per_s", "partitions"]["r2"] is None  # two points
    assert found["ratio, 6 partitions", "cpu_us_per_trade", "workers"]["r2"] is None  # always the same


def test_what_failed_and_what_stands_alone_has_no_slope() -> None:
    rows = [summary(series("ratio", 6, 1, 5.0)), summary(series("ratio", 6, 2, failed="lost one"))]

    assert worker_slopes(rows) == []


def test_memory_grows_by_a_symbols_share_of_all() -> None:
    rows = [engine(symbols=n, kib_per_symbol_without_horizon=40 + 1_000 / n) for n in (10, 100, 1_000)]

    found = {
        one["what"]: one for one in engine_slopes({"symbols": rows, "intervals": [engine(), engine(intervals=1)]})
    }

    assert found["kib_in_all"] | {"r2": None} == {
        "of": "engine", "what": "kib_in_all", "against": "symbols", "points": 3, "slope": 40.0, "at_zero": 1_000.0,
        "r2": None,
    }  # fmt: skip


def test_a_run_reports_the_median_and_a_failure_no_rate() -> None:
    assert summary(series("ratio", 6, 1, 10.0, 30.0, 20.4))["trades_per_s"] == 20
    failed = summary(series("ratio", 6, 1, 10.0, failed="its output is not that of the first run"))
    assert "trades_per_s" not in failed
    assert failed["failed"].startswith("its output")


def test_a_stage_must_write_as_many_records_whatever_its_partitions() -> None:
    same = [series("ratio", 6, 1, 1.0, records={"ratios": 5}), series("ratio", 12, 1, 1.0, records={"ratios": 5})]
    other = series("ratio", 48, 1, 1.0, records={"ratios": 4})

    assert unlike(same) == []
    assert unlike([*same, other]) == ["ratio: other numbers of records with other partitions"]
    assert unlike([*same, series("aggregator", 48, 1, 1.0, records={"ratios": 4})]) == []


@pytest.mark.parametrize("number", INTERVALS)
def test_each_number_of_intervals_can_be_made(number: int) -> None:
    assert len(levels(tuple(name for name in DEFAULT_INTERVALS[:number] if name != "1d"))) == min(number, 12)


def test_fewer_intervals_close_fewer_candles() -> None:
    one = measure_candles(symbols=10, rate=20, minutes=1, intervals=("500ms",))
    all_of_them = measure_candles(symbols=10, rate=20, minutes=1)

    assert one["trades"] == all_of_them["trades"]
    assert one["closed_candles"] < all_of_them["closed_candles"]
    assert one["candles_with_features"] == 0


def test_the_table_has_rates_failures_and_slopes() -> None:
    rows = [summary(series("ratio", 6, 1, 20_000.0)), summary(series("ratio", 6, 2, failed="lost one"))]
    found = {"symbols": [engine(), engine(symbols=10)], "intervals": [engine(), engine(intervals=1)]}
    machine = dict.fromkeys(
        ("cores", "cpu", "memory_gib", "system", "python", "kafka", "librdkafka", "postgres"), "x"
    )
    text = as_text({
        "date": "d", "command": "c", "commit": "abc", "load_before": 0.1, "machine": machine, "void": [],
        "results": {"workers": rows, "engine": found, "slopes": engine_slopes(found)}, "missed": ["ratio.6.2"],
    })  # fmt: skip

    for part in ("20,000", "FAILED: lost one", "kib_in_all", "R^2", "missed: ratio.6.2", "13"):
        assert part in text
