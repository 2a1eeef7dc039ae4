"""The table of a report, and what voids one."""

from typing import Any

import pytest

from bench.machine import load_reasons
from bench.report import table
from bench.stages import Stage
from bench.stats import Steady

_SUMMARY = {"count": 10, "p50_ms": 1.5, "p99_ms": 20.25, "p999_ms": 30.0, "max_ms": 1_234.0}
_LATENCIES = (
    "floor", "trade_to_ratio_published", "trade_to_ratio_arrived", "trade_to_forming_arrived",
    "candle_1s_from_end", "candle_1s_beyond_allowance", "row_1s_from_end", "row_1s_beyond_allowance",
)  # fmt: skip


def stage(**floor_rates: list[float]) -> dict[str, Any]:
    found = Stage("trades/s", events_share=0.5)
    for run, rate in enumerate((50_000, 60_000, 40_000)):
        found.add(Steady(rate * 2, 2.0), **{name: rates[run] for name, rates in floor_rates.items()})
    return found.report()


def report(results: dict[str, Any], void: list[str]) -> dict[str, Any]:
    machine = dict.fromkeys(
        ("cores", "cpu", "memory_gib", "system", "python", "kafka", "librdkafka", "postgres"), "x"
    )
    return {"date": "d", "command": "c", "commit": "abc", "load_before": 0.1, "machine": machine, "void": void,
            "results": results}  # fmt: skip


def test_a_stage_reports_events_records_and_its_share_of_each_floor() -> None:
    found = stage(consume=[100_000, 100_000, 100_000], copy=[50_000, 80_000, 50_000])

    assert found["records"] == {"unit": "records/s", "median": 50_000, "runs": [50_000, 60_000, 40_000]}
    assert found["events"]["median"] == 25_000  # half of the records are trades
    assert found["share_of_floor"] == {"consume": 0.5, "copy": 0.8}
    assert "copy" in found["void"][0]
    assert len(found["void"]) == 1


def test_the_table_shows_rates_latencies_and_every_reason_to_void() -> None:
    latency = dict.fromkeys(_LATENCIES, _SUMMARY) | {
        "symbols": 200, "allowance_ms": 250.0, "seconds": 20.0, "late_trades_share": 0.0123, "revisions_share": None,
        "rate_seen": 950, "void": ["the floor was slow"],
    }  # fmt: skip

    text = table(report({"ratio": stage(copy=[1, 1, 1]), "latency": {"1000": latency}}, ["busy machine"]))

    for part in (
        "25,000",
        "50,000",
        "1,234.0",
        "20.2",
        "1.23%",
        "950/s",
        "VOID: busy machine",
        "VOID: the floor was",
    ):
        assert part in text


def test_a_measurement_left_out_leaves_no_empty_table() -> None:
    assert "events/s" not in table(report({}, []))


@pytest.mark.parametrize(("load", "void"), [(0.0, False), (1.0, False), (1.01, True)])
def test_a_load_above_one_before_the_start_voids_the_run(load: float, void: bool) -> None:
    assert bool(load_reasons(load)) is void
