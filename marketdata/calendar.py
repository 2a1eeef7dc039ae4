"""Regular hours of the New York stock exchange, as plain numbers.

Source: exchange_calendars' XNYS (holidays, half days, daylight saving). Days outside what the library knows follow
the weekday rule without holidays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from marketdata.units import DAY_US, SECOND_US

Session = tuple[int, int]
CLOSED: Final[Session] = (0, 0)
FIRST_DAY: Final = "2000-01-03"
LAST_DAY: Final = "2035-12-31"
_NEW_YORK: Final = ZoneInfo("America/New_York")
_TRADING_DAY_SHIFT_US: Final = 5 * 3600 * SECOND_US


def trading_day(ts: int) -> int:
    """The exchange's day of ``ts`` as days since the epoch.

    New York trades from 04:00 to 20:00, which lies in one UTC day once five hours are taken off, summer or winter.
    """
    return (ts - _TRADING_DAY_SHIFT_US) // DAY_US


class TradingHours:
    """Regular sessions [open, close) by UTC day: each lies within one."""

    def __init__(self, sessions: Mapping[int, Session], known: tuple[int, int]) -> None:
        self._sessions = dict(sessions)
        self._first, self._last = known

    def session(self, ts: int) -> Session:
        """The regular session of the UTC day of ``ts`` in µs, (0, 0) where the exchange stays closed."""
        day = ts // DAY_US
        found = self._sessions.get(day)
        if found is None:
            found = CLOSED if self._first <= day <= self._last else _weekday_session(day)
            self._sessions[day] = found
        return found

    def is_regular(self, ts: int) -> bool:
        """Whether ``ts`` in µs lies in a regular session."""
        opens, closes = self.session(ts)
        return opens <= ts < closes


@cache
def new_york_hours() -> TradingHours:
    """The calendar of the New York stock exchange (building it takes about a second, once)."""
    import exchange_calendars

    schedule = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY, end=LAST_DAY)
    sessions: dict[int, Session] = {}
    for opens, closes in zip(schedule.opens, schedule.closes, strict=True):
        start, end = int(opens.timestamp()) * SECOND_US, int(closes.timestamp()) * SECOND_US
        sessions[start // DAY_US] = (start, end)
    return TradingHours(sessions, (min(sessions), max(sessions)))


def _weekday_session(day: int) -> Session:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    if date.weekday() >= 5:
        return CLOSED
    opens, closes = (
        int(datetime.combine(date.date(), at, _NEW_YORK).timestamp()) * SECOND_US for at in (time(9, 30), time(16))
    )
    return opens, closes
