"""The input of the join and of decoding, from a seed: a `trades.stocks` topic as ingest writes it.

Stock trades, a copy of each BTC trade in every partition, clocks; no trade stands behind a clock past it. Two things
are put in so that a join that does less shows. A BTC copy stands before the stock trades of the millisecond before
its own, which must get the BTC trade before it. And before the market each symbol trades three times: before any BTC
trade, when the only one is just not too old, and when it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.peers.market import START_US, Scale, Walk
from marketdata.join import JoinSettings
from marketdata.records import Clock, Reference, Trade
from marketdata.units import CLOCK_STEP_US, SECOND_US

MAX_AGE_US: Final = JoinSettings().max_age_us
BTC: Final = "BTC-USD"
BTC_IN_TWO_STEPS: Final = 5
"""BTC trades in 100 ms: 50 a second."""
MS_US: Final = 1_000
_SWEEP: Final = (14, 41)
"""Conditions of two trades in three; they forbid nothing."""

Input = Trade | Reference | Clock


def trade_log(scale: Scale, trades: int) -> Iterator[tuple[int, Input]]:
    """(partition, record) in the order of the log; the first ``trades`` of the market, which are always the same."""
    return _Trades(scale).play(trades)


class _Trades(Walk):
    def __init__(self, scale: Scale) -> None:
        super().__init__(scale)
        self._btc_price = 65_000.25

    def play(self, trades: int) -> Iterator[tuple[int, Input]]:
        yield from self._before_the_market(START_US - 2 * MAX_AGE_US)
        yield from self._clocks(START_US)
        ts, left, step = START_US, trades, self._scale.rate * CLOCK_STEP_US // SECOND_US
        while left:
            yield from self._step(ts, step, left)
            left -= min(left, step)
            ts += CLOCK_STEP_US
            yield from self._clocks(ts)

    def _before_the_market(self, ts: int) -> Iterator[tuple[int, Input]]:
        yield from self._each(ts - MS_US)
        yield from self._btc(ts)
        yield from self._each(ts + MAX_AGE_US)
        yield from self._each(ts + MAX_AGE_US + MS_US)

    def _step(self, ts: int, step: int, most: int) -> Iterator[tuple[int, Input]]:
        """The 50 ms from ``ts`` on, of its ``step`` stock trades the first ``most``."""
        symbols = self._random.choices(range(self._scale.symbols), k=step)
        times = sorted(self._random.choices(range(0, CLOCK_STEP_US, MS_US), k=step))
        odd = ts // CLOCK_STEP_US % 2
        btc = self._random.choices(range(0, CLOCK_STEP_US, MS_US), k=BTC_IN_TWO_STEPS // 2 + odd)
        stocks = [(at, 1, n) for at, n in zip(times[:most], symbols[:most], strict=True)]
        for at, is_stock, n in sorted([*stocks, *((at - MS_US, 0, 0) for at in btc)]):
            yield from [self._trade(n, ts + at)] if is_stock else self._btc(ts + at + MS_US)

    def _each(self, ts: int) -> Iterator[tuple[int, Input]]:
        for n in range(self._scale.symbols):
            yield self._trade(n, ts)

    def _trade(self, n: int, ts: int) -> tuple[int, Trade]:
        """One trade of symbol ``n``."""
        self._prices[n] = moved = self._moved(self._prices[n])
        number = self._number
        return self._places[n], Trade(
            symbol=self._names[n], ts=ts, received_ts=ts + 20 * MS_US, price=round(moved, 2),
            size=float(1 + number * 7 % 500), exchange=4, id=str(number), epoch=1,
            conditions=_SWEEP if number % 3 else (), sequence=number, tape=1,
        )  # fmt: skip

    def _btc(self, ts: int) -> Iterator[tuple[int, Reference]]:
        """A copy of the next BTC trade in each partition."""
        self._btc_price = moved = self._moved(self._btc_price)
        copy = Reference(
            symbol=BTC, ts=ts, received_ts=ts + 15 * MS_US, price=round(moved, 2),
            size=round(self._random.uniform(0.0001, 2), 8), exchange=1, id=str(self._number), epoch=1,
            conditions=(2,), sequence=self._number, side=1 + self._number % 2,
        )  # fmt: skip
        yield from ((place, copy) for place in range(self._scale.partitions))

    def _clocks(self, ts: int) -> Iterator[tuple[int, Clock]]:
        yield from ((place, Clock(ts=ts, epoch=1)) for place in range(self._scale.partitions))
