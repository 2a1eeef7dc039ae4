"""Plays recordings through the whole pipeline in a namespace of their own, and waits until every row is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from psycopg import sql

from market.export import export_topics
from market.stack import Options, Say, Servers, Services, StackError
from marketdata.topics import DEFAULT_INTERVALS, MARKETS, Topics
from streaming.kafkaclient import client_config
from streaming.places import Place
from streaming.tails import TailError, read_tails

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: records of trades read by each stage and rows' positions, as fractions of 1."""

    logged: bool
    ratios: float
    candles: float
    rows: float

    @property
    def done(self) -> bool:
        """Whether the log is whole and everything that follows from it is stored."""
        return self.logged and min(self.ratios, self.candles, self.rows) >= 1

    def __str__(self) -> str:
        log = "written" if self.logged else "being written"
        return f"log {log} | ratios {self.ratios:.0%} | candles {self.candles:.0%} | rows {self.rows:.0%}"


class Replay:
    """One replay: services on their own namespace and schema, ingest reading files."""

    def __init__(self, options: Options, servers: Servers, say: Say, stall_timeout_s: float = 120.0) -> None:
        self._options = options
        self._servers = servers
        self._say = say
        self._stall_timeout = stall_timeout_s
        self._services = Services(options, servers, say)
        self._admin = AdminClient(client_config(servers.bootstrap))

    def run(self) -> float:
        """Play to the end and return the seconds it took.

        Raises:
            StackError: a service failed, or nothing moved for the stall time-out.
        """
        started = time.monotonic()
        try:
            self._services.start()
            self._wait()
        finally:
            self._services.stop()
        return time.monotonic() - started

    def _wait(self) -> None:
        last, moved, said = None, time.monotonic(), 0.0
        while True:
            progress = self._try_progress()
            if progress != last:
                last, moved = progress, time.monotonic()
            if progress.done:
                self._say(str(progress))
                return
            if time.monotonic() - moved > self._stall_timeout:
                raise StackError(f"nothing moved for {self._stall_timeout:.0f} s: {progress}; see the logs in "
                                 f"{self._options.data_dir / 'logs'}")  # fmt: skip
            if time.monotonic() - said > 5:
                self._say(str(progress))
                said = time.monotonic()
            time.sleep(POLL_S)

    def _try_progress(self) -> Progress:
        """The progress; "nothing yet" while the broker still places the new topics."""
        try:
            return self._progress()
        except (KafkaException, TailError):
            return Progress(logged=False, ratios=0, candles=0, rows=0)

    def _progress(self) -> Progress:
        topics = self._options.topics
        logged = self._services.finished("ingest")
        return Progress(
            logged,
            self._read_share([(topics.trades("stocks"), topics.ratios)]),
            self._read_share([
                (topics.ratios if market == "stocks" else topics.trades(market), topics.progress(market))
                for market in MARKETS
            ]),
            self._stored_share(topics),
        )  # fmt: skip

    def _read_share(self, pairs: list[tuple[str, str]]) -> float:
        """How much of each source has left its trace in the output: the last record of each source is a clock."""
        ends = self._ends([source for source, _ in pairs])
        total = sum(ends.values())
        tails = read_tails(self._servers.bootstrap, [(out, p) for _, out in pairs for p in self._numbers()], 1)
        done = sum(offset + 1 for _, offset, _ in tails.values())
        return done / total if total else 0.0

    def _stored_share(self, topics: Topics) -> float:
        ends = self._ends(export_topics(topics, DEFAULT_INTERVALS))
        total = sum(ends.values())
        query = sql.SQL("SELECT topic, partition, next_offset FROM {}.sink_positions").format(
            sql.Identifier(self._options.schema)
        )
        try:
            with psycopg.connect(self._servers.dsn) as connection:
                positions = {(topic, p): offset for topic, p, offset in connection.execute(query)}
        except psycopg.errors.UndefinedTable:
            return 0.0
        return sum(positions.get(place, 0) for place in ends) / total if total else 0.0

    def _ends(self, topics: list[str]) -> dict[Place, int]:
        wanted = {TopicPartition(topic, p): OffsetSpec.latest() for topic in topics for p in self._numbers()}
        found = self._admin.list_offsets(wanted, request_timeout=10)
        return {(place.topic, place.partition): future.result().offset for place, future in found.items()}

    def _numbers(self) -> Iterator[int]:
        return iter(range(self._options.partitions))


def drop_replay(servers: Servers, topics: Topics, schema: str, say: Callable[[str], None]) -> None:
    """Delete a replay's topics and schema."""
    admin = AdminClient(client_config(servers.bootstrap))
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(topics.namespace)]
    for future in admin.delete_topics(names).values() if names else ():
        future.result()
    with psycopg.connect(servers.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    say(f"deleted {len(names)} topics and schema {schema}")
