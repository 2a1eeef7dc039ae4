"""The report of ``scale`` as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.report import heading, server_heading

_ENGINE = ("us_per_trade", "us_per_closed_candle", "kib_per_symbol_without_horizon", "candles_per_trade")


def table(report: dict[str, Any]) -> Iterator[str]:
    """The whole report."""
    machine = report["machine"]
    yield from server_heading(report) if "kafka" in machine else heading(report, f"Python {machine['python']}")
    results = report["results"]
    if "workers" in results:
        yield ""
        yield from _workers(results["workers"])
    if "engine" in results:
        yield ""
        yield from _engine(results["engine"])
    yield ""
    yield f"{'slope of':<26} {'figure':<32} {'for each of':<12} {'slope':>12} {'at zero':>12} {'R^2':>7}"
    for line in results["slopes"]:
        yield (f"{line['of']:<26} {line['what']:<32} {line['against']:<12} {line['slope']:>12,g} "
               f"{line['at_zero']:>12,g} {'-' if line['r2'] is None else format(line['r2'], '.3f'):>7}")  # fmt: skip
    yield ""
    yield f"missed: {', '.join(report['missed']) or 'none'}"


def _workers(rows: list[dict[str, Any]]) -> Iterator[str]:
    columns = f"{'trades/s':>10} {'CPU us a trade':>15} {'busiest has':>12}   runs"
    yield f"{'stage':<12} {'partitions':>10} {'workers':>8} {columns}"
    for row in rows:
        head = f"{row['stage']:<12} {row['partitions']:>10} {row['workers']:>8}"
        if row["failed"]:
            yield f"{head} FAILED: {row['failed']}"
            continue
        yield (f"{head} {row['trades_per_s']:>10,} {row['cpu_us_per_trade']:>15.2f} {row['busiest_share']:>12.0%}   "
               f"{', '.join(f'{rate:,}' for rate in row['runs'])}")  # fmt: skip


def _engine(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield (f"{'symbols':>8} {'intervals':>10} {'us a trade':>11} {'us a candle':>12} {'KiB a symbol':>13} "
           f"{'candles a trade':>16}")  # fmt: skip
    for rows in found.values():
        for row in rows:
            trade, candle, kib, each = (row[name] for name in _ENGINE)
            yield (f"{row['symbols']:>8,} {row['intervals']:>10} {trade:>11.2f} {candle:>12.2f} {kib:>13.1f} "
                   f"{each:>16.2f}")  # fmt: skip
