"""What a clock closes, as records on the candle topics."""

from __future__ import annotations

from typing import Final

from marketdata.candles import CandleEngine, Closed
from marketdata.intervals import Interval
from marketdata.records import Candle, LateTrade, Progress, encode
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from streaming import metrics
from streaming.emitter import Emitter

ALL_HOURS: Final = "all"


class Publisher:
    """Gives every output its ``src``: the input record's place and its ordinal within the output topic."""

    def __init__(
        self, market: str, topics: Topics, levels: tuple[Interval, ...], partition: int, emitter: Emitter
    ) -> None:
        self._partition = partition
        self._emitter = emitter
        self._levels = levels
        self._candles = [topics.candles(market, level.name) for level in levels]
        self._progress = topics.progress(market)
        self._late = topics.late(market)
        self._base = levels[0].length
        self._ends: dict[int, int] = {}
        self._latency = [metrics.CANDLE_LATENCY.labels(market, level.name) for level in levels]

    def advance(self, engine: CandleEngine, offset: int, clock: int, now: int) -> None:
        """Publish all that ``clock`` closes, then how far each interval is complete."""
        before = engine.clock
        self._close(engine, offset, clock, now)
        if clock - clock % self._base <= before:
            return  # inside a base bucket: nothing became complete
        for n, (interval, end) in enumerate(engine.complete(before, clock)):
            src = (self._partition, offset, n)
            if self._emitter.wants(self._progress, src):
                record = Progress(interval=interval, end=end, src=src)
                self._emitter.emit(self._progress, interval.encode(), encode(record))

    def after_run(self, now: int) -> None:
        """Observe, for each interval, the latency of the last candle that the run closed."""
        for level, end in self._ends.items():
            self._latency[level].observe((now - end) / SECOND_US)
        self._ends.clear()

    def _close(self, engine: CandleEngine, offset: int, clock: int, now: int) -> None:
        ordinals = [0] * len(self._levels)
        for closed in engine.advance(clock):
            n = ordinals[closed.level]
            ordinals[closed.level] = n + 1
            self._candle(closed, (self._partition, offset, n), now)

    def late(self, trade: LateTrade) -> None:
        """Publish a trade or correction that no candle took."""
        if self._emitter.wants(self._late, trade.src):
            self._emitter.emit(self._late, trade.symbol.encode(), encode(trade))

    def _candle(self, closed: Closed, src: tuple[int, int, int], now: int) -> None:
        topic = self._candles[closed.level]
        if not self._emitter.wants(topic, src):
            return
        since = closed.end if closed.late_received_ts is None else closed.late_received_ts
        candle = Candle(
            symbol=closed.symbol,
            interval=self._levels[closed.level].name,
            hours=ALL_HOURS,
            timestamp_in=closed.start,
            end=closed.end,
            timestamp_out=now,
            latency_ms=(now - since) / 1_000,
            revision=closed.revision,
            price=closed.bar.price_block(),
            ratio=closed.bar.ratio_block(closed.end) if closed.has_ratio else None,
            src=src,
        )
        self._emitter.emit(topic, closed.symbol.encode(), encode(candle))
        if closed.revision == 0:
            self._ends[closed.level] = closed.end
