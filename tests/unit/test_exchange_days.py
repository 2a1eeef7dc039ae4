"""The table of holidays and half days, held against the library it was made from, day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import exchange_calendars
import pytest

from marketdata.calendar import CLOSED, new_york_hours
from marketdata.exchange_days import FIRST, HALF_DAYS, HOLIDAYS, LAST
from marketdata.units import DAY_US, SECOND_US


@pytest.fixture(scope="module")
def schedule() -> Any:
    return exchange_calendars.get_calendar("XNYS", start=str(FIRST), end=str(LAST))


def test_every_session_from_2000_to_2035_is_the_librarys(schedule: Any) -> None:
    """If it fails, the exchange has announced a change: mend the table by what is printed."""
    theirs = {
        opens.date(): (int(opens.timestamp()) * SECOND_US, int(closes.timestamp()) * SECOND_US)
        for opens, closes in zip(schedule.opens, schedule.closes, strict=True)
    }
    hours, day, different = new_york_hours(), FIRST, []
    while day <= LAST:
        ts = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * SECOND_US
        if hours.session(ts) != theirs.get(day, CLOSED):
            different.append((str(day), hours.session(ts), theirs.get(day, CLOSED)))
        day += timedelta(1)
    assert len(theirs) > 9_000
    assert not different


def test_the_table_holds_weekdays_of_its_years_alone() -> None:
    assert not HOLIDAYS & HALF_DAYS
    for day in HOLIDAYS | HALF_DAYS:
        assert FIRST <= day <= LAST
        assert day.weekday() < 5


def test_days_outside_the_table_follow_the_weekday_rule() -> None:
    hours = new_york_hours()
    for day, opens in (
        (date(1999, 7, 5), 13.5),
        (date(2036, 12, 25), 14.5),
    ):  # holidays both, a Monday and a Thursday
        midnight = (day - date(1970, 1, 1)).days * DAY_US
        assert hours.session(midnight) == (
            midnight + opens * 3_600 * SECOND_US,
            midnight + (opens + 6.5) * 3_600 * SECOND_US,
        )
