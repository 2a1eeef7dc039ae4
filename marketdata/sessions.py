"""What the stock market does at a time: before, in or after its regular session, or closed, and when it opens next.

Source: the XNYS calendar (``marketdata.calendar``). Trading before the open begins at 04:00 New York, and trading
after the close ends at 20:00, on half days too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from marketdata.calendar import CLOSED, TradingHours, new_york_hours, trading_day
from marketdata.units import DAY_US, SECOND_US

Phase = Literal["pre", "regular", "post", "closed"]
NEW_YORK: Final = ZoneInfo("America/New_York")
PRE_STARTS, USUAL_CLOSE, POST_ENDS = time(4), time(16), time(20)
EPOCH: Final = date(1970, 1, 1)
LONGEST_CLOSED_DAYS: Final = 30
"""The exchange was never closed for longer in the years that the calendar knows."""


@dataclass(frozen=True, slots=True)
class ExchangeDay:
    """One day of trading, in µs: pre [``starts``, ``opens``), regular [``opens``, ``closes``), post to ``ends``."""

    starts: int
    opens: int
    closes: int
    ends: int

    @property
    def is_half(self) -> bool:
        """Whether the exchange closes before 16:00."""
        return new_york(self.closes).time() < USUAL_CLOSE

    def phase(self, ts: int) -> Phase:
        """The part of this day that ``ts`` in µs lies in."""
        if not self.starts <= ts < self.ends:
            return "closed"
        return "pre" if ts < self.opens else "regular" if ts < self.closes else "post"


@dataclass(frozen=True, slots=True)
class MarketState:
    """``opens`` is the next regular open after ``ts``, both in µs; ``day`` that of ``ts``, None on a day off."""

    ts: int
    phase: Phase
    opens: int
    day: ExchangeDay | None

    def __str__(self) -> str:
        """For people: ``closed, opens Monday 09:30 New York``."""
        if self.phase == "regular" and self.day is not None:
            half = " (half day)" if self.day.is_half else ""
            return f"open until {new_york(self.day.closes):%H:%M} New York{half}"
        words = {"pre": "pre-market", "post": "after hours", "closed": "closed"}
        return f"{words[self.phase]}, opens {self._opens()} New York"

    def _opens(self) -> str:
        opens = new_york(self.opens)
        far = opens.date() - new_york(self.ts).date() > timedelta(days=6)  # the weekday alone would name another day
        return f"{opens:%A %Y-%m-%d %H:%M}" if far else f"{opens:%A %H:%M}"


def market_state(ts: int, hours: TradingHours | None = None) -> MarketState:
    """The stock market at ``ts`` in µs; ``hours`` is New York's calendar unless another is given."""
    hours = hours or new_york_hours()
    number = trading_day(ts)
    day = exchange_day(number, hours)
    phase = day.phase(ts) if day is not None else "closed"
    return MarketState(ts, phase, _next_open(ts, number, hours), day)


@lru_cache(maxsize=256)
def exchange_day(number: int, hours: TradingHours) -> ExchangeDay | None:
    """The trading day ``number`` (see ``calendar.trading_day``), None where the exchange stays closed."""
    opens, closes = session = hours.session(number * DAY_US)
    if session == CLOSED:
        return None
    return ExchangeDay(_at(number, PRE_STARTS), opens, closes, _at(number, POST_ENDS))


def new_york(ts: int) -> datetime:
    """``ts`` in µs as New York's time."""
    return datetime.fromtimestamp(ts / SECOND_US, UTC).astimezone(NEW_YORK)


def _next_open(ts: int, number: int, hours: TradingHours) -> int:
    opens = (hours.session(day * DAY_US)[0] for day in range(number, number + LONGEST_CLOSED_DAYS))
    return next(open_ for open_ in opens if open_ > ts)


def _at(number: int, at: time) -> int:
    local = datetime.combine(EPOCH + timedelta(days=number), at, NEW_YORK)
    return int(local.timestamp()) * SECOND_US
