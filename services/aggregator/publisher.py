"""What a clock closes, as records on the candle topics."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from msgspec.structs import replace

from marketdata.bands import BandBook
from marketdata.calendar import TradingHours
from marketdata.candles import CandleEngine, Closed
from marketdata.feature_book import FeatureBook, Features
from marketdata.hours import Hours, hours_of, session_of
from marketdata.intervals import Interval
from marketdata.records import Candle, LateTrade, Progress, encode
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from services.aggregator import metrics
from streaming.emitter import Emitter

AT_ONCE_US: Final = SECOND_US
"""Candles up to this length come first, of all partitions: at a minute's end the longer ones take several times as
long as they do, with their features."""


class Publisher:
    """Gives every output its ``src``: the input record's place and its ordinal within the output topic.

    ``sessions`` is the exchange's calendar, None for a market that never closes; ``hours`` which of all and regular
    hours are published. ``bands`` are those of the symbols it publishes, none unless the input holds some.
    """

    def __init__(  # noqa: PLR0917 - one place makes it
        self,
        market: str,
        topics: Topics,
        levels: tuple[Interval, ...],
        partition: int,
        emitter: Emitter,
        book: FeatureBook,
        sessions: TradingHours | None,
        hours: tuple[str, ...],
    ) -> None:
        self._partition = partition
        self._emitter = emitter
        self._levels = levels
        self._book = book
        self._sessions = sessions
        self._hours = hours
        self.bands = BandBook()
        self._topics = [topics.candles(market, level.name) for level in levels]
        self._progress = topics.progress(market)
        self._late = topics.late(market)
        self._base = levels[0].length
        self._patient = sum(level.length <= AT_ONCE_US for level in levels)  # from this level on
        self._market = market
        self._counts = metrics.OfCandles(market, {n: level.name for n, level in enumerate(levels) if level.published})

    def advance(self, engine: CandleEngine, offset: int, clock: int, now: int) -> Generator[None, int]:
        """Publish all that ``clock`` closes, then how far each interval is complete.

        With one pause, after the candles of up to a second, if there are any or longer ones: it takes ``now`` anew.
        """
        before = engine.clock
        yield from self._close(engine, offset, clock, now)
        if clock - clock % self._base <= before:
            return  # inside a base bucket: nothing became complete
        for n, (interval, end) in enumerate(engine.complete(before, clock)):
            src = (self._partition, offset, n)
            if self._emitter.wants(self._progress, src):
                record = Progress(interval=interval, end=end, src=src)
                self._emitter.emit(self._progress, interval.encode(), encode(record))

    def after_run(self, now: int) -> None:
        """Report what the run has published."""
        self._counts.report(now)

    def late(self, trade: LateTrade) -> None:
        """Publish a trade or correction that no candle took."""
        if self._emitter.wants(self._late, trade.src):
            self._emitter.emit(self._late, trade.symbol.encode(), encode(trade))
            metrics.LATE.labels(self._market, trade.reason).inc()

    def _close(self, engine: CandleEngine, offset: int, clock: int, now: int) -> Generator[None, int]:
        ordinals = dict.fromkeys(self._topics, 0)
        paused = False
        for closed in engine.advance(clock):
            if not paused and closed.level >= self._patient:
                paused = True
                now = yield
            features = self._book.take(closed)
            topic = self._topics[closed.level]
            candle: Candle | None = None
            for hours in hours_of(self._levels[closed.level], closed.start, self._sessions):
                if hours not in self._hours:
                    continue
                src = (self._partition, offset, ordinals[topic])
                ordinals[topic] += 1
                if self._emitter.wants(topic, src):
                    own = features.get(hours, (None, None))
                    if candle is None:
                        candle = self._candle(closed, hours, own, src, now)
                    else:
                        candle = replace(candle, hours=hours, src=src, features=own[0], ratio_features=own[1])
                    self._emitter.emit(topic, closed.symbol.encode(), encode(candle))
                    self._counts.closed(closed.level, closed.end, closed.revision)
        if not paused and any(ordinals.values()):
            yield

    def _candle(
        self,
        closed: Closed,
        hours: Hours,
        features: Features,
        src: tuple[int, int, int],
        now: int,
    ) -> Candle:
        since = closed.end if closed.late_received_ts is None else closed.late_received_ts
        return Candle(
            symbol=closed.symbol,
            interval=self._levels[closed.level].name,
            hours=hours,
            session=session_of(self._levels[closed.level], closed.start, self._sessions),
            timestamp_in=closed.start,
            end=closed.end,
            timestamp_out=now,
            latency_ms=(now - since) / 1_000,
            revision=closed.revision,
            price=closed.shown.price_block(),
            ratio=closed.shown.ratio_block(closed.end) if closed.has_ratio else None,
            features=features[0],
            ratio_features=features[1],
            luld=self.bands.in_force(closed.symbol, closed.end) if self.bands else None,
            src=src,
        )
