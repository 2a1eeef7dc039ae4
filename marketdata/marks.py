"""Marks: a stock's last price against the newest BTC price, while BTC moves and the stock does not.

Decided by clock records alone, and from no more than the trades of the last ``max_stock_age_us`` before a clock: who
reads the log again from there on has the same state, and makes the same marks, as one who never stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from marketdata.order import OrderKey, order_key
from marketdata.records import Clock, RatioMark, Reference, Src, Trade
from marketdata.units import SECOND_US

MARK_STEP_US: Final = 250_000
MAX_QUOTIENT: Final = 1e24
_by_symbol: Final = attrgetter("symbol")


@dataclass(frozen=True, slots=True)
class MarkSettings:
    """With which prices a mark is still made. Times in µs, back from the clock.

    ``max_stock_age_us`` must not exceed what is read again after a restart, the revision horizon.
    """

    max_btc_age_us: int = 120 * SECOND_US
    max_stock_age_us: int = 900 * SECOND_US


def is_step(before: int, clock: int) -> bool:
    """Whether ``clock`` µs is the first at or past a multiple of 250 ms, ``before`` being the clock before it."""
    return clock // MARK_STEP_US > before // MARK_STEP_US


class Marks:
    """The last stock prices of one partition, and which of them are marked at the BTC price of the last mark.

    A symbol's mark is due again when its stock has traded since, or BTC's price is another.
    """

    def __init__(self, settings: MarkSettings) -> None:
        self._settings = settings
        self._ahead: defaultdict[int, list[Trade]] = defaultdict(list)  # by the step: not yet before a clock
        self._fresh: dict[str, Trade] = {}  # last trades that are not marked
        self._marked: dict[str, Trade] = {}  # last trades that are marked, all of them at _price
        self._price = 0.0
        self._newest: Reference | None = None

    def trade(self, trade: Trade) -> None:
        """Take a price-forming stock trade that is not late: not before the clock above it in the log."""
        self._ahead[trade.ts // MARK_STEP_US].append(trade)

    def due(self, clock: int, btc: Reference | None) -> list[Trade]:
        """The stock trades to mark at a clock that is a step, in order of symbol.

        ``btc`` is the last BTC trade that happened before ``clock`` µs: always the same one or a later one.
        """
        self._take(clock)
        if btc is None or btc is self._newest or clock - btc.ts > self._settings.max_btc_age_us:
            return []  # an unchanged one is older than what has traded since, and the rest is marked
        self._newest = btc
        fresh = [trade for trade in self._fresh.values() if trade.ts < btc.ts]
        due = fresh if btc.price == self._price else [*fresh, *self._marked.values()]
        self._price = btc.price
        for trade in fresh:
            self._marked[trade.symbol] = self._fresh.pop(trade.symbol)
        oldest = clock - self._settings.max_stock_age_us
        self._forget([trade.symbol for trade in due if trade.ts < oldest])
        return [
            trade for trade in sorted(due, key=_by_symbol) if trade.ts >= oldest and has_ratio(trade.price, btc.price)
        ]

    def _take(self, clock: int) -> None:
        """Make trades before ``clock`` the last ones; whatever was taken at an earlier step happened before them."""
        last: dict[str, Trade] = {}
        step = clock // MARK_STEP_US
        for reached in [at for at in self._ahead if at <= step]:
            trades = self._ahead.pop(reached)
            if reached == step and (later := [trade for trade in trades if trade.ts >= clock]):
                self._ahead[step] = later
            for trade in trades:
                held = last.get(trade.symbol)
                if trade.ts < clock and (held is None or trade.ts > held.ts or _key(trade) > _key(held)):
                    last[trade.symbol] = trade
        self._forget(last)
        self._fresh.update(last)

    def _forget(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self._marked.pop(symbol, None)


def mark_of(trade: Trade, btc: Reference, clock: Clock, src: Src, now: int) -> RatioMark:
    """The record of a mark that is due at ``clock``, published at ``now`` µs."""
    price = btc.price
    return RatioMark(
        trade.symbol, clock.ts, clock.epoch, trade.price, trade.ts, btc.symbol, price, btc.ts,
        trade.price / price, price / trade.price, src, now,
    )  # fmt: skip


def has_ratio(price: float, btc: float) -> bool:
    """Whether both quotients are within the bounds of a record's."""
    return 0 < price / btc < MAX_QUOTIENT and 0 < btc / price < MAX_QUOTIENT


def _key(trade: Trade) -> OrderKey:
    return order_key(trade.ts, trade.sequence, trade.exchange, trade.id, trade.trf)
