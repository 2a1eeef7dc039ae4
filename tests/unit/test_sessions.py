"""The stock market's state at fixed times: weekends, holidays, half days, both changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from marketdata.calendar import TradingHours, new_york_hours
from marketdata.sessions import exchange_day, market_state, new_york
from marketdata.units import DAY_US, SECOND_US

NEW_YORK = ZoneInfo("America/New_York")


def at(text: str, zone: ZoneInfo = NEW_YORK) -> int:
    """``2026-11-20 09:30`` of New York in µs."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * SECOND_US)


@pytest.mark.parametrize(
    ("when", "phase", "text"),
    [
        ("2026-11-20 03:59:59", "closed", "closed, opens Friday 09:30 New York"),
        ("2026-11-20 04:00:00", "pre", "pre-market, opens Friday 09:30 New York"),
        ("2026-11-20 09:29:59.999999", "pre", "pre-market, opens Friday 09:30 New York"),
        ("2026-11-20 09:30:00", "regular", "open until 16:00 New York"),
        ("2026-11-20 15:59:59.999999", "regular", "open until 16:00 New York"),
        ("2026-11-20 16:00:00", "post", "after hours, opens Monday 09:30 New York"),
        ("2026-11-20 19:59:59", "post", "after hours, opens Monday 09:30 New York"),
        ("2026-11-20 20:00:00", "closed", "closed, opens Monday 09:30 New York"),
        ("2026-11-21 11:00:00", "closed", "closed, opens Monday 09:30 New York"),
        ("2026-11-22 23:59:59", "closed", "closed, opens Monday 09:30 New York"),
        ("2026-11-23 00:00:00", "closed", "closed, opens Monday 09:30 New York"),
        # Thanksgiving is a holiday, the Friday after it a half day.
        ("2026-11-25 21:00:00", "closed", "closed, opens Friday 09:30 New York"),
        ("2026-11-26 12:00:00", "closed", "closed, opens Friday 09:30 New York"),
        ("2026-11-26 05:00:00", "closed", "closed, opens Friday 09:30 New York"),
        ("2026-11-27 12:59:59", "regular", "open until 13:00 New York (half day)"),
        ("2026-11-27 13:00:00", "post", "after hours, opens Monday 09:30 New York"),
        # A holiday on a Monday, and Good Friday with a weekend after it.
        ("2026-01-17 12:00:00", "closed", "closed, opens Tuesday 09:30 New York"),
        ("2026-04-02 20:30:00", "closed", "closed, opens Monday 09:30 New York"),
        # The week of each change of the clocks: Friday's hours, the Sunday, Monday's hours.
        ("2026-03-06 09:30:00", "regular", "open until 16:00 New York"),
        ("2026-03-08 03:30:00", "closed", "closed, opens Monday 09:30 New York"),
        ("2026-03-09 09:29:59", "pre", "pre-market, opens Monday 09:30 New York"),
        ("2026-03-09 15:59:59", "regular", "open until 16:00 New York"),
        ("2026-10-30 19:59:59", "post", "after hours, opens Monday 09:30 New York"),
        ("2026-11-02 04:00:00", "pre", "pre-market, opens Monday 09:30 New York"),
        ("2026-11-02 09:30:00", "regular", "open until 16:00 New York"),
        # September 2001: six days without trading.
        ("2001-09-11 08:00:00", "closed", "closed, opens Monday 09:30 New York"),
    ],
)
def test_state_and_text(when: str, phase: str, text: str) -> None:
    state = market_state(at(when))
    assert (state.phase, str(state)) == (phase, text)


@pytest.mark.parametrize(
    ("when", "opens_utc"),
    [
        ("2026-03-07 12:00", "2026-03-09 13:30"),
        ("2026-03-05 16:00", "2026-03-06 14:30"),
        ("2026-10-31 12:00", "2026-11-02 14:30"),
        ("2026-10-29 16:00", "2026-10-30 13:30"),
        ("2026-11-20 09:30", "2026-11-23 14:30"),
        ("2026-11-20 09:29", "2026-11-20 14:30"),
    ],
)
def test_the_next_open_is_1330_utc_in_summer_and_1430_in_winter(when: str, opens_utc: str) -> None:
    assert market_state(at(when)).opens == at(opens_utc, ZoneInfo("UTC"))


def test_the_last_hour_after_the_close_belongs_to_the_day_before_in_utc() -> None:
    """20:00 New York is 01:00 UTC in winter, midnight in summer."""
    assert market_state(at("2026-01-07 00:59", ZoneInfo("UTC"))).phase == "post"
    assert market_state(at("2026-01-07 01:00", ZoneInfo("UTC"))).phase == "closed"
    assert market_state(at("2026-07-07 23:59", ZoneInfo("UTC"))).phase == "post"
    assert market_state(at("2026-07-08 00:00", ZoneInfo("UTC"))).phase == "closed"


def test_a_day_is_whole_and_in_order() -> None:
    hours = new_york_hours()
    first = at("2026-01-01 12:00") // DAY_US
    days = [day for number in range(first, first + 365) if (day := exchange_day(number, hours)) is not None]
    assert len(days) == 251
    assert [f"{new_york(day.opens):%m-%d}" for day in days if day.is_half] == ["11-27", "12-24"]
    for day in days:
        assert day.starts < day.opens < day.closes < day.ends
        assert [f"{new_york(ts):%H:%M}" for ts in (day.starts, day.opens, day.ends)] == ["04:00", "09:30", "20:00"]


def test_an_opening_more_than_six_days_off_names_its_date() -> None:
    start = at("2030-01-07 12:00", ZoneInfo("UTC")) // DAY_US
    opens = (start + 9) * DAY_US + 52_200 * SECOND_US
    hours = TradingHours({start + 9: (opens, opens + 3_600 * SECOND_US)}, (start - 100, start + 100))
    state = market_state(start * DAY_US + 43_200 * SECOND_US, hours)
    assert str(state) == "closed, opens Wednesday 2030-01-16 09:30 New York"


def test_every_minute_of_a_week_agrees_with_the_regular_hours() -> None:
    hours = new_york_hours()
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    for _ in range(7 * 24 * 4):
        ts = int(moment.timestamp()) * SECOND_US
        state = market_state(ts, hours)
        assert (state.phase == "regular") == hours.is_regular(ts)
        assert state.opens > ts
        assert hours.is_regular(state.opens)
        assert not hours.is_regular(state.opens - 1)
        moment += timedelta(minutes=15)
