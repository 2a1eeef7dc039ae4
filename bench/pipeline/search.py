"""The search for the highest rate that holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST: Final = 5_000
LOWEST: Final = 1_250
HIGHEST: Final = 160_000
STEP: Final = 0.1
"""How near, as a share of the answer, the lowest rate that fails must lie to it."""
ROUND: Final = 100


def highest(holds: Callable[[int], bool]) -> int | None:
    """The highest rate found that holds; None where not even the lowest does.

    From 5,000 it is doubled while it holds (to 160,000 at most) or halved until it does (to 1,250 at least), then
    the stretch between is bisected.
    """
    good, bad, rate = None, None, FIRST
    while good is None or bad is None:
        if holds(rate):
            good = rate
            if rate >= HIGHEST:
                return good
            rate = min(2 * rate, HIGHEST)
        else:
            bad = rate
            if rate <= LOWEST:
                return None
            rate = max(rate // 2, LOWEST)
    while bad - good > STEP * good:
        middle = (good + bad) // 2 // ROUND * ROUND
        if middle <= good:
            break
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good
