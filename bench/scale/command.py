"""The command ``python -m bench scale``."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from bench import machine
from bench.console import fail, print_report, reported, whole_numbers, working_folder
from bench.context import Bench, Choices
from bench.recording import simulated
from bench.scale.engine import measure_engine
from bench.scale.slopes import engine_slopes, worker_slopes
from bench.scale.workers import measure_workers, summary, unlike

PARTS: Final = ("workers", "engine")


def scale(  # noqa: PLR0917 - typer reads the options from the parameters
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    workers: Annotated[str, typer.Option(help="numbers of worker processes of a stage")] = "1,2",
    partitions: Annotated[str, typer.Option(help="numbers of partitions, none below that of workers")] = "6,12,48",
    trades: Annotated[int, typer.Option(min=10_000, help="that each stage is given")] = 200_000,
    runs: Annotated[int, typer.Option(min=1, help="of each combination, in turn; medians are reported")] = 3,
    minutes: Annotated[int, typer.Option(min=1, help="of log time in each run of the engine")] = 3,
    only: Annotated[str | None, typer.Option(help=f"measure only one of: {', '.join(PARTS)}")] = None,
) -> None:
    """How costs grow: least-squares slopes, each with its R^2.

    (workers) trades/s of ratio and aggregator over one prepared input, with each number of workers and partitions;
    all outputs over the same partitions must be the same. (engine) CPU time of a trade and of a closed candle, and
    memory, in one process without servers: with 10 to 10,000 symbols, and with 1 to 13 intervals.
    """
    if only not in (None, *PARTS):
        fail(f"--only takes one of {', '.join(PARTS)}")
    numbers, over = whole_numbers(workers, "--workers"), whole_numbers(partitions, "--partitions")
    if max(numbers) > min(over):
        fail("a worker without a partition has nothing to do: --workers must not be above --partitions")
    options = {"workers": numbers, "partitions": over, "trades": trades, "runs": runs, "minutes": minutes}

    def measure(where: Bench) -> dict[str, Any]:
        series = measure_workers(where, simulated(where), over, numbers)
        rows = [summary(one) for one in series]
        wrong = [f"{row['stage']}.{row['partitions']}.{row['workers']}" for row in rows if row["failed"]]
        return {"results": {"workers": rows, "slopes": worker_slopes(rows)}, "missed": wrong + unlike(series)}

    report: dict[str, Any]
    if only == "engine":
        load = machine.load_before()
        report = machine.alone(load) | {"void": machine.load_reasons(load), "results": {"slopes": []}, "missed": []}
    else:
        report = reported(Choices(trades=trades, runs=runs), measure)
    if only != "workers":
        with working_folder() as directory:
            found = measure_engine(directory, minutes)
        report["results"] = {"engine": found} | report["results"]
        report["results"]["slopes"] += engine_slopes(found)
    print_report(report | {"options": options}, as_json=as_json)
