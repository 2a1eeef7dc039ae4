"""The command: settings from the environment, as the services read them, then one check after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from pydantic import ValidationError

from market.doctor import feed, servers
from market.doctor.report import Finding, as_json, failed, print_findings
from market.shell import DEFAULT_DATA, DataDir, fail
from market.stack import running_servers
from marketdata.calendar import new_york_hours
from marketdata.restvendor import ticker_of
from marketdata.topics import MARKETS
from services.ingest.settings import IngestSettings
from services.sink.settings import SinkSettings


def doctor(
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="try the connection even where an ingest may use it")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Check key, plan, connection, clock, Kafka, database and disk, each with its remedy; status 1 if one fails.

    The vendor allows one connection a key and cluster. It is tried for some seconds, and only while no ingest runs.
    """
    try:
        ingest, sink = IngestSettings(), SinkSettings()
    except ValidationError as error:
        fail(f"the settings are not valid: {error}")
    if found := running_servers(data_dir.absolute()):
        sink = sink.model_copy(update=_unless_set(sink, postgres_dsn=found.dsn))
        ingest = ingest.model_copy(update=_unless_set(ingest, kafka_bootstrap_servers=found.bootstrap))
    findings = examine(ingest, sink, data_dir, force=force)
    if json:
        print(as_json(findings))
    else:
        print_findings(findings)
    raise typer.Exit(failed(findings))


def _unless_set(settings: IngestSettings | SinkSettings, **values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in settings.model_fields_set}


def examine(
    ingest: IngestSettings,
    sink: SinkSettings,
    data_dir: Path,
    *,
    force: bool = False,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """All checks in the order in which they are printed; ``now`` is the host's clock in s."""
    ours, in_use = _kafka(ingest, sink)
    theirs = _feed(ingest, None if force else in_use, now)
    database = servers.check_database(sink.postgres_dsn, sink.database_schema)
    disk = servers.check_disk({"MARKET_DATA": data_dir, "SPOOL_DIR": ingest.spool})
    return [*theirs, *ours, *database, *disk]


def _kafka(ingest: IngestSettings, sink: SinkSettings) -> tuple[list[Finding], str | None]:
    """The findings about Kafka, and why the feed's connection must be left alone (None: it need not be)."""
    bootstrap, topics = ingest.kafka_bootstrap_servers, ingest.topics
    found = servers.kafka_topics(bootstrap)
    if isinstance(found, Finding):
        skipped = Finding("topics", "skip", "Kafka does not answer")
        return [found, skipped], "Kafka does not answer, so an ingest may be using it"
    findings = [
        Finding("kafka", "ok", bootstrap),
        servers.check_topics(found, topics, ingest.partitions, sink.intervals),
    ]
    try:
        held = topics.lease in found and servers.ingest_runs(bootstrap, topics.lease)
    except KafkaException as error:
        return findings, f"the lease cannot be read ({error}), so an ingest may be using it"
    return findings, "an ingest runs and uses it" if held else None


def _feed(ingest: IngestSettings, in_use: str | None, now: Callable[[], float]) -> list[Finding]:
    hours = new_york_hours()
    firsts = {"stocks": ingest.symbols, "crypto": ingest.crypto_symbols}
    symbols = {market: next((s for s in firsts[market] if s != "*"), _DEFAULTS[market]) for market in MARKETS}
    answers = {
        market: feed.ask(ingest.rest, ticker_of(market, symbols[market]), ingest.api_key, now) for market in MARKETS
    }
    key = feed.check_key(answers, ingest.rest, bundled=ingest.bundled)
    clock = feed.check_clock(answers)
    if key.status == "fail":
        rest = [
            Finding(f"{what} {market}", "skip", "see key") for market in MARKETS for what in ("plan", "connection")
        ]
        return [key, *rest, clock]
    findings = [key]
    for market in MARKETS:
        is_open = market == "crypto" or ingest.bundled or hours.is_regular(int(now() * 1e6))
        delay = ingest.stocks_feed_delay_s if market == "stocks" else ingest.crypto_feed_delay_s
        plan = feed.check_plan(market, answers[market], delay, is_open=is_open)
        findings += _connection(ingest, market, symbols[market], plan, in_use)
    return [*findings, clock]


def _connection(
    ingest: IngestSettings, market: str, symbol: str, plan: Finding, in_use: str | None
) -> tuple[Finding, Finding]:
    """The plan, and the connection where it may be tried; the socket can say more of the plan than REST."""
    check = f"connection {market}"
    if plan.status == "fail":
        return plan, Finding(check, "skip", f"see plan {market}")
    if in_use is not None:
        return plan, Finding(check, "skip", f"not tried: {in_use} (--force tries it, and may cut it off)")
    channel = f"{'T' if market == 'stocks' else 'XT'}.{symbol}"
    found = feed.check_connection(market, ingest.url(market), ingest.api_key, channel)
    if found.check == plan.check:
        return found, Finding(check, "skip", f"see plan {market}")
    return plan, found


_DEFAULTS = {"stocks": "MARA", "crypto": "BTC-USD"}
