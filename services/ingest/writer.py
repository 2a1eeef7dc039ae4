"""The only one who writes trades.*: trades, BTC copies and clocks, in the order in which it is given them."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Producer

from marketdata.intake import Intake
from marketdata.partition import partition_of
from marketdata.records import Clock, DeadLetter, Gap, Trade, encode
from marketdata.topics import MARKETS, Topics
from services.ingest import metrics
from streaming.producer import Headers, check_delivery, exact_producer, produce

TRADE: Final = [("kind", b"trade")]
REFERENCE: Final = [("kind", b"reference")]
CLOCK: Final = [("kind", b"clock")]
CROWDED: Final = 250_000
"""Undelivered records past which nothing is added: half of what the producer holds before it blocks."""
MAX_DEAD_LETTER: Final = 256 * 1024
"""Bytes of a dead letter that are kept, well under what brokers take in one record (1 MiB)."""


class Writer:
    """Writes under one epoch. A trade whose identity it wrote within the horizon is dropped."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        partitions: int,
        *,
        epoch: int,
        references: tuple[str, ...],
        horizon_us: int,
    ) -> None:
        # Only failures are reported back: each ends the process, so successes need no callback.
        self._producer: Producer = exact_producer(bootstrap, name="ingest", report_successes=False)
        self._topics = topics
        self._partitions = range(partitions)
        self._trades = {market: topics.trades(market) for market in MARKETS}
        self._stocks = topics.trades("stocks")
        self._references = frozenset(references)
        self._intake = {market: Intake(horizon_us) for market in MARKETS}
        self._written = {market: metrics.WRITTEN.labels(market) for market in MARKETS}
        self._duplicates = {market: metrics.DUPLICATES.labels(market) for market in MARKETS}
        self._clocks = {market: metrics.CLOCKS.labels(market) for market in MARKETS}
        self.epoch = epoch
        self.records = 0

    def resume(self, market: str, clock: int, trades: list[Trade]) -> None:
        """Take up where the log ends: its newest clock in µs and its last trades."""
        intake = self._intake[market]
        if clock:
            intake.accept_clock(Clock(ts=clock, epoch=self.epoch))
        for trade in trades:
            intake.accept_trade(trade)

    def trade(self, market: str, trade: Trade) -> bool:
        """Write ``trade`` to its partition, and a reference symbol's also into every partition of trades.stocks."""
        if not self._intake[market].accept_trade(trade):
            self._duplicates[market].inc()
            return False
        symbol = trade.symbol
        key = symbol.encode()
        self._produce(self._trades[market], encode(trade), key, partition_of(symbol, len(self._partitions)), TRADE)
        if market == "crypto" and symbol in self._references:
            # The same fields under another kind, which msgspec writes first.
            copy = b'{"kind":"reference"' + encode(trade)[len(b'{"kind":"trade"') :]
            for partition in self._partitions:
                self._produce(self._stocks, copy, key, partition, REFERENCE)
        self._written[market].inc()
        return True

    def clock(self, market: str, ts: int) -> None:
        """Write a clock of ``ts`` µs into every partition of a market, unless it would go back."""
        record = Clock(ts=ts, epoch=self.epoch)
        if not self._intake[market].accept_clock(record):
            return
        value, topic = encode(record), self._trades[market]
        for partition in self._partitions:
            self._produce(topic, value, None, partition, CLOCK)
        self._clocks[market].inc()

    def gap(self, gap: Gap) -> None:
        """Record a stretch that was not received."""
        self._produce(self._topics.gaps, encode(gap), gap.cluster.encode(), 0, None)

    def dead_letter(self, reason: str, raw: bytes, now: int) -> None:
        """Put aside what cannot be read; of more than 256 KiB the beginning."""
        if len(raw) > MAX_DEAD_LETTER:
            reason = f"{reason} (the first {MAX_DEAD_LETTER} of {len(raw)} bytes)"
        letter = DeadLetter(service="ingest", reason=reason, raw=raw[:MAX_DEAD_LETTER], ts=now)
        self._produce(self._topics.dead_letters("ingest"), encode(letter), None, 0, None)
        metrics.DEAD_LETTERS.inc()

    def newest_clock(self, market: str) -> int:
        """The last clock written, in µs; 0 if none."""
        return self._intake[market].clock

    @property
    def crowded(self) -> bool:
        """Whether Kafka is behind: adding more would soon block the event loop, and pings with it."""
        return len(self._producer) > CROWDED

    def poll(self) -> None:
        """Let delivery failures be seen."""
        self._producer.poll(0)

    def flush(self, timeout: float) -> int:
        """Wait (seconds) for deliveries; returns how many records are still under way."""
        return int(self._producer.flush(timeout))

    def _produce(self, topic: str, value: bytes, key: bytes | None, partition: int, headers: Headers | None) -> None:
        self.records += 1
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=check_delivery, headers=headers)
        except BufferError:
            produce(self._producer, topic, value, key, partition, headers)
