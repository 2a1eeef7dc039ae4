"""What the log holds: a standby reads along, so that at take-over only the last moments are left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from marketdata.records import UNREADABLE, Band, Clock, Gap, Trade
from marketdata.topics import MARKETS, Topics
from services.ingest.copies import CopyWatch, Uncopied, Untraded
from services.ingest.left import Left, open_starts
from services.ingest.seen import STOCKS_DAY_SHIFT_US, Seen
from services.ingest.writer import AS_QUOTE_COPY, AS_REFERENCE
from streaming.fatal import die
from streaming.kafkaclient import bounded_queue, client_config
from streaming.places import Place

log = structlog.stdlib.get_logger()
MARGIN_MS: Final = 60_000
"""Read back beyond the horizon: the broker's clock, which marks the records, may differ from the exchanges'."""
GAPS_BACK: Final = 10_000
"""Records of feed.gaps that are read back, and gaps that are remembered."""
REQUEST_S: Final = 10.0
PLACED_S: Final = 60.0
NOT_PLACED: Final = frozenset({
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART,
})  # fmt: skip
"""What a broker says of a partition that another process has just had it make."""


class _Copy(msgspec.Struct):
    """What is read of a copy: the rest is its original's."""

    epoch: int


_decode = msgspec.json.Decoder(Trade | Clock | Band).decode
_decode_copy = msgspec.json.Decoder(_Copy).decode
_decode_gap = msgspec.json.Decoder(Gap).decode


class FollowError(RuntimeError):
    """The log could not be read to its end."""


@dataclass(slots=True)
class LogEnd:
    """Times in µs, 0 where there is none.

    ``clocks`` is the newest clock of each market; ``settled`` the oldest of its partitions' newest: a writer that was
    killed may have got further in one than in another, and what happened from there on may be missing.
    ``gaps``: the newest word on each. ``uncopied``: copies it did not get to; ``untraded``: copies without a trade.
    """

    clocks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    settled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    seen: dict[str, Seen] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    uncopied: list[Uncopied] = field(default_factory=list)
    untraded: list[Untraded] = field(default_factory=list)

    def gap_starts(self) -> dict[str, int]:
        """From where on trades may be missing, by market; a market that never had a clock is left out."""
        opened = open_starts(self.gaps)
        return {m: min(settled, opened.get(m, settled)) for m, settled in self.settled.items() if settled}

    def left(self) -> Left:
        """What is to be done about gaps."""
        return Left(self.gap_starts(), self.gaps)


class LogFollower:
    """Reads trades.* from the horizon before their newest record, and feed.gaps, then follows them in a thread.

    It keeps identities, clocks and the last word on gaps, no trades: memory is that of the identities of one to two
    horizons. What stands below a record of a newer epoch counts for no reader, and so not here.
    """

    def __init__(
        self, bootstrap: str, topics: Topics, partitions: int, *, horizon_us: int, references: tuple[str, ...]
    ) -> None:
        self._bootstrap = bootstrap
        self._horizon_ms = horizon_us // 1_000 + MARGIN_MS
        self._market_of = {topics.trades(market): market for market in MARKETS}
        self._gaps = topics.gaps
        self._crypto = topics.trades("crypto")
        self._partitions = range(partitions)
        self._copies = CopyWatch(references)
        self._places: list[Place] = [(topic, p) for topic in self._market_of for p in range(partitions)]
        self._places.append((self._gaps, 0))
        self._clocks: dict[Place, int] = {}
        self._first_clock: dict[str, int] = {}
        self._words: dict[tuple[str, int], Gap] = {}
        self._end = LogEnd(seen={m: Seen(horizon_us, STOCKS_DAY_SHIFT_US * (m == "stocks")) for m in MARKETS})
        self._next: dict[Place, int] = {}
        self._wanted: dict[Place, int] = {}
        self._ready = threading.Event()
        self._epoch = 0
        self._epochs: dict[Place, int] = {}
        self._own_epoch: int | None = None
        self._handed_over = False
        self._unfenced = {place for place in self._places if place[0] != topics.gaps}
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
        self.records = 0

    def start(self) -> LogFollower:
        """Begin to read; returns itself."""
        self._thread.start()
        return self

    @property
    def epoch(self) -> int | None:
        """The greatest epoch in the log, 0 for an empty one; None until it was read to the end once."""
        return self._epoch if self._ready.is_set() else None

    def read_to_end(self, timeout: float, stopping: threading.Event) -> bool:
        """Read to the ends as they are now; False if told to stop. Call it when no one else may write any more.

        Raises:
            FollowError: the broker did not give all of it within ``timeout`` seconds.
            KafkaException: the broker did not answer.
        """
        ends = _offsets(AdminClient(client_config(self._bootstrap)), self._places, OffsetSpec.latest())
        return self._wait(
            lambda: [place for place, (end, _) in ends.items() if self._next.get(place, 0) < end], timeout, stopping
        )

    def begin_epoch(self, own_epoch: int) -> dict[Place, int]:
        """What to write as fences of ``own_epoch``: each partition's clock (µs). Below them no older epoch counts.

        A partition that lacks a clock gets its market's first; a market without any is left out.
        """
        self._own_epoch = own_epoch
        return self._standing()

    def _standing(self) -> dict[Place, int]:
        return {
            place: self._clocks.get(place, first)
            for market, first in dict(self._first_clock).items()  # the thread goes on
            for place in self._of(market)
        }

    def finish(self, timeout: float, stopping: threading.Event, fenced: Collection[Place]) -> LogEnd | None:
        """What stands above the fences; None if told to stop. Call it once they are written.

        What a predecessor's client still sends when it wakes counts above them and not below, so that only here all
        is known that counts. A partition without a fence is read on until something of the new epoch stands in it.

        Raises:
            FollowError: the broker did not give the fences within ``timeout`` seconds.
        """
        if not self._wait(lambda: [place for place in fenced if place in self._unfenced], timeout, stopping):
            return None
        self._handed_over = True
        standing = self._standing()
        for market in MARKETS:
            clocks = [standing[place] for place in self._of(market) if place in standing]
            self._end.clocks[market] = max(clocks, default=0)
            self._end.settled[market] = min(clocks, default=0)
        self._end.uncopied = self._copies.missing(self._partitions)
        self._end.untraded = self._copies.untraded(self._end.seen["crypto"].knows)
        self._end.gaps = tuple(self._words.values())
        return self._end

    @staticmethod
    def _wait(missing: Callable[[], list[Place]], timeout: float, stopping: threading.Event) -> bool:
        deadline = time.monotonic() + timeout
        while left := missing():
            if stopping.is_set():
                return False
            if time.monotonic() > deadline:
                raise FollowError(f"the broker did not give the ends of {left} within {timeout:.0f} s")
            time.sleep(0.005)
        return True

    def _of(self, market: str) -> list[Place]:
        return [place for place in self._places if self._market_of.get(place[0]) == market]

    def _run(self) -> None:
        consumer = Consumer(
            client_config(
                self._bootstrap,
                {
                    "group.id": "ingest-follow",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 50,
                    "log_level": 2,
                    **bounded_queue(16_384),  # a standby's memory is its identities, not a look ahead
                },
            )
        )
        began = time.monotonic()
        try:
            self._begin(consumer)
            while self._unfenced:
                for message in consumer.consume(5_000, 0.05):
                    self._read(message)
                if not self._ready.is_set() and all(self._next[p] >= end for p, end in self._wanted.items()):
                    self._ready.set()
                    log.info("read back", records=self.records, seconds=round(time.monotonic() - began, 1),
                             epoch=self._epoch)  # fmt: skip
        except KafkaException as error:
            die("the log cannot be followed", error=str(error))
        finally:
            consumer.close()

    def _begin(self, consumer: Consumer) -> None:
        admin = AdminClient(client_config(self._bootstrap))
        lows = _offsets(admin, self._places, OffsetSpec.earliest())
        self._wanted = {
            place: offset for place, (offset, _) in _offsets(admin, self._places, OffsetSpec.latest()).items()
        }
        newest = max(ts for _, ts in _offsets(admin, self._places, OffsetSpec.max_timestamp()).values())
        since = max(newest - self._horizon_ms, 0)
        found = consumer.offsets_for_times(
            [TopicPartition(*place, since) for place in self._places], timeout=REQUEST_S
        )
        for at in found:
            place = (at.topic, at.partition)
            end = self._wanted[place]
            first = at.offset if 0 <= at.offset <= end else end
            if at.topic == self._gaps:
                first = end - GAPS_BACK
            self._next[place] = max(first, lows[place][0])
        if newest < 0:  # all that was written has expired: each epoch had at least one record
            self._epoch = sum(self._wanted.values())
        consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def _read(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN_TOPIC_OR_PART}:
                die("Kafka was made anew, or a topic was", topic=message.topic(), error=error.str())
            return
        place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
        self.records += 1
        value = message.value() or b""
        with suppress(*UNREADABLE):  # not ours: readers dead-letter it
            if place[0] == self._gaps:
                self._note_gap(_decode_gap(value))
            else:
                self._note(place, message.key(), value)
        self._next[place] = offset + 1

    def _note(self, place: Place, key: bytes | None, value: bytes) -> None:
        reference = value.startswith(AS_REFERENCE)
        copied = reference or value.startswith(AS_QUOTE_COPY)
        record = _decode_copy(value) if copied else _decode(value)
        if not self._counts(place, record.epoch):
            return
        if reference:
            self._copies.copy(place[1], key, value)
        elif type(record) is Trade:
            self._note_trade(place, key, value, record)
        elif type(record) is Clock:
            self._first_clock.setdefault(self._market_of[place[0]], record.ts)
            self._clocks[place] = max(record.ts, self._clocks.get(place, 0))

    def _counts(self, place: Place, epoch: int) -> bool:
        """Whether a record of ``epoch`` counts for readers and was there before this instance wrote."""
        if epoch < self._epochs.get(place, 0):
            return False
        self._epochs[place] = epoch
        if self._own_epoch is not None and epoch >= self._own_epoch:
            self._unfenced.discard(place)
            return False
        self._epoch = max(self._epoch, epoch)
        return True

    def _note_trade(self, place: Place, key: bytes | None, value: bytes, trade: Trade) -> None:
        if place[0] == self._crypto:
            self._copies.trade(key, value)
        seen = self._end.seen[self._market_of[place[0]]]
        if self._handed_over:  # it is the writer's
            seen.note(trade)
        else:
            seen.is_new(trade)

    def _note_gap(self, gap: Gap) -> None:
        self._epoch = max(self._epoch, gap.epoch)
        self._words.pop((gap.cluster, gap.start), None)  # so that the newest come last
        self._words[gap.cluster, gap.start] = gap
        if len(self._words) > GAPS_BACK:
            del self._words[next(iter(self._words))]


def _offsets(admin: AdminClient, places: list[Place], which: Any) -> dict[Place, tuple[int, int]]:
    """(offset, time in ms) by partition; asked again while the broker is still placing a partition just made."""
    deadline = time.monotonic() + PLACED_S
    while True:
        wanted = {TopicPartition(*place): which for place in places}
        futures = admin.list_offsets(wanted, request_timeout=REQUEST_S)
        try:
            results = {(place.topic, place.partition): future.result() for place, future in futures.items()}
        except KafkaException as error:
            if error.args[0].code() not in NOT_PLACED or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return {place: (result.offset, result.timestamp) for place, result in results.items()}


def count_records(bootstrap: str, topics: Topics, partitions: int) -> int:
    """How many records were ever written to trades.*. Raises KafkaException."""
    admin = AdminClient(client_config(bootstrap))
    places = [(topics.trades(market), p) for market in MARKETS for p in range(partitions)]
    return sum(offset for offset, _ in _offsets(admin, places, OffsetSpec.latest()).values())
