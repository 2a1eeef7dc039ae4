"""How long a trader waits for final candles, by the broker's clock and by the table's.

*Lateness* of a candle: from its end to the broker's time of writing its first version (LogAppendTime). Nothing is
taken off it: the allowance of the clock, 250 ms, is in it. A *silence*: between two such times in one partition of
candles.stocks.1s, whose symbols trade every second, so that a second is usual. The *age* of a partition's rows: from
the end of the newest 1 s candle in the table until the next one is there, as a reader of the database sees it.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

import msgspec
import psycopg
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition
from psycopg import sql

INTERVAL: Final = "1s"
LOOK_S: Final = 0.25
SILENT_S: Final = 20.0
AGES: Final = """
SELECT src_partition, extract(epoch FROM clock_timestamp() - max("end"))::float8 FROM {}.candles
WHERE interval = '1s' AND market = 'stocks' AND "end" > now() - interval '2 minutes' GROUP BY src_partition
"""


class PauseError(RuntimeError):
    """What is needed for a measure is not there."""


@dataclass(frozen=True, slots=True)
class FirstVersion:
    """The first version of a candle; times in seconds since the epoch."""

    place: tuple[str, int]
    symbol: str
    end: float
    written: float


@dataclass(slots=True)
class Worst:
    """The worst of a span of time, in seconds; ``late_of`` says whose lateness it is."""

    candles: int = 0
    late: float = 0.0
    late_of: str = ""
    silence: float = 0.0
    age: float = 0.0

    @property
    def pause(self) -> float:
        """The longest of the three."""
        return max(self.late, self.silence, self.age)

    def __str__(self) -> str:
        return (
            f"{self.candles:>6,} candles, the latest {self.late:5.2f} s after its end ({self.late_of}), "
            f"longest silence {self.silence:5.2f} s, oldest rows {self.age:5.2f} s"
        )


@dataclass(slots=True)
class Span:
    """A named span of time, in seconds since the epoch."""

    name: str
    began: float
    ended: float = float("inf")
    worst: Worst = field(default_factory=Worst)


class RowAges:
    """Looks four times a second how old the newest rows of each partition are; from ``with`` to its end."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._query = sql.SQL(AGES).format(sql.Identifier(schema))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="row-ages", daemon=True)
        self.seen: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    @property
    def newest(self) -> float:
        """The age as of the last look in seconds; infinite before the first row."""
        return self.seen[-1][1] if self.seen else float("inf")

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stopping.wait(LOOK_S):
                ages = connection.execute(self._query).fetchall()
                self.seen.append((time.time(), max((age for _, age in ages), default=float("inf"))))


def first_versions(bootstrap: str, topics: list[str], partitions: int) -> Iterator[FirstVersion]:
    """The first version of every candle in ``topics``, those of a partition in their order.

    Raises:
        PauseError: the broker gave no records, or they bear another time than that of their writing.
    """
    seen = set()
    for place, written_ms, value in _records(bootstrap, [(topic, p) for topic in topics for p in range(partitions)]):
        candle = msgspec.json.decode(value)
        if candle.get("kind") != "candle":
            continue
        name = (place[0], candle["symbol"], candle["hours"], candle["timestamp_in"])
        if name not in seen:  # later versions, and repeats of a writer that was replaced
            seen.add(name)
            yield FirstVersion(place, candle["symbol"], candle["end"] / 1e6, written_ms / 1e3)


def _records(bootstrap: str, places: list[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], int, bytes]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "pauses", "enable.auto.commit": False})
    with contextlib.closing(consumer):
        ends = {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=10)[1] for place in places}
        waiting = {place for place, end in ends.items() if end}
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in waiting])
        heard = time.monotonic()
        while waiting:
            for message in consumer.consume(5_000, 1.0):
                place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
                kind, written = message.timestamp()
                if message.error() is not None or kind != TIMESTAMP_LOG_APPEND_TIME:
                    raise PauseError(f"{place} at {offset}: {message.error() or 'not the time of its writing'}")
                heard = time.monotonic()
                if offset < ends[place]:
                    yield place, written, message.value() or b""
                if offset >= ends[place] - 1:
                    waiting.discard(place)
            if time.monotonic() - heard > SILENT_S:
                raise PauseError(f"no more records of {sorted(waiting)} within {SILENT_S:g} s")


def measure(finals: Iterator[FirstVersion], ages: RowAges, spans: list[Span]) -> None:
    """Fill in the worst of each span: a candle belongs to the one it ended in, a silence to where it began."""
    writes: dict[tuple[str, int], list[float]] = defaultdict(list)
    for final in finals:
        if final.place[0].endswith(f"candles.stocks.{INTERVAL}"):
            writes[final.place].append(final.written)
        for worst in _of(spans, final.end):
            worst.candles += 1
            if final.written - final.end > worst.late:
                worst.late, worst.late_of = final.written - final.end, f"{final.symbol} of {final.place[0]}"
    for times in writes.values():
        for before, after in itertools.pairwise(times):
            for worst in _of(spans, before):
                worst.silence = max(worst.silence, after - before)
    for at, age in ages.seen:
        for worst in _of(spans, at):
            worst.age = max(worst.age, age)


def _of(spans: list[Span], at: float) -> Iterator[Worst]:
    return (span.worst for span in spans if span.began <= at < span.ended)
