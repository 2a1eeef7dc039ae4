"""The intake: takes Kafka's records in order, has them made into rows, and knows where each partition stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from marketdata.records import DeadLetter
from services.sink.batch import Batch
from services.sink.metrics import DROPPED
from services.sink.positions import Move, Position
from services.sink.readers import Reader, Readers
from services.sink.settings import SinkSettings
from streaming.deadletters import DeadLetterLimit
from streaming.places import Place, by_place
from streaming.reader import SrcFilter, SrcRule

BAD: Final = (msgspec.MsgspecError, ValueError, RecursionError)
LONGEST_RAW: Final = 256 * 1024
"""Of an unreadable record in its letter: in base64 a longer one could pass the broker's limit."""
log = structlog.stdlib.get_logger()


class Intake:
    """Turns records into rows of a batch, under the reader's rule; knows where each partition stands."""

    def __init__(self, settings: SinkSettings, now_us: Callable[[], int]) -> None:
        self._readers = Readers(settings)
        self._retry = settings.topics.retry("sink")
        self._limit = DeadLetterLimit(settings.dead_letter_share)
        self._now_us = now_us
        self._filter = SrcFilter()
        self._next: dict[Place, int] = {}
        self._base: dict[Place, int] = {}
        self._jumps: dict[Place, tuple[int, int]] = {}
        self.doubtful = False
        self.batch = Batch()

    @property
    def topics(self) -> list[str]:
        """All topics to be read."""
        return [*self._readers.topics, self._retry]

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
        for place, some in by_place(messages):
            if place in self._next:
                self._take_stretch(place, some)
            if self.doubtful:
                break

    def _take_stretch(self, place: Place, messages: list[Any]) -> None:
        """Take consecutive records of one partition; what is the same for all of them is asked once."""
        began = expected = self._next[place]
        rule = self._filter.rule(*place)
        dropped, read = rule.dropped, None if place[0] == self._retry else self._readers.of(place[0])
        for message in messages:
            offset = message.offset()
            if offset != expected and not self._believed(place, expected, offset):
                self.doubtful = True
                break
            if read is None:
                self._again(message, place, offset)
            else:
                self._row(read, message, place, offset, rule)
            expected = offset + 1
        self._base.setdefault(place, began)
        self._next[place] = expected
        DROPPED.inc(rule.dropped - dropped)

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

    def _row(self, read: Reader, message: Any, place: Place, offset: int, rule: SrcRule) -> None:
        try:
            read(message, place, offset, rule, self.batch)
        except BAD as error:
            self.batch.refuse(self._letter(message, place, offset, error))
            self._limit.unreadable(*place, offset)

    def _again(self, message: Any, place: Place, offset: int) -> None:
        """Take a record that an operator sends again, whatever came before it; it may well be bad still."""
        try:
            place, offset = original(message)
            self._readers.of(place[0])(message, place, offset, None, self.batch)
        except BAD as error:
            self.batch.refuse(self._letter(message, place, offset, error))

    def _letter(self, message: Any, place: Place, offset: int, error: Exception) -> DeadLetter:
        raw, reason = message.value() or b"", f"{type(error).__name__}: {error}"[:500]
        if len(raw) > LONGEST_RAW:
            raw, reason = raw[:LONGEST_RAW], f"{reason} (the first {LONGEST_RAW} of {len(raw)} bytes)"
        return DeadLetter(
            service="sink", reason=reason, raw=raw, ts=self._now_us(),
            topic=place[0], partition=place[1], offset=offset,
        )  # fmt: skip


def original(message: Any) -> tuple[Place, int]:
    """Where a record of the retry topic stood at first, as its headers say: its partition and offset.

    Raises:
        ValueError: the headers cannot be read.
    """
    named = dict(message.headers() or ())
    if not named.keys() >= {"topic", "partition", "offset"}:
        raise ValueError("without the headers topic, partition and offset of the original")
    topic, partition, offset = (bytes(named[name] or b"") for name in ("topic", "partition", "offset"))
    return (topic.decode(), int(partition)), int(offset)
