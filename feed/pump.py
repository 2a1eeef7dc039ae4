"""The clock of the feed: every few milliseconds it sends what the market has due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from feed.events import Event
from feed.history import History
from feed.hub import Hub
from feed.ledger import Ledger

HOUSEKEEPING_S: Final = 1.0
MAX_TICK_MS: Final = 50
SLOW_MS: Final = 1000
log = structlog.get_logger()


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
        self._sent_to_ms = now_ms()
        self._slow = False
        self.behind_ms = 0
        self.halted = False  # the market makes trades and nobody ever learns of them: they do not exist

    def tick(self) -> None:
        """Send what is due by now, of at most 50 ms of market time.

        A market too fast for its machine then runs late (`behind_ms`), while clients, REST and signals are still
        served: catching up in one go would take ever longer.
        """
        now = self._now_ms()
        self._sent_to_ms = min(now, self._sent_to_ms + MAX_TICK_MS)
        self.behind_ms = now - self._sent_to_ms
        events = self._market.advance(self._sent_to_ms)
        if self.halted:
            return
        add_history, add_ledger = self._history.add, self._ledger.add
        for event in events:
            trade = event.trade
            if trade is not None:
                add_ledger(trade, event.correction)
                add_history(trade, event.correction, event.about)
        self._hub.publish(events)

    def tidy(self) -> None:
        """Flush the ledger, trim the history, and say so when the feed starts or stops to run late."""
        self._ledger.flush()
        self._history.trim()
        slow = self.behind_ms > SLOW_MS
        if slow != self._slow:
            self._slow = slow
            log.warning("feed runs late: its rate is too high here" if slow else "feed is on time again")

    async def run(self, tick_ms: int) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        next_tidy = loop.time() + HOUSEKEEPING_S
        while True:
            next_tick = loop.time()
            self.tick()
            if loop.time() >= next_tidy:
                self.tidy()
                next_tidy = loop.time() + HOUSEKEEPING_S
            next_tick += tick_ms / 1000
            await asyncio.sleep(0 if self.behind_ms else max(0.0, next_tick - loop.time()))
