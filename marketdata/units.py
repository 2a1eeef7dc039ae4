"""Units shared by all records: microseconds, the clock's step, and exact scaled integers."""

from __future__ import annotations

from typing import Final

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
CLOCK_STEP_US: Final = 50_000


def floor_to(ts: int, step: int) -> int:
    """The last multiple of ``step`` at or before ``ts``, both in µs since the epoch."""
    return ts - ts % step


def ceil_to(ts: int, step: int) -> int:
    """The first multiple of ``step`` at or after ``ts``, both in µs since the epoch."""
    return ts + -ts % step


def forget_every(horizon_us: int) -> int:
    """How often, in µs, to forget what is past a horizon: a twelfth of it, but from a second to a minute."""
    return min(max(horizon_us // 12, SECOND_US), 60 * SECOND_US)
