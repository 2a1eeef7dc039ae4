"""An independent consumer: notes when each record arrived, and keeps it to be read after the run."""

from __future__ import annotations

import gc
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import psycopg
import structlog
from confluent_kafka import OFFSET_END, KafkaException, TopicPartition
from psycopg import sql

from bench.context import Bench

log = structlog.stdlib.get_logger()
POLL_S = 0.01
FETCHING = {"fetch.min.bytes": 100_000, "fetch.wait.max.ms": 3}
"""Answered at each record of three topics it would take a tenth of the machine, for itself and of the broker: so it
sees what comes up to 3 ms later."""


class Arrival(NamedTuple):
    """One record as it came: wall clock in µs, then its place and bytes."""

    at_us: int
    topic: str
    partition: int
    offset: int
    value: bytes


class Observer:
    """Reads topics from their end in a thread of its own, as any client could.

    Python's collector of garbage rests meanwhile: to look through all that is kept here takes it 100 ms and more, by
    which everything that arrived would have been late.
    """

    def __init__(self, bench: Bench, topics: Sequence[str]) -> None:
        self.arrivals: list[Arrival] = []
        self.error: str | None = None
        self._consumer = bench.broker.consumer(FETCHING)
        self._places = [
            TopicPartition(topic, p, OFFSET_END) for topic in topics for p in range(bench.broker.partitions)
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        gc.disable()
        self._consumer.assign(self._places)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        gc.enable()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._take()
        except KafkaException as error:
            self.error = str(error)

    def _take(self) -> None:
        first = self._consumer.poll(0.1)
        if first is None:
            return
        batch = [first, *self._consumer.consume(1_000, 0)]  # what is there already: waiting to fill would add delay
        now = time.time_ns() // 1_000
        for m in batch:
            if m.error() is not None:
                raise KafkaException(m.error())
            self.arrivals.append(Arrival(now, m.topic() or "", m.partition() or 0, m.offset() or 0, m.value() or b""))


@dataclass(frozen=True, slots=True)
class Stored:
    """When each partition's position was first seen where: rows and position become visible together."""

    seen: dict[int, list[tuple[int, int]]]
    """Partition -> (next offset, wall clock in µs), both ascending."""

    def visible_at(self, partition: int, offset: int) -> int | None:
        """Wall clock in µs at which the row of this record was first seen; None if it was not."""
        steps = self.seen.get(partition, [])
        index = bisect_left(steps, (offset + 1, 0))
        return steps[index][1] if index < len(steps) else None


class RowWatch:
    """Polls the sink's positions in one topic every 10 ms, in a thread of its own."""

    def __init__(self, bench: Bench, schema: str, topic: str) -> None:
        self.stored = Stored({})
        self._dsn = bench.servers.dsn
        self._query = sql.SQL("SELECT partition, next_offset FROM {}.sink_positions WHERE topic = {}").format(
            sql.Identifier(schema), sql.Literal(topic)
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stop.wait(POLL_S):
                found = connection.execute(self._query, prepare=True).fetchall()
                now = time.time_ns() // 1_000
                for partition, offset in found:
                    steps = self.stored.seen.setdefault(partition, [])
                    if not steps or offset > steps[-1][0]:
                        steps.append((offset, now))
