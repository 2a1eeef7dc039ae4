"""The aggregator's own publisher, with a list in the place of Kafka."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from confluent_kafka import Message, Producer

from marketdata.calendar import TradingHours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook
from marketdata.hours import ALL, REGULAR
from marketdata.intervals import Interval
from marketdata.topics import Topics
from services.aggregator.publisher import Publisher
from streaming.emitter import Emitter
from streaming.outbox import Outbox, Ticket
from streaming.producer import DeliveryCallback

_TOPICS = Topics()


class Outputs:
    """Stands where a producer would: ``count`` of the records handed over, and those not yet taken."""

    def __init__(self) -> None:
        self.count = 0
        self.values: list[tuple[str, bytes]] = []

    def produce(
        self, topic: str, value: bytes, _key: bytes | None, _partition: int, done: DeliveryCallback | None, **_: Any
    ) -> None:  # fmt: skip
        """Take a record, which is then delivered."""
        self.values.append((topic, value))
        if done is not None:
            done(None, cast("Message", None))

    def poll(self, _timeout: float) -> int:
        """Nothing is under way."""
        return 0

    def take(self) -> list[tuple[str, bytes]]:
        """The records since the last call, (topic, value)."""
        taken, self.values = self.values, []
        self.count += len(taken)
        return taken


class Closing:
    """One partition of stocks from clocks to encoded candles, as the aggregator has it."""

    def __init__(
        self, engine: CandleEngine, book: FeatureBook, levels: tuple[Interval, ...], sessions: TradingHours
    ) -> None:
        self.outputs = Outputs()
        topics = [_TOPICS.candles("stocks", level.name) for level in levels]
        self._outbox = Outbox(cast("Producer", self.outputs))
        self._emitter = emitter = Emitter(
            self._outbox, 0, [*topics, _TOPICS.progress("stocks"), _TOPICS.late("stocks")]
        )
        self._publisher = Publisher("stocks", _TOPICS, levels, 0, emitter, book, sessions, (ALL, REGULAR))
        self._engine = engine
        self._clocks = 0

    def advance(self, clock: int) -> None:
        """Close what ``clock`` closes."""
        self._clocks += 1
        self._emitter.begin(Ticket(lambda: None))
        closing = self._publisher.advance(self._engine, self._clocks, clock, clock)
        with suppress(StopIteration):
            next(closing)
            closing.send(clock)
        self._emitter.end()
        self._outbox.serve()


def candles_topic(interval: str) -> str:
    """The topic of one interval's candles."""
    return _TOPICS.candles("stocks", interval)
