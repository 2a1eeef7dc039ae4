"""Commands that hold the product against others on the same input."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.console import fail, measuring, print_report, some_of, whole_numbers
from bench.context import Choices, kafka_of
from bench.decoding.measure import measure_decode
from bench.decoding.readers import NAMES as DECODERS
from bench.decoding.report import figures
from bench.peers.candles import CANDLES
from bench.peers.job import Job
from bench.peers.joined import JOIN
from bench.peers.market import SCALES
from bench.peers.measure import measure_contest
from bench.wire.contenders import NAMES as READERS
from bench.wire.measure import TRADES as STREAM_TRADES
from bench.wire.measure import measure_wire


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
    names = some_of(job.names, only)
    numbers = whole_numbers(symbols, "--symbols")
    scales = [SCALES[number] for number in numbers if number in SCALES]
    if len(scales) != len(numbers):
        fail(f"--symbols takes some of {', '.join(map(str, SCALES))}")
    with measuring(choices, kafka_of) as (where, head):
        report = measure_contest(where, job, scales, names, head)
    print_report(report, as_json=as_json)


def decode(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    only: Annotated[str | None, typer.Option(help=f"some of: {', '.join(DECODERS)}; separated by commas")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each, in turn; medians are reported")] = 5,
    trades: Annotated[int, typer.Option(min=10_000, help="stock trades in the topic")] = 500_000,
) -> None:
    """Job (a), taking a topic's records and decoding them: the product's reader beside others, in one process.

    Kafka is as for `peers`. Every reader's records are counted and their times added up: one that loses, repeats or
    misreads a record has failed.
    """
    names = some_of(DECODERS, only)
    with measuring(Choices(trades=trades, runs=runs), kafka_of) as (where, head):
        found, beside = measure_decode(where, names)
    report = figures(head | beside, found)
    print_report(report, as_json=as_json)


def feed(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    only: Annotated[str | None, typer.Option(help=f"some of: {', '.join(READERS)}; separated by commas")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each reader, in turn; medians are reported")] = 5,
    trades: Annotated[int, typer.Option(min=10_000, help="in the stream that each of them reads")] = STREAM_TRADES,
) -> None:
    """Trades/s off the socket: ingest, writing to Kafka, against the vendor's own client, parsed and raw.

    A replay server sends each reader the same stream as fast as it takes it; what it sends to a reader that looks at
    nothing stands beside them. The client's environment is made at its first use, from PyPI. Kafka is as for
    `peers`. Every trade is checked in the topics: a run of ours where one is not there, once and right, has failed.
    """
    names = some_of(READERS, only)
    with measuring(Choices(trades=trades, runs=runs), kafka_of) as (where, head):
        report = measure_wire(where, names, head)
    print_report(report, as_json=as_json)
