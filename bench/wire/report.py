"""What the readers reached, as figures and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from bench.report import heading
from bench.stats import rates_summary, share_of, uneven
from bench.wire.contenders import OURS, PARSED, Runs


def figures(floor: Runs, found: list[Runs]) -> dict[str, Any]:
    """The server's and every reader's rates, and our share of each one's, run by run."""
    ours = next((runs for runs in found if runs.contender is OURS and runs.failed is None), None)
    return {runs.contender.name: _figures(runs, ours) for runs in (floor, *found)}


def too_slow(floor: Runs, found: list[Runs]) -> list[str]:
    """The reasons to void a run in which the server, not its reader, may have set the pace."""
    return [
        f"run {number}: the server alone sent {sent:,.0f} trades/s, not more than {runs.contender.name} took"
        for runs in found
        for number, (rate, sent) in enumerate(zip(runs.rates, floor.rates, strict=False), 1)
        if rate >= sent
    ]


def unquiet(found: list[Runs]) -> list[str]:
    """The reason to void a run in which the official client's own rate fell: the server is done too soon to tell."""
    return [
        reason
        for runs in found
        if runs.contender is PARSED and runs.failed is None
        for reason in uneven(runs.rates, "official client's")
    ]


def missed(results: dict[str, Any]) -> list[str]:
    """What is required and was not reached, or could not be measured."""
    return [
        name
        for name, one in results.items()
        if one["failed"] or (OURS.name in results and (one["ours_to_it"] or 0) < (one["required"] or 0))
    ]


def table(report: dict[str, Any]) -> str:
    """The whole report."""
    return "\n".join(_lines(report))


def _figures(runs: Runs, ours: Runs | None) -> dict[str, Any]:
    rates, measured = runs.rates, runs.failed is None
    compared = measured and ours is not None and ours is not runs
    return {
        "label": runs.contender.label,
        "package": runs.contender.package,
        "rates": rates_summary(rates, "trades/s") if measured else None,
        "cpu_us_per_trade": round(median(runs.costs), 2) if measured and runs.contender.reads else None,
        "server_cpu_us_per_trade": round(median(runs.server_costs), 2) if measured else None,
        "ours_to_it": share_of(ours.rates, rates) if compared and ours else None,
        "required": runs.contender.required,
        "failed": runs.failed,
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    machine, stream = report["machine"], report["stream"]
    yield from heading(
        report, f"Python {machine['python']}, Kafka {machine['kafka']}, librdkafka {machine['librdkafka']}, "
        f"{stream['official_client']}",
    )  # fmt: skip
    yield ""
    yield (f"{report['options']['trades']:,} trades of {stream['symbols']:,} symbols, {stream['crypto_trades']:,} of "
           f"them crypto, in {stream['frames']:,} frames; {stream['bytes'] / 1e6:,.0f} MB")  # fmt: skip
    columns = f"{'trades/s':>10} {'CPU us each':>12} {'server':>7} {'ours / it':>10} {'required':>9}"
    yield f"{'one process each':<52} {columns}   runs"
    yield from map(_line, report["results"].values())
    yield ""
    yield f"missed: {', '.join(report['missed']) or 'none'}"


def _line(one: dict[str, Any]) -> str:
    if one["failed"]:
        return f"{one['label']:<52} FAILED: {one['failed']}"
    cost = "" if one["cpu_us_per_trade"] is None else f"{one['cpu_us_per_trade']:.2f}"
    share = "" if one["ours_to_it"] is None else f"{one['ours_to_it']:.3f}"
    required = "" if one["required"] is None else f">= {one['required']:g}"
    runs = ", ".join(f"{rate:,}" for rate in one["rates"]["runs"])
    return (f"{one['label']:<52} {one['rates']['median']:>10,} {cost:>12} {one['server_cpu_us_per_trade']:>7.2f} "
            f"{share:>10} {required:>9}   {runs}")  # fmt: skip
