"""The report as a table for readers; ``--json`` prints the same figures whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_LATENCIES: Final = {
    "floor": "floor: bare produce -> consume",
    "trade_to_ratio_published": "trade received -> ratio written",
    "trade_to_ratio_arrived": "trade received -> ratio at a consumer",
    "trade_to_forming_arrived": "trade received -> candle under way",
    "candle_1s_from_end": "candle's end -> 1 s candle at a consumer",
    "candle_1s_beyond_allowance": "  beyond the allowance",
    "row_1s_from_end": "candle's end -> row visible",
    "row_1s_beyond_allowance": "  beyond the allowance",
}


def table(report: dict[str, Any]) -> str:
    """The whole report."""
    return "\n".join(_lines(report))


def heading(report: dict[str, Any], programs: str) -> Iterator[str]:
    """When, with what command, on what machine with which ``programs``, and why it may not count."""
    machine = report["machine"]
    yield f"{report['date']}  {report['command']}  commit {report['commit']}"
    yield (f"{machine['cores']} cores {machine['cpu']}, {machine['memory_gib']} GiB, {machine['system']}, "
           f"{programs}, load before {report['load_before']}")  # fmt: skip
    yield from (f"VOID: {reason}" for reason in report["void"])


def server_heading(report: dict[str, Any]) -> Iterator[str]:
    """The heading of a run with Kafka and PostgreSQL."""
    machine = report["machine"]
    yield from heading(
        report, f"Python {machine['python']}, Kafka {machine['kafka']}, librdkafka {machine['librdkafka']}, "
        f"PostgreSQL {machine['postgres']}",
    )  # fmt: skip


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield from server_heading(report)
    results = report["results"]
    yield from _rates(results)
    for rate, found in results.get("latency", {}).items():
        yield ""
        yield from _latency(rate, found)


def _rates(results: dict[str, Any]) -> Iterator[str]:
    stages = {name: found for name, found in results.items() if name != "latency"}
    if not stages:
        return
    yield ""
    yield f"{'alone':<12} {'events/s':>20} {'records/s':>12}   floors (records/s), our share of each"
    for name, found in stages.items():
        events, records = found["events"], found.get("records")
        floors = ", ".join(f"{floor.replace('_', ' ')} {rates['median']:,} ({found['share_of_floor'][floor]:.0%})"
                           for floor, rates in found.get("floors", {}).items())  # fmt: skip
        per_s = f"{records['median']:,}" if records else ""
        yield f"{name:<12} {events['median']:>11,} {events['unit']:<8} {per_s:>12}   {floors}".rstrip()
        yield f"{'':<12} runs: {', '.join(f'{rate:,}' for rate in events['runs'])}"
        yield from (f"{'':<12} VOID: {reason}" for reason in found["void"])


def _latency(rate: str, found: dict[str, Any]) -> Iterator[str]:
    yield (f"{f'at {int(rate):,} trades/s (ms)':<44} {'p50':>8} {'p99':>8} {'p99.9':>8} {'max':>8}   "
           f"{found['symbols']} symbols, allowance {found['allowance_ms']:g} ms, {found['seconds']:g} s")  # fmt: skip
    for name, label in _LATENCIES.items():
        yield f"{label:<44} " + " ".join(
            "       -" if found[name][key] is None else f"{found[name][key]:>8,.1f}"
            for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms")
        )
    yield (f"late trades {_percent(found['late_trades_share'])}, revisions {_percent(found['revisions_share'])}, "
           f"stock trades seen {found['rate_seen']:,}/s")  # fmt: skip
    yield from (f"VOID: {reason}" for reason in found["void"])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
