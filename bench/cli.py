"""The command ``python -m bench``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench import machine
from bench.buffered import measure_buffer
from bench.candles import LIMITS, lines, measure_candles, missed
from bench.console import fail, print_report, reported, whole_numbers
from bench.contests import decode, feed, join, peers
from bench.context import PARTITIONS, SYMBOLS, Bench, Choices, say
from bench.endtoend import measure_end_to_end
from bench.latency import measure_latency
from bench.memory import measure_memory
from bench.pipeline.command import pipeline
from bench.recording import simulated
from bench.recovery import measure_recovery
from bench.scale.command import scale
from bench.stages import STAGES, measure_stages
from streaming.logs import configure_logs

NAMES: Final = (*STAGES, "end-to-end", "latency")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def bench() -> None:
    """Measures the product as shipped, each figure beside a floor of the same run (see docs/performance.md)."""


@app.command()
def stages(  # noqa: PLR0917 - typer reads the options from the parameters
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    trades: Annotated[int, typer.Option(min=10_000, help="trades in the recording that stages are fed")] = 300_000,
    runs: Annotated[int, typer.Option(min=1, help="runs of each rate; medians are reported")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="of latency measured at each rate, 5 s discarded")] = 20.0,
    rates: Annotated[str, typer.Option(help="trades a second of the live feed, for latency")] = "1000,5000",
    burst: Annotated[float, typer.Option(min=1, help="busiest second / mean of the live feed; 1 is steady")] = 1.0,
    only: Annotated[str | None, typer.Option(help=f"measure only one of: {', '.join(NAMES)}")] = None,
    partitions: Annotated[int, typer.Option(min=1, help="of every topic")] = PARTITIONS,
) -> None:
    """Events/s of each stage and end to end, and latency at fixed rates.

    Starts a Kafka and a PostgreSQL of its own in a temporary folder, or uses those that KAFKA_BOOTSTRAP_SERVERS and
    POSTGRES_DSN name: there it deletes topics `bench.*` and schemas `bench_*`. A run that began on a busy machine, or
    whose floor shows that it was not quiet, says void and why.
    """
    if only not in (None, *NAMES):
        fail(f"--only takes one of {', '.join(NAMES)}")
    choices = Choices(trades, runs, seconds, whole_numbers(rates), burst, only, partitions)
    report = reported(choices, lambda where: {"options": _options(choices), "results": _measure(where)})
    print_report(report, as_json=as_json)


@app.command()
def recovery(
    symbols: Annotated[int, typer.Option(min=1, help="whose state is restored")] = 10_000,
    rates: Annotated[str, typer.Option(help="trades a second; each is a run of its own")] = "500,5000",
) -> None:
    """Seconds from a kill -9 of the aggregator to its next candles (JSON), the session time-out included.

    15 minutes of ratios are written first, 500,000 at most, so that a whole revision horizon must be read again.
    """
    found = whole_numbers(rates)
    _print_measured(lambda where: [measure_recovery(where, symbols, rate) for rate in found])


@app.command()
def memory(
    rate: Annotated[int, typer.Option(min=1, help="trades a second of the live feed")] = 5_000,
    minutes: Annotated[int, typer.Option(min=3)] = 10,
    horizon: Annotated[int, typer.Option(min=1, help="REVISION_HORIZON_S")] = 60,
) -> None:
    """Resident size of each service at minute 2 and at the end (JSON)."""
    _print_measured(lambda where: measure_memory(where, rate, minutes, horizon))


@app.command()
def candles(
    symbols: Annotated[int, typer.Option(min=1)] = 10_000,
    rate: Annotated[int, typer.Option(min=20, help="trades a second of log time")] = 500,
    minutes: Annotated[int, typer.Option(min=1, help="of log time; 16 fill the revision horizon")] = 16,
    buffered: Annotated[int, typer.Option(min=1, help="1 s candles of one symbol that are kept readable")] = 86_400,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of lines")] = False,
) -> None:
    """Cost of all intervals and features in one process: µs a trade and a candle, KiB a symbol; MB of a day of 1 s.

    Needs no servers. Takes a few minutes; ``missed`` names what is above its limit.
    """
    load = machine.load_before()
    configure_logs("bench", "WARNING")
    say(f"{buffered:,} candles of 1 s")
    kept = measure_buffer(buffered)
    found = measure_candles(symbols, rate, minutes)
    report = machine.alone(load) | {
        "void": machine.load_reasons(load), "results": found | {"buffer": kept},
        "limits": LIMITS, "missed": missed(found, kept),
    }  # fmt: skip
    print(json.dumps(report, indent=2) if as_json else "\n".join(lines(report)))


def _print_measured(measure: Callable[[Bench], Any]) -> None:
    """Start servers, measure, and print the result with its circumstances."""
    print(json.dumps(reported(Choices(), lambda where: {"results": measure(where)}), indent=2))


for command in (peers, join, decode, feed, pipeline, scale):
    app.command()(command)


@app.command()
def show(
    report: Annotated[Path, typer.Argument(help="what `--json` printed where a table is the usual", exists=True)],
) -> None:
    """Print the table of a report kept as JSON."""
    print_report(json.loads(report.read_text(encoding="utf-8")), as_json=False)


def _measure(where: Bench) -> dict[str, Any]:
    choices = where.choices
    results: dict[str, Any] = {}
    if choices.only != "latency":
        files = simulated(where)
        results |= measure_stages(where, files)
        if choices.wants("end-to-end"):
            results["end-to-end"] = measure_end_to_end(where, files)
    if choices.wants("latency"):
        results["latency"] = measure_latency(where)
    return results


def _options(choices: Choices) -> dict[str, Any]:
    return {"trades": choices.trades, "runs": choices.runs, "symbols": SYMBOLS, "partitions": choices.partitions,
            "feed_burst": choices.burst, "configuration": "default"}  # fmt: skip
