"""Commands for what went wrong: ``market dlq`` and ``market rebuild``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from market import dlq
from market.rebuild import Rebuild, describe
from market.shell import DEFAULT_DATA, DataDir, fail, kafka_of, say, stack_errors
from marketdata.topics import SERVICES, Topics
from services.aggregator.settings import AggregatorSettings
from streaming.tails import TailError

AWAY = (TailError, KafkaException)
dlq_app = typer.Typer(no_args_is_help=True, help="Dead letters: what no service could read.")
Service = Annotated[str | None, typer.Option(help="ingest, ratio, aggregator or sink; default: all")]
Namespace = Annotated[str, typer.Option(envvar="NAMESPACE", help="topic prefix, with its dot")]
NOTHING = "no dead letters"


@dlq_app.command("list")
def list_letters(service: Service = None, namespace: Namespace = "", data_dir: DataDir = DEFAULT_DATA) -> None:
    """Count them by service and reason."""
    letters = _letters(service, namespace, data_dir)
    if not letters:
        say(NOTHING)
        return
    print(f"{'service':<12} {'letters':>8}  {'newest (UTC)':<20} {'show':<16} reason")
    for group in dlq.groups(letters):
        newest = group.newest
        counted = f"{group.service:<12} {group.count:>8,}  {dlq.shown(newest.letter.ts):<20}"
        print(f"{counted} {newest.name:<16} {group.reason}")


@dlq_app.command("show")
def show_letter(
    name: Annotated[str, typer.Argument(help="SERVICE:NUMBER as `list` gives it, ratio:17")],
    namespace: Namespace = "",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Print one letter: why, where it stood, and its bytes."""
    service, _, number = name.partition(":")
    if not number.isdigit():
        fail(f"{name!r} is not SERVICE:NUMBER, such as ratio:17; `market dlq list` shows some")
    letters = {one.number: one for one in _letters(service, namespace, data_dir)}
    print(dlq.describe(letters.get(int(number)) or fail(f"{service} has no letter {number}")))


@dlq_app.command("replay")
def replay_letters(
    service: Annotated[str, typer.Option(help="whose letters")],
    reason: Annotated[str, typer.Option(help="only those whose reason contains this")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    namespace: Namespace = "",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Send letters through once more, after what made them unreadable was mended. Repeats do no harm."""
    with stack_errors(), kafka_of(data_dir.absolute()) as bootstrap:
        topics = Topics(namespace)
        try:
            able, unable = dlq.choose(dlq.read_letters(bootstrap, topics, _known(service)), topics, reason)
            if unable:
                say(f"{len(unable)} letters stood on derived topics: mend the trades and use `market rebuild`")
            if not able:
                fail("no letter to send")
            question = (
                f"send {len(able)} letters of {service} to {topics.retry(dlq.target(able[0].letter, topics) or '')}?"
            )
            if not yes and not (sys.stdin.isatty() and typer.confirm(question)):
                fail(f"nothing was sent ({len(able)} letters would be); --yes sends them")
            print(f"{dlq.send(bootstrap, topics, able)} letters sent")
        except AWAY as error:
            fail(f"Kafka at {bootstrap}: {error}")


def rebuild(
    symbol: Annotated[str, typer.Option(help="a stock, or a pair such as BTC-USD")],
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="UTC day")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would change")] = False,
    namespace: Namespace = "",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Compute a day's candles of one symbol anew, late trades and cancels included, and publish what changed."""
    settings = AggregatorSettings()
    with stack_errors(), kafka_of(data_dir.absolute()) as bootstrap:
        try:
            job = Rebuild(bootstrap, Topics(namespace), symbol, day.date(), intervals=settings.intervals,
                          horizon_s=settings.revision_horizon_s, carry=settings.gap_policy == "carry")  # fmt: skip
            found = job.run(say)
            for change in found.changes:
                print(describe(change))
            counts = f"{found.trades:,} trades, {found.cancels:,} cancels, {len(found.changes):,} candles differ"
            say(f"{symbol} {day:%Y-%m-%d}: {counts}" + (" (nothing written)" if dry_run else ""))
            if found.changes and not dry_run:
                say(f"{job.publish(found):,} revisions written to {Topics(namespace).rebuilt(job.market)}")
        except AWAY as error:
            fail(f"Kafka at {bootstrap}: {error}")


def _letters(service: str | None, namespace: str, data_dir: Path) -> list[dlq.Letter]:
    with stack_errors(), kafka_of(data_dir.absolute()) as bootstrap:
        try:
            return dlq.read_letters(bootstrap, Topics(namespace), None if service is None else _known(service))
        except AWAY as error:
            fail(f"Kafka at {bootstrap}: {error}")


def _known(service: str) -> str:
    return service if service in SERVICES else fail(f"{service!r} is none of {', '.join(SERVICES)}")
