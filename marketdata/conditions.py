"""What a trade may update, by its sale conditions.

Source: the vendor's conditions reference (2026-07). A condition that is not listed here, or none at all, lets a
trade update everything; any "no" among a trade's conditions wins.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

FORM_T: Final = 12
NO_PRICE: Final = frozenset({2, 7, FORM_T, 13, 15, 16, 20, 21, 29, 37, 52, 53})
NO_OPEN_CLOSE: Final = frozenset({5, 10, 22, 32, 33}) | NO_PRICE
NO_VOLUME: Final = frozenset({15, 16, 38})


class Updates(NamedTuple):
    """What a trade updates: ``high_low`` makes it price-forming."""

    high_low: bool
    open_close: bool
    volume: bool


EVERYTHING: Final = Updates(high_low=True, open_close=True, volume=True)
NOTHING: Final = Updates(high_low=False, open_close=False, volume=False)


@lru_cache(maxsize=65_536)
def updates_of(conditions: tuple[int, ...], regular_hours: bool) -> Updates:
    """What a trade with these conditions updates.

    Outside regular hours Form T (12) forbids nothing by itself: every trade there carries it, and the vendor's
    minute bars take their prices from it.
    """
    given = frozenset(conditions)
    if not regular_hours:
        given -= {FORM_T}
    return Updates(not given & NO_PRICE, not given & NO_OPEN_CLOSE, not given & NO_VOLUME)
