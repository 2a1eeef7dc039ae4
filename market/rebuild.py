"""``market rebuild``: one symbol's candles of one day from all that stands in the log, past the revision horizon.

What differs from the newest published revision is published as the next one, on candles.rebuilt.<market>.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

import msgspec
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from market.stack import StackError
from marketdata.bands import BandBook
from marketdata.calendar import new_york_hours
from marketdata.candles import Closed
from marketdata.hours import REGULAR, session_of
from marketdata.intervals import intervals_of, levels, published_names
from marketdata.partition import partition_of
from marketdata.rebuild import MARGIN_US, DayRebuild, Key, changed
from marketdata.records import UNREADABLE, Band, Candle, Clock, Progress, Ratio, Reference, Src, Trade, encode
from marketdata.topics import Topics
from marketdata.units import DAY_US, SECOND_US
from streaming.kafkaclient import client_config
from streaming.places import Place
from streaming.producer import exact_producer, produce
from streaming.reader import SrcFilter
from streaming.tails import END, Read, read_back, read_ranges

Say = Callable[[str], None]
SAY_EVERY_S: Final = 2.0
SETTLE_US: Final = 60 * SECOND_US
"""Past the horizon, until the last revisions have surely reached their topics."""
EARLY_US: Final = 2 * 3_600 * SECOND_US
"""Ingest takes no trade from more than an hour ahead, so none of a day stands this long before it in a live log."""
BANDS_OF_A_DAY: Final = 1_000_000
_source = msgspec.json.Decoder(Ratio | Trade | Reference | Clock | Band).decode
_candle = msgspec.json.Decoder(Candle).decode
_progress = msgspec.json.Decoder(Progress).decode


@dataclass(frozen=True, slots=True)
class Change:
    """One candle to publish anew: what was computed, and what stood last (None: nothing)."""

    key: Key
    closed: Closed
    old: Candle | None

    @property
    def revision(self) -> int:
        """Its next revision."""
        return self.old.revision + 1 if self.old else 0


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild found. ``settled``: candles that end after it (µs) can still change by themselves."""

    symbol: str
    partition: int
    settled: int
    trades: int = 0
    cancels: int = 0
    changes: list[Change] = field(default_factory=list)


class Rebuild:
    """Reads only the partition of its symbol."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        symbol: str,
        day: date,
        *,
        intervals: tuple[str, ...],
        horizon_s: int,
        carry: bool = False,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._symbol = symbol
        self._day = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_US
        self._horizon_us = horizon_s * SECOND_US
        self._carry = carry
        self.market = "crypto" if "-" in symbol else "stocks"
        self._sessions = new_york_hours() if self.market == "stocks" else None
        self.levels = levels(intervals_of(self.market, intervals), self._sessions)
        self._input = topics.ratios if self.market == "stocks" else topics.trades("crypto")
        self._partition = partition_of(symbol, self._partitions())
        self._bands = BandBook(kept=BANDS_OF_A_DAY)

    def run(self, say: Say) -> Rebuilt:
        """Compute and compare; nothing is written.

        Raises:
            StackError: the day is within the revision horizon, or no longer whole in the log.
            TailError: the broker did not give what must be read.
        """
        settled = self._settled()
        if settled < self._day + self.levels[0].length:
            raise StackError(
                f"{_shown(self._day)[:10]} is not yet past the revision horizon (candles are settled up to "
                f"{_shown(settled)} UTC): the aggregator itself still revises it"
            )
        day = DayRebuild(self._symbol, self._day, self.levels, self._sessions, carry=self._carry)
        self._read_day(day, say)
        newest = self._published(say)
        found = Rebuilt(self._symbol, self._partition, settled)
        found.changes = [Change(*pair) for pair in changed(day.candles(), newest, settled)]
        found.trades, found.cancels = day.trades, day.cancels
        return found

    def publish(self, found: Rebuilt) -> int:
        """Write the changed candles and wait until they are delivered; returns how many."""
        began = time.time_ns() // 1_000
        topic = self._topics.rebuilt(self.market)
        producer = exact_producer(self._bootstrap, name="rebuild")
        for n, change in enumerate(found.changes):
            record = self._record(change, (found.partition, began, n), began)
            produce(producer, topic, encode(record), self._symbol.encode(), found.partition)
        if left := producer.flush(60):
            raise StackError(f"{left} candles were not delivered to {topic} within 60 s: run it again")
        return len(found.changes)

    def _record(self, change: Change, src: Src, now: int) -> Candle:
        closed, old = change.closed, change.old
        interval, hours, start = change.key
        return Candle(
            symbol=closed.symbol,
            interval=interval,
            hours="regular" if hours == REGULAR else "all",
            session=session_of(self.levels[closed.level], start, self._sessions),
            timestamp_in=closed.start,
            end=closed.end,
            timestamp_out=now,
            latency_ms=(now - closed.end) / 1_000,
            revision=change.revision,
            price=closed.shown.price_block(),
            ratio=closed.shown.ratio_block(closed.end) if closed.has_ratio else None,
            features=old.features if old else None,  # what was known when the candle was first published
            ratio_features=old.ratio_features if old else None,
            luld=self._bands.in_force(closed.symbol, closed.end) or (old.luld if old else None),
            src=src,
        )

    def _partitions(self) -> int:
        found = AdminClient(client_config(self._bootstrap)).list_topics(timeout=15).topics
        if self._input not in found:
            raise StackError(f"there is no topic {self._input}: is NAMESPACE right?")
        return len(found[self._input].partitions)

    def _settled(self) -> int:
        """Up to which end in µs no candle of this partition changes any more by itself; 0 where nothing is out."""
        place = (self._topics.progress(self.market), self._partition)
        shortest, end = published_names(self.levels)[0], 0
        for _, value in read_back(self._bootstrap, [place], 5_000):
            record = _progress(value)
            if record.interval == shortest:
                end = max(end, record.end)
        return end - self._horizon_us - SETTLE_US

    def _read_day(self, day: DayRebuild, say: Say) -> None:
        place = (self._input, self._partition)
        first, low = self._start(place, self._day - MARGIN_US)
        rule = SrcFilter()
        whole = first > low or low == 0
        for read in self._reads(place, first, say):
            try:
                record = _source(read.value)
            except UNREADABLE:
                continue  # a dead letter of the aggregator's
            if isinstance(record, Clock) and not whole:
                self._check_whole(record.ts)
                whole = True
            if isinstance(record, Band):
                if record.symbol == self._symbol and record.src and rule.accept(*place, record.src):
                    self._bands.add(record, 0)
                continue
            if isinstance(record, Reference | Clock):
                continue
            if isinstance(record, Trade) == (self.market == "stocks"):
                continue
            if isinstance(record, Ratio) and not rule.accept(*place, record.src):
                continue
            day.take(record, read.offset)

    def _check_whole(self, clock: int) -> None:
        """The first clock of a log whose beginning is gone: was any of the day before it?"""
        if clock > self._day - SECOND_US:
            raise StackError(
                f"{self._input}/{self._partition} begins only at {_shown(clock)} UTC: what came before is no longer "
                "kept, and candles made of the rest would be wrong"
            )

    def _published(self, say: Say) -> dict[Key, Candle]:
        """The newest revision of each candle of the day."""
        newest: dict[Key, Candle] = {}
        candles = (self._topics.candles(self.market, name) for name in published_names(self.levels))
        for name in (*candles, self._topics.rebuilt(self.market)):
            place, rule = (name, self._partition), SrcFilter()
            for read in self._reads(place, self._start(place, self._day)[0], say):
                try:
                    candle = _candle(read.value)
                except UNREADABLE:
                    continue
                if not rule.accept(*place, candle.src) or not self._is_ours(candle):
                    continue
                key = (candle.interval, candle.hours, candle.timestamp_in)
                if key not in newest or candle.revision > newest[key].revision:
                    newest[key] = candle
        return newest

    def _is_ours(self, candle: Candle) -> bool:
        of_day = self._day <= candle.timestamp_in < self._day + DAY_US
        return candle.symbol == self._symbol and of_day

    def _start(self, place: Place, event_ts: int) -> tuple[int, int]:
        """(offset before which nothing of ``event_ts`` µs or later stands, first offset kept).

        In a replay's namespace the time of writing tells nothing of the time of the event: all is read.
        """
        consumer = Consumer(client_config(self._bootstrap, {"group.id": "rebuild", "log_level": 2}))
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(*place), timeout=15)
            if self._topics.namespace:
                return low, low
            written_ms = max(event_ts - EARLY_US, 0) // 1_000
            found = consumer.offsets_for_times([TopicPartition(*place, written_ms)], timeout=15)[0].offset
            return (high if found < 0 else found), low
        finally:
            consumer.close()

    def _reads(self, place: Place, first: int, say: Say) -> Iterator[Read]:
        began = said = time.monotonic()
        for count, read in enumerate(read_ranges(self._bootstrap, {place: (first, END)}), 1):
            if not count % 5_000 and (now := time.monotonic()) - said >= SAY_EVERY_S:
                said = now
                say(f"{place[0]}/{place[1]}: {count:,} records read in {now - began:.0f} s")
            yield read


def describe(change: Change) -> str:
    """One changed candle, old against new, in one line."""
    closed, old = change.closed, change.old
    interval, hours, _ = change.key
    new, before = closed.shown.price_block(), old.price if old else None
    parts = [
        f"{name} {getattr(before, name, None)} -> {getattr(new, name)}"
        for name in ("open", "high", "low", "close", "vwap", "volume", "tick_count", "trade_count")
        if before is None or getattr(before, name) != getattr(new, name)
    ]
    text = ", ".join(parts) or "ratio"
    return f"{_shown(closed.start)} {interval:>5} {hours:<7} revision {change.revision}: {text}"


def _shown(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts / SECOND_US, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-5] if ts > 0 else "never"
