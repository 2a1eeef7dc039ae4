"""The input of all contenders, from a seed, and the candles that must come of it.

It is a `ratios` topic as the ratio service writes it. Two things are added so that one clock fits all contenders,
however each closes its windows: before the market one trade of each symbol in a window of its own, whose candles come
out as soon as a contender has begun to work; after it one trade of each symbol that closes all windows, and whose own
candles are not looked at.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from marketdata.partition import partition_of
from marketdata.records import Clock, Ratio
from marketdata.units import CLOCK_STEP_US, SECOND_US

WINDOW_US: Final = 15 * SECOND_US
START_US: Final = 1_709_650_800 * SECOND_US  # 2024-03-05T15:00:00Z, in the regular session
SEED: Final = 1
_MS: Final = 1_000
_BTC: Final = 65_000.25


@dataclass(frozen=True, slots=True)
class Scale:
    """How many symbols trade, over how many partitions, at how many trades a second of event time."""

    symbols: int
    partitions: int
    rate: int


SCALES: Final = {200: Scale(200, 12, 20_000), 10_000: Scale(10_000, 48, 100_000)}
"""By the number of symbols. The rates: what a laptop's pipeline must carry, and the whole US market at its peak."""


class Bar(NamedTuple):
    """What is compared of a candle."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int


Bars = dict[tuple[str, int], Bar]
"""(symbol, start of the window in µs) -> its candle."""


def records(scale: Scale, trades: int) -> Iterator[tuple[int, Ratio | Clock]]:
    """(partition, record) in the order of the log; the first ``trades`` of the market, which are always the same."""
    return _Market(scale).play(trades)


class Tally:
    """Makes the expected candles of trades in order of time."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, int], list[float]] = {}
        self._last = 0
        self.trades = 0

    def add(self, trade: Ratio) -> None:
        """Take the next trade."""
        start = trade.ts - trade.ts % WINDOW_US
        price, size = trade.stock_price, trade.stock_size
        self.trades += 1
        self._last = max(self._last, start)
        bar = self._bars.get((trade.symbol, start))
        if bar is None:
            self._bars[trade.symbol, start] = [price, price, price, price, size, 1]
            return
        bar[1] = max(bar[1], price)
        bar[2] = min(bar[2], price)
        bar[3] = price
        bar[4] += size
        bar[5] += 1

    def bars(self) -> Bars:
        """The candles of all windows but the last, which nothing closes."""
        return {
            place: Bar(bar[0], bar[1], bar[2], bar[3], bar[4], int(bar[5]))
            for place, bar in self._bars.items()
            if place[1] < self._last
        }


class Walk:
    """The symbols of a market, their partitions and their prices, which walk from a seed; trades are numbered."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._random = random.Random(SEED)
        self._names = [f"S{n:05d}" for n in range(scale.symbols)]
        self._places = [partition_of(name, scale.partitions) for name in self._names]
        self._prices = [self._random.uniform(10, 500) for _ in self._names]
        self._number = 0

    def _moved(self, price: float) -> float:
        """A price's next step; a trade's number is one more than the last one's."""
        self._number += 1
        return price * (1 + (self._random.random() - 0.5) / 1_000)


class _Market(Walk):
    def __init__(self, scale: Scale) -> None:
        super().__init__(scale)
        self._offsets = [0] * scale.partitions

    def play(self, trades: int) -> Iterator[tuple[int, Ratio | Clock]]:
        yield from self._each(START_US - WINDOW_US)
        yield from self._clocks(START_US)
        ts, left, step = START_US, trades, self._scale.rate * CLOCK_STEP_US // SECOND_US
        while left:
            symbols = self._random.choices(range(self._scale.symbols), k=step)
            times = sorted(self._random.choices(range(0, CLOCK_STEP_US, _MS), k=step))
            for n, at in zip(symbols[:left], times[:left], strict=True):
                yield self._trade(n, ts + at)
            left -= min(left, step)
            ts += CLOCK_STEP_US
            yield from self._clocks(ts)
        end = ts + -ts % WINDOW_US
        if end > ts:
            yield from self._clocks(end)
        yield from self._each(end)

    def _each(self, ts: int) -> Iterator[tuple[int, Ratio | Clock]]:
        for n in range(self._scale.symbols):
            yield self._trade(n, ts)

    def _trade(self, n: int, ts: int) -> tuple[int, Ratio]:
        """One trade of symbol ``n``: its price walks, its size is whole, so that every sum of sizes is exact."""
        self._prices[n] = moved = self._moved(self._prices[n])
        price, size, place = round(moved, 2), 1 + self._number * 7 % 500, self._places[n]
        return place, Ratio(
            self._names[n], ts, ts + 20_000, 4, str(self._number), 1, price, float(size), size, True, True, True,
            self._src(place), ts + 25_000, "BTC-USD", _BTC, ts - 1_000, 1_000, 0.5, price / _BTC, _BTC / price, None,
            self._number,
        )  # fmt: skip

    def _clocks(self, ts: int) -> Iterator[tuple[int, Clock]]:
        for place in range(self._scale.partitions):
            yield place, Clock(ts=ts, epoch=1, src=self._src(place))

    def _src(self, partition: int) -> tuple[int, int, int]:
        self._offsets[partition] += 1
        return partition, self._offsets[partition], 0
