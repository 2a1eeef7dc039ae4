"""The clock of the feed: every few milliseconds it sends what the market has due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from feed.events import Event
from feed.history import History
from feed.hub import Hub
from feed.ledger import Ledger

HOUSEKEEPING_S: Final = 1.0


class Market(Protocol):
    """Where events come from: the model or a player."""

    def advance(self, to_ms: int) -> list[Event]:
        """All events due up to and including `to_ms` that were not returned before."""


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Pump:
    """Moves due events to the ledger, the history and the hub, in this order: what a client has got, REST knows."""

    def __init__(
        self, market: Market, hub: Hub, history: History, ledger: Ledger, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._market = market
        self._hub = hub
        self._history = history
        self._ledger = ledger
        self._now_ms = now_ms
        self.last_tick_ms = 0

    def tick(self) -> None:
        """Send everything due by now."""
        now = self._now_ms()
        events = self._market.advance(now)
        add_history, add_ledger = self._history.add, self._ledger.add
        for event in events:
            trade = event.trade
            if trade is not None:
                add_ledger(trade, event.correction)
                add_history(trade, event.correction)
        self._hub.publish(events)
        self.last_tick_ms = self._now_ms() - now

    def tidy(self) -> None:
        """Flush the ledger and trim the history."""
        self._ledger.flush()
        self._history.trim()

    async def run(self, tick_ms: int) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        next_tidy = loop.time() + HOUSEKEEPING_S
        while True:
            self.tick()
            if loop.time() >= next_tidy:
                self.tidy()
                next_tidy = loop.time() + HOUSEKEEPING_S
            await asyncio.sleep(max(0.0, (tick_ms - self.last_tick_ms) / 1000))
