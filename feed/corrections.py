"""Cancels, errors and corrections of simulated stock trades, which REST tells and the socket never sends."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from operator import attrgetter
from random import Random
from typing import Final, Protocol

import msgspec

from feed.events import Event, StockTrade

SOONEST_MS: Final = 1_000
LATEST_MS: Final = 60_000
CANCEL, CORRECTION = 10, 12
KINDS: Final = (CANCEL, CANCEL, CANCEL, 11, CORRECTION)
"""Cancel record, error record, correction record."""
_send_ms = attrgetter("send_ms")


class Source(Protocol):
    """A market."""

    def advance(self, to_ms: int) -> list[Event]:
        """All events due up to and including `to_ms` that were not returned before."""


class Corrected:
    """A market in which a share of the stock trades is taken back 1 to 60 s after it was sent.

    The record bears the trade's own id, exchange and TRF and its own time; a correction record (12) bears the price
    that is right, the others the trade's. The market's own events are the same as without.
    """

    def __init__(self, market: Source, share: float, seed: int) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"the share of trades to correct must be above 0 and at most 1, got {share}")
        self._market = market
        self._share = share
        self._rng = Random(f"corrections of {seed}")
        self._draw: Callable[[], float] = self._rng.random
        self._due: list[tuple[int, int, Event]] = []
        self._count = 0

    def advance(self, to_ms: int) -> list[Event]:
        """The market's events and the records due with them, ascending by send time."""
        events = self._market.advance(to_ms)
        for event in events:
            trade = event.trade
            if isinstance(trade, StockTrade) and self._draw() < self._share:
                self._take_back(event, trade)
        due = self._due
        if not due or due[0][0] > to_ms:
            return events
        while due and due[0][0] <= to_ms:
            events.append(heappop(due)[2])
        events.sort(key=_send_ms)
        return events

    def _take_back(self, event: Event, trade: StockTrade) -> None:
        ms = event.send_ms + self._rng.randrange(SOONEST_MS, LATEST_MS)
        kind = self._rng.choice(KINDS)
        price = round(trade.p + 0.01, 4) if kind == CORRECTION else trade.p
        record = msgspec.structs.replace(trade, t=ms, p=price)
        self._count += 1
        heappush(self._due, (ms, self._count, Event(ms, "T", event.symbol, record, record, kind, trade)))
