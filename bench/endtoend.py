"""From the recording's file to rows, at full speed, with every service on the machine at once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.context import Bench, say
from bench.rows import Stored, drop_schema
from bench.service import running, sample
from bench.stages import file_settings
from bench.stats import rates_summary, steady
from marketdata.topics import MARKETS


def measure_end_to_end(bench: Bench, files: list[Path]) -> dict[str, Any]:
    """Trades a second from the first record in the log to the last row; ingest starts when the others wait."""
    rates, from_start = [], []
    for run in range(bench.choices.runs):
        rate, whole = _once(bench, files, f"bench_e2e_{run}")
        rates.append(rate)
        from_start.append(whole)
        say(f"end-to-end {run + 1}: {rate:,.0f} trades/s")
    return {
        "events": rates_summary(rates, "trades/s"),
        "with_start_of_ingest": rates_summary(from_start, "trades/s"),
        "void": [],
    }


def _once(bench: Bench, files: list[Path], schema: str) -> tuple[float, float]:
    logs = [bench.topics.trades(market) for market in MARKETS]
    drop_schema(bench, schema)
    bench.broker.recreate(bench.specs())
    with ExitStack() as stack:
        order = ("sink", "aggregator", "ratio")
        services = {name: stack.enter_context(running(bench, name, DATABASE_SCHEMA=schema)) for name in order}
        for service in services.values():
            service.wait_healthy()
        stored = stack.enter_context(Stored(bench, schema))
        ingest = stack.enter_context(running(bench, "ingest", **file_settings(files)))

        def complete() -> bool:
            topics = bench.topics
            return (
                ingest.finished()
                and bench.broker.followed(topics.trades("stocks"), topics.ratios)
                and bench.broker.followed(topics.ratios, topics.progress("stocks"))
                and bench.broker.followed(topics.trades("crypto"), topics.progress("crypto"))
                and stored.everything()
            )

        def count() -> float:
            return bench.broker.records(*logs) + services["sink"].metric("sink_rows_total")

        samples = sample(ingest, count, complete)
    trades = sum(bench.broker.census(log)["trade"] for log in logs)
    drop_schema(bench, schema)
    whole = next(at for at, value in samples if value == samples[-1][1]) - samples[0][0]
    return trades / steady(samples).seconds, trades / whole
