"""What a contest found, as figures and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from bench.peers.contenders import LOOP, OURS
from bench.peers.contest import Runs
from bench.peers.job import Job
from bench.peers.market import Scale
from bench.report import heading
from bench.stats import rates_summary, share_of, uneven


def figures(job: Job, scale: Scale, found: list[Runs]) -> dict[str, Any]:
    """One number of symbols: every contender's rates, and our share of each one's, run by run."""
    ours = next((runs for runs in found if runs.contender.name == OURS), None)
    floor = next((runs.rates for runs in found if runs.contender.name == LOOP and runs.failed is None), [])
    return {
        "symbols": scale.symbols,
        "partitions": scale.partitions,
        "event_time_trades_per_s": scale.rate,
        "void": uneven(floor, "hand-written loop's") if floor else [],
        "contenders": {runs.contender.name: _figures(job, runs, ours) for runs in found},
    }


def missed(results: list[dict[str, Any]]) -> list[str]:
    """What is required and was not reached, or could not be measured."""
    return [
        f"{result['symbols']}.{name}"
        for result in results
        for name, one in result["contenders"].items()
        if one["failed"] or (OURS in result["contenders"] and (one["ours_to_it"] or 0) < (one["required"] or 0))
    ]


def table(report: dict[str, Any]) -> str:
    """The whole report."""
    return "\n".join(_lines(report))


def _figures(job: Job, runs: Runs, ours: Runs | None) -> dict[str, Any]:
    contender, rates = runs.contender, runs.rates if runs.failed is None else []
    comparable = ours is not None and ours is not runs and bool(rates) and ours.failed is None
    return {
        "label": contender.label,
        "version": contender.version,
        "trades": runs.trades,
        f"{job.compared}_checked_equal": runs.outputs if rates else 0,
        "rates": rates_summary(rates, "trades/s") if rates else None,
        "cpu_us_per_trade": round(median(runs.costs), 2) if rates else None,
        "ours_to_it": share_of(ours.rates, rates) if comparable and ours else None,
        "required": contender.required,
        "failed": runs.failed,
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    yield from heading(
        report, f"Python {machine['python']}, {machine['java']}, Kafka {machine['kafka']}, "
        f"librdkafka {machine['librdkafka']}",
    )  # fmt: skip
    yield from (f"VOID: {result['symbols']:,} symbols: {r}" for result in report["results"] for r in result["void"])
    for result in report["results"]:
        yield ""
        yield from _result(result)
    yield ""
    yield f"missed: {', '.join(report['missed']) or 'none'}"


def _result(result: dict[str, Any]) -> Iterator[str]:
    yield (f"{result['symbols']:,} symbols, {result['partitions']} partitions, "
           f"{result['event_time_trades_per_s']:,} trades/s of event time")  # fmt: skip
    columns = f"{'trades/s':>10} {'CPU us each':>12} {'ours / it':>10} {'required':>9}"
    yield f"{'one process each':<62} {columns}   runs; trades given"
    for one in result["contenders"].values():
        name = f"{one['label']} ({one['version']})" if one["version"] else one["label"]
        if one["failed"]:
            yield f"{name:<62} FAILED: {one['failed']}"
            continue
        share = "" if one["ours_to_it"] is None else f"{one['ours_to_it']:.2f}"
        required = "" if one["required"] is None else f">= {one['required']:g}"
        runs = ", ".join(f"{rate:,}" for rate in one["rates"]["runs"])
        rate, cost = one["rates"]["median"], one["cpu_us_per_trade"]
        yield f"{name:<62} {rate:>10,} {cost:>12.2f} {share:>10} {required:>9}   {runs}; {one['trades']:,}"
