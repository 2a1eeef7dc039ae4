"""What one transaction will write, and the intake that fills it from Kafka's records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from marketdata.records import Candle, Clock, DeadLetter, Ratio, RatioBlock, Reference, Src, Trade
from marketdata.units import DAY_US
from services.sink.metrics import DROPPED
from services.sink.positions import Move, Place, Position
from services.sink.rows import BadRowError, aggregate_line, candle_line, check_src, tick_line
from services.sink.tables import AGGREGATES, CANDLES, TICKS, Table
from streaming.reader import SrcFilter

NOT_TRADES: Final = frozenset({10, 11, 12})  # correction records: no tick of their own
BAD: Final = (msgspec.MsgspecError, ValueError, RecursionError)
log = structlog.stdlib.get_logger()


@dataclass(slots=True)
class Lines:
    """COPY lines of one table: first ones, and those that replace what may stand already."""

    fresh: list[bytes] = field(default_factory=list)
    revised: list[bytes] = field(default_factory=list)

    def add(self, line: bytes, revision: int) -> None:
        """Put a row where its revision belongs."""
        (self.revised if revision else self.fresh).append(line)


@dataclass(slots=True)
class Batch:
    """Rows and the steps of the positions that belong to them."""

    tables: dict[Table, Lines] = field(default_factory=lambda: defaultdict(Lines))
    emptied: list[tuple[int, str, int]] = field(default_factory=list)
    """Aggregates without ratio since a revision: (time µs, symbol, revision)."""
    days: set[tuple[str, int]] = field(default_factory=set)
    dead: list[DeadLetter] = field(default_factory=list)
    moves: dict[Place, Move] = field(default_factory=dict)
    published: list[int] = field(default_factory=list)
    rows: int = 0

    def add(self, table: Table, line: bytes, revision: int, published: int) -> None:
        """One row and the time its record was published."""
        self.tables[table].add(line, revision)
        self.published.append(published)
        self.rows += 1


class Intake:
    """Turns records into rows of a batch, under the reader's rule; knows where each partition stands."""

    def __init__(self, ratios: str, candles: dict[str, tuple[str, str]], now_us: Callable[[], int]) -> None:
        self._ratios = ratios
        self._candles = candles
        self._now_us = now_us
        self._filter = SrcFilter()
        self._next: dict[Place, int] = {}
        self._base: dict[Place, int] = {}
        self._jumps: dict[Place, tuple[int, int]] = {}
        self.doubtful = False
        self._ratio = msgspec.json.Decoder(Ratio)
        self._any_ratio = msgspec.json.Decoder(Ratio | Clock | Reference | Trade)
        self._candle = msgspec.json.Decoder(Candle)
        self.batch = Batch()

    def place(self, positions: dict[Place, Position]) -> None:
        """Start afresh at ``positions``; what was in hand is dropped."""
        self.batch = Batch()
        self._next = {place: position.next_offset for place, position in positions.items()}
        self._base = {}
        self.doubtful = False
        self._filter = SrcFilter()
        for (topic, partition), position in positions.items():
            self._filter.restore(topic, partition, position.src)

    def take(self, messages: list[Any]) -> None:
        """Take records in; those of partitions that are no longer ours are ignored.

        ``doubtful`` is set, and nothing more taken, where the next offset is not the expected one: positions must be
        claimed again (the topic may be another one by now). The same jump is believed the second time.
        """
        dropped = self._filter.dropped
        for message in messages:
            place = (message.topic(), message.partition())
            expected = self._next.get(place)
            if expected is None:
                continue
            offset = message.offset()
            if offset != expected and not self._believed(place, expected, offset):
                self.doubtful = True
                break
            self._row(message, *place)
            self._base.setdefault(place, expected)
            self._next[place] = offset + 1
        DROPPED.inc(self._filter.dropped - dropped)

    def _believed(self, place: Place, expected: int, found: int) -> bool:
        if self._jumps.get(place) != (expected, found):
            self._jumps[place] = (expected, found)
            return False
        log.warning(
            "offset jumped",
            topic=place[0],
            partition=place[1],
            expected=expected,
            found=found,
            reason="the log is shorter than it was" if found < expected else "records expired before they were read",
            action="going on from there",
        )
        return True

    @property
    def moved(self) -> bool:
        """Whether a position has moved since the last ``seal``."""
        return bool(self._base)

    def seal(self, *, every: bool = False) -> Batch:
        """The batch in hand with the steps of its positions, or of ``every`` position; a new one is begun."""
        batch, self.batch = self.batch, Batch()
        base, self._base = (self._next | self._base if every else self._base), {}
        batch.moves = {p: Move(old, self._next[p], self._filter.last(*p)) for p, old in base.items()}
        return batch

    def _row(self, message: Any, topic: str, partition: int) -> None:
        try:
            if topic == self._ratios:
                self._take_ratio(message, partition)
            else:
                self._take_candle(message, topic, partition)
        except BAD as error:
            self.batch.dead.append(
                DeadLetter(
                    service="sink",
                    reason=f"{type(error).__name__}: {error}"[:500],
                    raw=message.value() or b"",
                    ts=self._now_us(),
                    topic=topic,
                    partition=partition,
                    offset=message.offset(),
                )
            )

    def _take_ratio(self, message: Any, partition: int) -> None:
        kind = _kind(message)
        if kind is not None and kind != b"ratio":
            return  # clocks and BTC copies, most of the records: not worth decoding
        record = (self._any_ratio if kind is None else self._ratio).decode(message.value() or b"")
        if type(record) is not Ratio or not self._new(self._ratios, partition, record.src):
            return
        if record.correction not in NOT_TRADES:
            self.batch.add(TICKS, tick_line(record), record.revision, record.timestamp_out)
            self.batch.days.add((TICKS.name, record.ts // DAY_US))

    def _take_candle(self, message: Any, topic: str, partition: int) -> None:
        candle = self._candle.decode(message.value() or b"")
        market, interval = self._candles[topic]
        if candle.interval != interval:
            raise BadRowError(f"interval {candle.interval} on the topic of {interval}")
        if not self._new(topic, partition, candle.src):
            return
        line = candle_line(candle, market)
        if interval == "500ms" and market == "stocks" and candle.hours == "all":
            self._take_aggregate(candle, candle.ratio)
        self.batch.add(CANDLES, line, candle.revision, candle.timestamp_out)

    def _take_aggregate(self, candle: Candle, ratio: RatioBlock | None) -> None:
        if ratio is not None:
            self.batch.add(AGGREGATES, aggregate_line(candle, ratio), candle.revision, candle.timestamp_out)
            self.batch.days.add((AGGREGATES.name, candle.timestamp_in // DAY_US))
        elif candle.revision:  # its only ratio was cancelled: the row of the earlier revision must go
            self.batch.emptied.append((candle.timestamp_in, candle.symbol, candle.revision))

    def _new(self, topic: str, partition: int, src: Src) -> bool:
        check_src(src)  # before the filter: one absurd src would make it drop all that follows
        return self._filter.accept(topic, partition, src)


def _kind(message: Any) -> bytes | None:
    for name, value in message.headers() or ():
        if name == "kind":
            return bytes(value)
    return None
