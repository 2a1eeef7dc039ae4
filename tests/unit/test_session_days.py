"""Sessions around both changes of the clocks, a holiday and a half day, against a table written by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import pytest

from marketdata.bar import Tick
from marketdata.calendar import CLOSED, new_york_hours
from marketdata.candles import CandleEngine, Closed
from marketdata.hours import hours_of, session_of
from marketdata.intervals import Interval, levels


class Times(NamedTuple):
    """UTC hours of one day, past 24 where it is the next: 04:00 New York, the open, the close, 20:00 New York."""

    pre: float
    opens: float
    closes: float
    ends: float


WINTER, SUMMER = Times(9, 14.5, 21, 25), Times(8, 13.5, 20, 24)
DAYS = {  # New York is 5 hours behind UTC in winter, 4 from 8 March to 1 November 2026
    "2026-03-05": WINTER,  # Thursday
    "2026-03-06": WINTER,  # Friday
    "2026-03-07": None,  # Saturday
    "2026-03-08": None,  # Sunday: 02:00 becomes 03:00
    "2026-03-09": SUMMER,  # Monday
    "2026-03-10": SUMMER,
    "2026-10-30": SUMMER,  # Friday
    "2026-10-31": None,
    "2026-11-01": None,  # Sunday: 02:00 becomes 01:00
    "2026-11-02": WINTER,  # Monday
    "2026-11-25": WINTER,  # Wednesday
    "2026-11-26": None,  # Thanksgiving
    "2026-11-27": Times(9, 14.5, 18, 25),  # the half day after it
    "2026-11-28": None,
    "2026-11-30": WINTER,
}
TRADED = [day for day, times in DAYS.items() if times]
HOUR = 3_600_000_000
QUARTER, STEP = HOUR // 4, HOUR // 12
NAMES = ("500ms", "1s", "5s", "15s", "30s", "45s", "1m", "5m", "15m", "1h", "4h", "24h", "1d")
LEVELS = levels(NAMES, new_york_hours())
Key = tuple[str, str]


def us(day: str, hours: float = 0) -> int:
    """A UTC time in µs."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return round(midnight + hours * 3_600) * 1_000_000


@pytest.mark.parametrize("day", DAYS)
def test_the_calendar_says_what_the_table_says(day: str) -> None:
    hours, times = new_york_hours(), DAYS[day]
    wanted = (us(day, times.opens), us(day, times.closes)) if times else CLOSED
    for at in (0, 5, 12, 14.5, 20.5, 23.99):
        assert hours.session(us(day, at)) == wanted
    opens, closes = wanted
    regular = [ts for ts in range(us(day), us(day, 24), 250_000) if hours.is_regular(ts)]
    assert regular == list(range(opens, closes, 250_000))
    if times:
        assert hours.is_regular(closes - 1)
        assert not hours.is_regular(opens - 1)


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize(
    "level", [level for level in LEVELS if level.sessions is None and level.length >= 15_000_000]
)
def test_the_session_of_each_candle_of_the_day(day: str, level: Interval) -> None:
    """A New York day begins at 04:00 or 05:00 UTC."""
    labels: list[tuple[str | None, int]] = []
    for start in range(us(day, 6), us(day, 30), level.length):
        label = session_of(level, start, new_york_hours())
        if not labels or labels[-1][0] != label:
            labels.append((label, start))
    times = DAYS[day]
    wanted: list[tuple[str | None, int]] = [(None, us(day, 6))]
    if times and level.length <= QUARTER:
        named = zip(("pre", "regular", "post", None), times, strict=True)
        wanted += [(name, us(day, hours)) for name, hours in named]
    assert labels == wanted


@cache
def traded(day: str) -> tuple[list[int], dict[Key, list[tuple[int, Closed]]]]:
    """Trades on the first and the last ms of every five minutes of the day; what closed, beside the clock then."""
    times = [ts for start in range(us(day), us(day, 24), STEP) for ts in (start, start + STEP - 1_000)]
    engine = CandleEngine(LEVELS, HOUR // 4)
    found: dict[Key, list[tuple[int, Closed]]] = {}
    for n, ts in enumerate([*times, us(day, 24), us(day, 48)]):
        clock = ts - ts % 50_000
        for closed in engine.advance(clock):
            level = LEVELS[closed.level]
            for hours in hours_of(level, closed.start, new_york_hours()):
                found.setdefault((level.name, hours), []).append((clock, closed))
        if n < len(times):
            engine.add("A", Tick(ts, n, 1, str(n), 0, 10.0 + n, 1.0, True, True, True, None), ts)
    return times, found


@pytest.mark.parametrize("day", DAYS)
def test_candles_of_regular_hours_hold_the_session_and_nothing_else(day: str) -> None:
    trades, found = traded(day)
    times = DAYS[day]
    opens, closes = (us(day, times.opens), us(day, times.closes)) if times else (0, 0)
    inside = [n for n, ts in enumerate(trades) if opens <= ts < closes]
    for name in NAMES:
        regular = [closed for _, closed in found.get((name, "regular"), [])]
        assert sum(closed.bar.trades for closed in regular) == len(inside)
        if inside:
            assert (regular[0].bar.open, regular[-1].bar.close) == (10.0 + inside[0], 10.0 + inside[-1])
        else:
            assert regular == []
        if name != "1d":
            assert sum(closed.bar.trades for _, closed in found[name, "all"]) == len(trades)
    assert ("1d", "all") not in found


@pytest.mark.parametrize("day", TRADED)
def test_the_exchange_day_spans_the_session_and_closes_with_it(day: str) -> None:
    times = DAYS[day]
    assert times
    (clock, closed), *more = traded(day)[1]["1d", "regular"]
    assert more == []
    assert (closed.start, closed.end) == (us(day, times.opens), us(day, times.closes))
    assert clock == closed.end
    assert closed.bar.trades == 2 * 12 * (times.closes - times.opens)
    assert closed.revision == 0
