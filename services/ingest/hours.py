"""When each cluster's market is open, as its feed shows it: a delayed feed opens later by its delay."""

from __future__ import annotations

from typing import Final

from marketdata.calendar import new_york_hours
from marketdata.sessions import MarketState, market_state
from marketdata.units import SECOND_US
from services.ingest.settings import IngestSettings

ALWAYS: Final = {"crypto": "open at all times", "bundled": "open at all times (the bundled feed)"}


class MarketHours:
    """Crypto and the bundled feed are always open, stocks in regular hours."""

    def __init__(self, settings: IngestSettings) -> None:
        self._bundled = settings.bundled
        self._delay_us = round(settings.stocks_feed_delay_s * SECOND_US)
        self._calendar = None if self._bundled else new_york_hours()

    def is_open(self, market: str, now: int) -> bool:
        """Whether trades are to be expected at ``now`` µs."""
        state = self._state(market, now)
        return state is None or state.phase == "regular"

    def opened(self, market: str, now: int) -> int:
        """Since when, in µs of the receiver's clock, trades are to be expected; 0 where always or not at all."""
        state = self._state(market, now)
        if state is None or state.day is None or state.phase != "regular":
            return 0
        return state.day.opens + self._delay_us

    def describe(self, market: str, now: int) -> str:
        """For people: ``closed, opens Monday 09:30 New York``."""
        state = self._state(market, now)
        return str(state) if state is not None else ALWAYS["bundled" if self._bundled else market]

    def _state(self, market: str, now: int) -> MarketState | None:
        if self._calendar is None or market == "crypto":
            return None
        return market_state(now - self._delay_us, self._calendar)
