"""The report of the whole pipeline as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.pipeline.lags import CANDLE_ROWS
from bench.report import server_heading


def table(report: dict[str, Any]) -> Iterator[str]:
    """The whole report."""
    yield from server_heading(report)
    for found in report["results"].values():
        yield ""
        yield from _rate(found)
    yield ""
    best = report["highest_sustained"]
    yield (f"highest sustained: {f'{best:,} trades/s' if best else 'none'} "
           f"with {report['options']['partitions']} partitions, required {report['required']:,}")  # fmt: skip
    yield f"missed: {', '.join(report['missed']) or 'none'}"


def _rate(found: dict[str, Any]) -> Iterator[str]:
    said = "sustained" if found["sustained"] else "NOT SUSTAINED"
    yield (f"at {found['rate_asked']:,} trades/s   {said}   the feed sent {found['rate_at_source']:,}/s, "
           f"{found['candles_per_s']:,} candles/s were finished")  # fmt: skip
    yield from (f"  because {reason}" for reason in found["why_not"])
    yield f"  {'lag':<20} {'mean trades':>12} {'seconds':>8} {'slope, % of rate':>17}"
    for name, lag in found["lag"].items():
        of = found["candles_per_s"] if name == CANDLE_ROWS else found["rate_asked"]
        slope = lag["slope_percent_of_rate"]
        yield (f"  {name:<20} {lag['mean']:>12,} {lag['mean'] / of if of else 0.0:>8.2f} "
               f"{'-' if slope is None else format(slope, '.2f'):>17}"
               f"{'   (candles)' if name == CANDLE_ROWS else ''}")  # fmt: skip
    yield "  CPU s/s: " + ", ".join(
        f"{name} {'-' if value is None else format(value, '.2f')}"
        for name, value in found["cpu_seconds_per_second"].items()
    )
    checked = ", ".join(f"{count:,} {what}" for what, count in found["checked"].items())
    yield f"  checked: {checked or 'nothing'}; {'all right' if checked and not found['wrong'] else 'NOT RIGHT'}"
