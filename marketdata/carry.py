"""GAP_POLICY=carry: in regular sessions a candle without trades is published too, with the last close."""

from __future__ import annotations

from collections.abc import Iterator

from marketdata.calendar import CLOSED, TradingHours
from marketdata.intervals import Interval
from marketdata.units import DAY_US, floor_to


def carried_ends(
    levels: tuple[Interval, ...], sessions: TradingHours, before: int, clock: int
) -> Iterator[tuple[int, int]]:
    """(end, level) of each published candle that overlaps a regular session.

    They end after ``before`` and up to ``clock`` µs.
    """
    for day in range(before // DAY_US, clock // DAY_US + 1):
        opens, closes = sessions.session(day * DAY_US)
        if (opens, closes) == CLOSED:
            continue
        for i, level in enumerate(levels):
            if not level.published:
                continue
            if level.exchange_day:
                if before < closes <= clock:
                    yield closes, i
                continue
            length = level.length
            first = max(floor_to(opens, length), floor_to(before, length)) + length
            last = min(floor_to(closes - 1, length) + length, clock)
            for end in range(first, last + 1, length):
                yield end, i


def overlaps(sessions: TradingHours, start: int, end: int) -> bool:
    """Whether [start, end), which lies within one UTC day, overlaps the regular session of that day."""
    opens, closes = sessions.session(start)
    return start < closes and opens < end
