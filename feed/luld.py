"""Price bands (limit up, limit down), limit states and trading pauses of simulated stocks, as LULD events.

Nasdaq's stocks (tape 3) have intraday updates (15), a pause (17) and a re-opening (18); those of the other tapes have
bands that are published (21) and published again (22), and limit states that the bid enters and leaves (23, 24).
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from operator import attrgetter
from random import Random
from typing import Any, Final, Protocol
from zlib import crc32

from feed.events import Event, StockTrade

NASDAQ: Final = 3
INTRADAY, PAUSED, REOPENED = 15, 17, 18
PUBLISHED, AGAIN, BID_ENTERED, BID_LEFT = 21, 22, 23, 24
LIMIT_SHARE: Final = 0.02
"""Of the bands that are published again: a limit state follows."""
LIMIT_MS: Final = 9_000
PAUSE_MS: Final = 300_000
_HOUR_MS: Final = 3_600_000
_send_ms = attrgetter("send_ms")


class Source(Protocol):
    """A market."""

    def advance(self, to_ms: int) -> list[Event]:
        """All events due up to and including `to_ms` that were not returned before."""


class _Stock:
    __slots__ = ("bands", "paused_from", "paused_until", "price", "symbol", "tape")

    def __init__(self, trade: StockTrade) -> None:
        self.symbol = trade.sym
        self.tape = trade.z
        self.price = trade.p
        self.bands = (0.0, 0.0)
        self.paused_from = self.paused_until = 0


class Banded:
    """A market whose stocks have bands around their last price, told anew every `every_ms`.

    `pauses` is how often an hour a stock of Nasdaq's is paused for five minutes: its trades are then left out.
    Without pauses the market's own events are as they were, and nothing is done while no channel LULD is `wanted`.
    """

    def __init__(
        self, market: Source, seed: int, wanted: Callable[[str], bool], *, every_ms: int = 30_000, pauses: float = 0.0
    ) -> None:
        if every_ms < 1 or pauses < 0:
            raise ValueError(
                f"bands need a time of at least 1 ms and no fewer than 0 pauses, got {every_ms}, {pauses}"
            )
        self._market = market
        self._seed = seed
        self._wanted = wanted
        self._every = every_ms
        self._pause_share = pauses * every_ms / _HOUR_MS
        self._stocks: dict[str, _Stock] = {}
        self._due: list[tuple[int, str, int]] = []
        self._sequence = 0

    def advance(self, to_ms: int) -> list[Event]:
        """The market's events and the bands due with them, ascending by send time."""
        events = self._market.advance(to_ms)
        if not self._pause_share and not self._wanted("LULD"):
            return events
        bands = []
        while self._due and self._due[0][0] <= to_ms:
            due_ms, symbol, indicator = heappop(self._due)
            if indicator or to_ms - due_ms < self._every:
                bands += self._tell(self._stocks[symbol], due_ms, indicator)
            else:  # nobody listened for a while
                self._plan(symbol, to_ms)
        events = [event for event in events if self._trades(event)]
        if bands:
            events += bands
            events.sort(key=_send_ms)
        return events

    def _trades(self, event: Event) -> bool:
        """Note a stock's price; False for a trade in its pause."""
        trade = event.trade
        if not isinstance(trade, StockTrade):
            return True
        stock = self._stocks.get(trade.sym)
        if stock is None:
            stock = self._stocks[trade.sym] = _Stock(trade)
            self._plan(trade.sym, event.send_ms)
        if stock.paused_from <= trade.t < stock.paused_until:
            return False
        stock.price = trade.p
        return True

    def _plan(self, symbol: str, after_ms: int) -> None:
        """The next band: each symbol has its own place within the time between two."""
        place = crc32(symbol.encode()) % self._every
        heappush(self._due, (after_ms + self._every - (after_ms - place) % self._every, symbol, 0))

    def _tell(self, stock: _Stock, ms: int, indicator: int) -> list[Event]:
        """The event due at `ms`; without `indicator` a band, for which is drawn what happens until the next."""
        if indicator:
            if indicator == REOPENED:
                stock.bands = _bands(stock.price)
            return [self._event(stock, ms, indicator)]
        self._plan(stock.symbol, ms)
        if ms < stock.paused_until:
            return []
        changed = stock.bands != (bands := _bands(stock.price))
        stock.bands = bands
        draw = Random(f"bands of {self._seed} {stock.symbol} {ms}").random()
        if stock.tape == NASDAQ:
            return self._nasdaq(stock, ms, pauses=draw < self._pause_share)
        if draw < LIMIT_SHARE:
            heappush(self._due, (ms + 1_000, stock.symbol, BID_ENTERED))
            heappush(self._due, (ms + 1_000 + LIMIT_MS, stock.symbol, BID_LEFT))
        return [self._event(stock, ms, PUBLISHED if changed else AGAIN)]

    def _nasdaq(self, stock: _Stock, ms: int, *, pauses: bool) -> list[Event]:
        if not pauses:
            return [self._event(stock, ms, INTRADAY)]
        stock.paused_from, stock.paused_until = ms, ms + PAUSE_MS
        heappush(self._due, (stock.paused_until, stock.symbol, REOPENED))
        return [self._event(stock, ms, PAUSED)]

    def _event(self, stock: _Stock, ms: int, indicator: int) -> Event:
        self._sequence += 1
        low, high = (0.0, 0.0) if indicator == PAUSED else stock.bands
        payload: dict[str, Any] = {
            "ev": "LULD", "T": stock.symbol, "h": high, "l": low, "i": [indicator], "z": stock.tape,
            "t": ms * 1_000_000, "q": self._sequence,
        }  # fmt: skip
        return Event(ms, "LULD", stock.symbol, payload, None)


def _bands(price: float) -> tuple[float, float]:
    """Those of the second tier: 10 % around the price, 20 % below 3 USD, at most 0.15 USD below 0.75 USD."""
    width = 0.1 * price if price > 3 else 0.2 * price if price >= 0.75 else min(0.15, 0.75 * price)
    return max(0.01, round(price - width, 2)), round(price + width, 2)
