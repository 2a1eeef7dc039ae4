"""Regular hours of the New York stock exchange, as plain numbers.

Source: marketdata/exchange_days.py for holidays and half days, the tz database for daylight saving. Days outside the
table's years follow the weekday rule without holidays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from marketdata.exchange_days import HALF_DAYS, HOLIDAYS
from marketdata.units import DAY_US, SECOND_US

Session = tuple[int, int]
CLOSED: Final[Session] = (0, 0)
ALL_BY_RULE: Final = (0, -1)
OPENS, CLOSES, CLOSES_EARLY = time(9, 30), time(16), time(13)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEW_YORK: Final = ZoneInfo("America/New_York")
_TRADING_DAY_SHIFT_US: Final = 5 * 3600 * SECOND_US


def trading_day(ts: int) -> int:
    """The exchange's day of ``ts`` as days since the epoch.

    New York trades from 04:00 to 20:00, which lies in one UTC day once five hours are taken off, summer or winter.
    """
    return (ts - _TRADING_DAY_SHIFT_US) // DAY_US


class TradingHours:
    """Regular sessions [open, close) by UTC day: each lies within one.

    ``known`` is the first and the last day of which ``sessions`` says all; others are New York's.
    """

    def __init__(self, sessions: Mapping[int, Session], known: tuple[int, int]) -> None:
        self._sessions = dict(sessions)
        self._first, self._last = known
        self._latest = CLOSED  # the session that a trade was last found in: the next one mostly lies there too

    def session(self, ts: int) -> Session:
        """The regular session of the UTC day of ``ts`` in µs, (0, 0) where the exchange stays closed."""
        day = ts // DAY_US
        found = self._sessions.get(day)
        if found is None:
            found = CLOSED if self._first <= day <= self._last else _by_rule(day)
            self._sessions[day] = found
        return found

    def is_regular(self, ts: int) -> bool:
        """Whether ``ts`` in µs lies in a regular session."""
        opens, closes = self._latest
        if opens <= ts < closes:
            return True
        opens, closes = session = self.session(ts)
        if opens <= ts < closes:
            self._latest = session
            return True
        return False


@cache
def new_york_hours() -> TradingHours:
    """The calendar of the New York stock exchange."""
    return TradingHours({}, ALL_BY_RULE)


def _by_rule(day: int) -> Session:
    date = (_EPOCH + timedelta(days=day)).date()
    if date.weekday() >= 5 or date in HOLIDAYS:
        return CLOSED
    closes = CLOSES_EARLY if date in HALF_DAYS else CLOSES
    begin, end = (int(datetime.combine(date, at, _NEW_YORK).timestamp()) * SECOND_US for at in (OPENS, closes))
    return begin, end
