"""Which hours a candle belongs to, and which part of the exchange's day."""

from __future__ import annotations

from typing import Final, Literal

from marketdata.calendar import TradingHours, trading_day
from marketdata.intervals import Interval, is_whole
from marketdata.sessions import exchange_day
from marketdata.units import SECOND_US

Hours = Literal["all", "regular"]
Session = Literal["pre", "regular", "post"]
ALL: Final = "all"
REGULAR: Final = "regular"
LONGEST_WITH_SESSION_US: Final = 900 * SECOND_US


def hours_of(level: Interval, start: int, sessions: TradingHours | None) -> tuple[Hours, ...]:
    """The hours of the candle of ``level`` at ``start`` µs: one that lies within a regular session belongs to both.

    ``sessions`` is the exchange's calendar, None for a market that never closes.
    """
    if level.sessions is not None:
        return ("regular",)
    if sessions is not None and is_whole(level.length) and sessions.is_regular(start):
        return ("all", "regular")
    return ("all",)


def session_of(level: Interval, start: int, sessions: TradingHours | None) -> Session | None:
    """The part of the exchange's day that a candle of at most 15 m lies in."""
    if sessions is None or level.length > LONGEST_WITH_SESSION_US:
        return None
    day = exchange_day(trading_day(start), sessions)
    phase = day.phase(start) if day is not None else "closed"
    return None if phase == "closed" else phase
