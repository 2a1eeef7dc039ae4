"""The command ``python -m bench``."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from confluent_kafka import KafkaException
from psycopg import OperationalError

from bench import machine
from bench.buffered import measure_buffer
from bench.candles import LIMITS, lines, measure_candles, missed
from bench.context import (
    PARTITIONS,
    SYMBOLS,
    Bench,
    BenchError,
    Choices,
    kafka_of,
    say,
    servers_of,
    temporary_directory,
)
from bench.decoding.measure import measure_decode
from bench.decoding.readers import NAMES as READERS
from bench.decoding.report import figures as decode_figures
from bench.decoding.report import table as decode_table
from bench.endtoend import measure_end_to_end
from bench.kafka import Broker
from bench.latency import measure_latency
from bench.memory import measure_memory
from bench.peers.candles import CANDLES
from bench.peers.job import Job
from bench.peers.joined import JOIN
from bench.peers.market import SCALES
from bench.peers.measure import measure_contest
from bench.peers.report import table as peers_table
from bench.recovery import measure_recovery
from bench.report import table
from bench.stages import STAGES, measure_stages
from bench.stats import TooShortError
from feed.recorder import record
from feed.symbols import DEFAULT_SYMBOLS, symbol_list
from market.native import NativeError
from streaming.logs import configure_logs

NAMES: Final = (*STAGES, "end-to-end", "latency")
RECORDING_SEED: Final = 1
RECORDING_RATE: Final = 2_500
RECORDING_START_MS: Final = 1_709_650_800_000  # 2024-03-05T15:00:00Z, in the regular session
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
) -> None:
    """Events/s of each stage and end to end, and latency at fixed rates.

    Starts a Kafka and a PostgreSQL of its own in a temporary folder, or uses those that KAFKA_BOOTSTRAP_SERVERS and
    POSTGRES_DSN name: there it deletes topics `bench.*` and schemas `bench_*`. A run that began on a busy machine, or
    whose floor shows that it was not quiet, says void and why.
    """
    if only not in (None, *NAMES):
        fail(f"--only takes one of {', '.join(NAMES)}")
    choices = Choices(trades, runs, seconds, _whole_numbers(rates, "--rates"), burst, only)
    load = machine.load_before()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # as Ctrl-C: stops what was started
    configure_logs("bench", "WARNING")
    try:
        report = _run(choices, load)
    except (BenchError, NativeError, TooShortError, KafkaException, OperationalError, OSError) as error:
        fail(str(error))
    print(json.dumps(report, indent=2) if as_json else table(report))


@app.command()
def peers(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    only: Annotated[
        str | None, typer.Option(help=f"some of: {', '.join(CANDLES.names)}; separated by commas")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each contender, in turn; medians are reported")] = 5,
    trades: Annotated[
        int, typer.Option(min=10_000, help="for the fastest; slower ones get the first of them")
    ] = CANDLES.trades,
    symbols: Annotated[str, typer.Option(help="numbers of symbols, each with an input of its own")] = "200,10000",
) -> None:
    """Job (b), 15 s candles by symbol to an output topic: ours, peers and a hand-written loop on the same input.

    Each peer's environment is made at its first use, from PyPI and Maven. Starts a Kafka of its own or uses that of
    KAFKA_BOOTSTRAP_SERVERS, where it deletes topics `bench.*`. Every output is checked: a contender whose candles are
    not all there, once and right, has failed.
    """
    _contest(CANDLES, only, symbols, Choices(trades=trades, runs=runs), as_json=as_json)


@app.command()
def join(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    only: Annotated[str | None, typer.Option(help=f"some of: {', '.join(JOIN.names)}; separated by commas")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each contender, in turn; medians are reported")] = 5,
    trades: Annotated[
        int, typer.Option(min=10_000, help="for the fastest; slower ones get the first of them")
    ] = JOIN.trades,
    symbols: Annotated[str, typer.Option(help="numbers of symbols, each with an input of its own")] = "200",
) -> None:
    """Job (c), each stock trade joined as-of with BTC to an output topic: ours, a hand-written loop and Faust.

    Environments and Kafka are as for `peers`. Every output is checked: a contender has failed whose ratios are not
    all there, once each, under the right key and in the right partition, and equal to the last bit.
    """
    _contest(JOIN, only, symbols, Choices(trades=trades, runs=runs), as_json=as_json)


def _contest(job: Job, only: str | None, symbols: str, choices: Choices, *, as_json: bool) -> None:
    """Measure and print a contest."""
    names = _some_of(job.names, only)
    numbers = _whole_numbers(symbols, "--symbols")
    scales = [SCALES[number] for number in numbers if number in SCALES]
    if len(scales) != len(numbers):
        fail(f"--symbols takes some of {', '.join(map(str, SCALES))}")
    with _kafka_alone(choices) as (where, head):
        report = measure_contest(where, job, scales, names, head)
    print(json.dumps(report, indent=2) if as_json else peers_table(report))


@app.command()
def decode(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    only: Annotated[str | None, typer.Option(help=f"some of: {', '.join(READERS)}; separated by commas")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each, in turn; medians are reported")] = 5,
    trades: Annotated[int, typer.Option(min=10_000, help="stock trades in the topic")] = 500_000,
) -> None:
    """Job (a), taking a topic's records and decoding them: the product's reader beside others, in one process.

    Kafka is as for `peers`. Every reader's records are counted and their times added up: one that loses, repeats or
    misreads a record has failed.
    """
    names = _some_of(READERS, only)
    with _kafka_alone(Choices(trades=trades, runs=runs)) as (where, head):
        found, beside = measure_decode(where, names)
    report = decode_figures(head | beside, found)
    print(json.dumps(report, indent=2) if as_json else decode_table(report))


@contextlib.contextmanager
def _kafka_alone(choices: Choices) -> Iterator[tuple[Bench, dict[str, Any]]]:
    """Where to measure, and the report's head; what goes wrong inside ends the command with a clear last line."""
    load = machine.load_before()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # as Ctrl-C: stops what was started
    configure_logs("bench", "WARNING")
    try:
        with temporary_directory() as directory, kafka_of(directory) as (servers, own):
            where = Bench(servers, Broker(servers.bootstrap, PARTITIONS), directory, choices, "bench.")
            yield where, machine.circumstances(load, servers.dsn, own) | {"void": machine.load_reasons(load)}
    except (BenchError, NativeError, KafkaException, OSError) as error:
        fail(str(error))


@app.command()
def recovery(
    symbols: Annotated[int, typer.Option(min=1, help="whose state is restored")] = 10_000,
    rates: Annotated[str, typer.Option(help="trades a second; each is a run of its own")] = "500,5000",
) -> None:
    """Seconds from a kill -9 of the aggregator to its next candles (JSON), the session time-out included.

    15 minutes of ratios are written first, 500,000 at most, so that a whole revision horizon must be read again.
    """
    found = _whole_numbers(rates, "--rates")
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
    load = machine.load_before()
    configure_logs("bench", "WARNING")
    try:
        with temporary_directory() as directory, servers_of(directory) as (servers, own):
            where = Bench(servers, Broker(servers.bootstrap, PARTITIONS), directory, Choices(), "bench.")
            head = machine.circumstances(load, servers.dsn, own)
            results = measure(where)
    except (BenchError, NativeError, KafkaException, OperationalError, OSError) as error:
        fail(str(error))
    print(json.dumps(head | {"void": machine.load_reasons(load), "results": results}, indent=2))


@app.command()
def show(
    report: Annotated[Path, typer.Argument(help="what `--json` printed of a table", exists=True)],
) -> None:
    """Print the table of a report kept as JSON."""
    found = json.loads(report.read_text(encoding="utf-8"))
    shown = peers_table if "missed" in found else decode_table if "readers" in found else table
    print(shown(found))


def _run(choices: Choices, load: float) -> dict[str, Any]:
    with temporary_directory() as directory, servers_of(directory) as (servers, own):
        where = Bench(servers, Broker(servers.bootstrap, PARTITIONS), directory, choices, "bench.")
        head = machine.circumstances(load, servers.dsn, own)
        results = _measure(where)
    return head | {"options": _options(choices), "void": machine.load_reasons(load), "results": results}


def _measure(where: Bench) -> dict[str, Any]:
    choices = where.choices
    results: dict[str, Any] = {}
    if choices.only != "latency":
        files = _recording(where)
        results |= measure_stages(where, files)
        if choices.wants("end-to-end"):
            results["end-to-end"] = measure_end_to_end(where, files)
    if choices.wants("latency"):
        results["latency"] = measure_latency(where)
    return results


def _recording(where: Bench) -> list[Path]:
    """The simulator's market at 2,500 trades a second, 200 symbols; the same bytes every time."""
    trades = where.choices.trades
    say(f"recording {trades:,} simulated trades of {SYMBOLS} symbols")
    symbols = symbol_list(list(DEFAULT_SYMBOLS), SYMBOLS)
    found = record(where.directory / "recording", symbols, RECORDING_SEED, trades=trades,
                   seconds=max(1, trades // RECORDING_RATE), start_ms=RECORDING_START_MS)  # fmt: skip
    return list(found.values())


def _options(choices: Choices) -> dict[str, Any]:
    return {"trades": choices.trades, "runs": choices.runs, "symbols": SYMBOLS, "partitions": PARTITIONS,
            "feed_burst": choices.burst, "configuration": "default"}  # fmt: skip


def _some_of(names: tuple[str, ...], only: str | None) -> tuple[str, ...]:
    chosen = tuple(only.split(",")) if only else names
    if unknown := set(chosen) - set(names):
        fail(f"--only takes some of {', '.join(names)}, not {', '.join(sorted(unknown))}")
    return chosen


def _whole_numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        fail(f"{option} takes whole numbers separated by commas, not {text!r}")
    if min(found) < 1:
        fail(f"{option} must be above 0")
    return found


def fail(text: str) -> NoReturn:
    """A clear last line and status 1."""
    say(f"bench: {text}")
    raise typer.Exit(1)
