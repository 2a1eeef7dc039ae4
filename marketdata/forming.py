"""The candles under way: of each interval the one with a symbol's newest trade, as it would be if it closed now.

What each holds from before the shorter candle that it is rolled up from is kept rolled up, so that one more trade
costs a merge of two bars an interval, and one more base bucket those of the intervals whose shorter candle is over. A
trade that comes earlier than the newest base bucket has all of it rolled up anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import reduce
from typing import Final, NamedTuple

from marketdata.bar import UNIT, Bar, roll_up
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, Features
from marketdata.hours import ALL
from marketdata.intervals import Interval, children_of
from marketdata.records import FormingCandle, FormingRatio

_STEPS: Final = 4
"""Up to so many base buckets further on, what stood before is moved on; else it is rolled up anew."""
_NONE: Final[Features] = (None, None)

_Sum = tuple[
    float | None, float | None, float | None, float | None, int, int, int, int,
    float | None, float | None, float | None, float | None,
]  # fmt: skip
"""Of a bar what is shown: open, high, low, close, weight, priced size, volume, ticks; the ratio's open to close."""


class _Span(NamedTuple):
    """A candle under way; ``before`` is what it holds from before the candle under way that it is rolled up from.

    It is None for nothing, and at the base.
    """

    level: int
    start: int
    end: int
    before: _Sum | None


class _Held(NamedTuple):
    """The candles under way at the base bucket that starts at ``base``, from short to long."""

    base: int
    spans: list[_Span]


class Forming:
    """The candles under way of one engine, for all hours, and of the exchange's day.

    ``book``: the histories that their features come from, None for candles without features. Nothing here changes
    what the engine publishes.
    """

    def __init__(self, engine: CandleEngine, levels: tuple[Interval, ...], book: FeatureBook | None = None) -> None:
        self._engine = engine
        self._levels = levels
        self._names = [level.name for level in levels]
        self._book = book
        self._made = [i for i, level in enumerate(levels) if level.sessions is None or level.exchange_day]
        self._shown = [level.published for level in levels]
        children = children_of(levels)
        self._child = [children.get(level, 0) for level in range(len(levels))]  # the base is its own
        self._held: dict[str, _Held] = {}

    def changed(self, symbol: str, ts: int) -> None:
        """A trade of ``ts`` µs came, went or changed: forget what was rolled up if it is in there."""
        held = self._held.get(symbol)
        if held is not None and ts < held.base:
            del self._held[symbol]

    def candles(self, symbol: str) -> tuple[int, tuple[FormingCandle, ...]] | None:
        """(time of the newest trade in µs, the candles that are not over by the engine's clock), None without any."""
        starts = self._engine.starts(symbol)
        if not starts:
            return None
        held = self._held.get(symbol)
        if held is None or held.base != starts[-1]:
            held = self._held[symbol] = self._move(symbol, held, starts)
        trades, clock, names = self._engine.trades(held.base, symbol), self._engine.clock, self._names
        shown, child = self._shown, self._child
        features: dict[int, Features] = {}
        if self._book is not None:
            features = self._features(symbol, [span for span in held.spans if span.end > clock and shown[span.level]])
        sums = [_sum(trades.bar())] * len(shown)
        found: list[FormingCandle] = []
        for level, start, end, before in held.spans:
            inner = sums[child[level]]
            sums[level] = whole = inner if before is None else _merge(before, inner)
            if end > clock and shown[level]:
                found.append(_candle(names[level], start, end, whole, features.get(level)))
        return trades.ticks[-1].ts if trades.ticks else held.base, tuple(found)

    def _move(self, symbol: str, held: _Held | None, starts: list[int]) -> _Held:
        """What stood before the newest base bucket: a few buckets on from what is known, else rolled up anew."""
        passed = bisect_right(starts, held.base) if held is not None else 0
        if held is None or not passed or starts[passed - 1] != held.base or len(starts) - passed > _STEPS:
            return _Held(starts[-1], self._roll_up(symbol, starts[-1]))
        base, spans = held
        for following in starts[passed:]:
            trades = self._engine.trades(base, symbol)
            over = base + self._levels[0].length <= self._engine.clock
            spans = self._next(spans, _sum(trades.take_bar() if over else trades.bar()), following)
            base = following
        return _Held(base, spans)

    def _next(self, spans: list[_Span], passed: _Sum, base: int) -> list[_Span]:
        """The candles under way at a later base bucket, ``passed`` being the bucket before.

        Each lies inside the one rolled up from it, so a longer one can be over, and can begin, only where the shorter
        one is over.
        """
        found: list[_Span] = []
        known = {span[0]: span for span in spans}
        over: dict[int, _Sum] = {}  # as they ended
        for level in self._made:
            span, inner = known.get(level), over.get(self._child[level]) if level else passed
            if inner is None:
                if span is not None:
                    found.append(span)
                continue
            if span is not None:
                _, start, end, before = span
                inner = inner if before is None else _merge(before, inner)
                if base < end:
                    found.append(_Span(level, start, end, inner))
                    continue
            over[level] = inner
            if (bucket := self._levels[level].bucket(base)) is not None:
                found.append(_Span(level, *bucket, None))
        return found

    def _roll_up(self, symbol: str, base: int) -> list[_Span]:
        """The candles under way at ``base``, from the parts that are over and the base buckets that are not yet."""
        pending = self._engine.pending(symbol)
        bars = {start: self._engine.trades(start, symbol).bar() for level, start in pending if not level}
        parts = _Parts(self._engine, self._levels, symbol, pending, bars)
        starts = [base] * len(self._levels)
        found: list[_Span] = []
        for level in self._made:
            bucket = self._levels[level].bucket(base)
            if bucket is None:
                continue
            starts[level] = bucket[0]
            sums = [_sum(bar) for bar in parts.of(level, bucket[0], starts[self._child[level]])] if level else []
            found.append(_Span(level, *bucket, reduce(_merge, sums) if sums else None))
        return found

    def _features(self, symbol: str, spans: Iterable[_Span]) -> dict[int, Features]:
        """Of each interval that has features; candles before that wait for a clock count as closed."""
        found: dict[int, Features] = {}
        if self._book is None:
            return found
        pending, bars = self._engine.pending(symbol), self._engine.with_sides(symbol)
        parts = _Parts(self._engine, self._levels, symbol, pending, bars)
        for span in spans:
            if self._book.has_features(span.level):
                starts = sorted({span.start, *parts.pending(span.level)})
                closing = [(start, parts.whole(span.level, start)) for start in starts]
                found[span.level] = self._book.peek(span.level, symbol, closing).get(ALL, _NONE)
        return found


class _Parts:
    """What a symbol's candles are made of as of now: ``bars`` are those of the base buckets ``pending`` has."""

    def __init__(
        self,
        engine: CandleEngine,
        levels: tuple[Interval, ...],
        symbol: str,
        pending: list[tuple[int, int]],
        bars: dict[int, Bar],
    ) -> None:
        self._engine = engine
        self._levels = levels
        self._children = children_of(levels)
        self._symbol = symbol
        self._bars = bars
        self._pending: list[set[int]] = [set() for _ in levels]
        self._pending[0].update(bars)
        for level, start in pending:
            self._pending[level].add(start)
        for interval, starts in zip(levels, self._pending, strict=True):  # from short to long
            for up in interval.parents:
                if levels[up].sessions is None:
                    self._pending[up].update(start - start % levels[up].length for start in starts)

    def pending(self, level: int) -> set[int]:
        """The starts of the candles of ``level`` that are not, or not all of them, as they were published."""
        return self._pending[level]

    def of(self, level: int, start: int, end: int) -> list[Bar]:
        """The bars of the parts of the longer candle at ``start`` that begin before ``end``."""
        child = self._children[level]
        parts = {at: bar for at, bar in self._engine.parts(level, start, self._symbol).items() if at < end}
        for at in self._pending[child]:
            if start <= at < end:
                parts[at] = self.whole(child, at)
        return [parts[at] for at in sorted(parts)]

    def whole(self, level: int, start: int) -> Bar:
        """The bar of a candle as it would be if it closed now."""
        if not level:
            return self._bars[start]
        return roll_up(self.of(level, start, self._levels[level].end(start)))


def _sum(bar: Bar) -> _Sum:
    return (
        bar.open, bar.high, bar.low, bar.close, bar.price_weight, bar.priced_size, bar.volume, bar.ticks,
        bar.ratio_open, bar.ratio_high, bar.ratio_low, bar.ratio_close,
    )  # fmt: skip


def _merge(before: _Sum, after: _Sum) -> _Sum:
    """Both together: what rolling up two bars gives of it."""
    first, high, low, last, weight, priced, volume, ticks, ratio, top, bottom, newest = before
    first2, high2, low2, last2, weight2, priced2, volume2, ticks2, ratio2, top2, bottom2, newest2 = after
    return (
        first2 if first is None else first,
        high2 if high is None or (high2 is not None and high2 > high) else high,
        low2 if low is None or (low2 is not None and low2 < low) else low,
        last if last2 is None else last2,
        weight + weight2, priced + priced2, volume + volume2, ticks + ticks2,
        ratio2 if ratio is None else ratio,
        top2 if top is None or (top2 is not None and top2 > top) else top,
        bottom2 if bottom is None or (bottom2 is not None and bottom2 < bottom) else bottom,
        newest if newest2 is None else newest2,
    )  # fmt: skip


def _candle(name: str, start: int, end: int, held: _Sum, features: Features | None) -> FormingCandle:
    first, high, low, last, weight, priced, volume, ticks, ratio, top, bottom, newest = held
    vwap = weight / (priced * UNIT) if priced else None
    ratios = None
    if ratio is not None and top is not None and bottom is not None and newest is not None:
        ratios = FormingRatio(ratio, top, bottom, newest)
    if features is None:
        return FormingCandle(name, start, end, first, high, low, last, volume / UNIT, vwap, ticks, ratios)
    return FormingCandle(name, start, end, first, high, low, last, volume / UNIT, vwap, ticks, ratios, *features)
