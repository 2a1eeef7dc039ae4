"""How long to gather before working: each turn costs as much as some twenty records, and as many requests follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

GATHER_S: Final = 0.004
GATHER_BUSY_S: Final = 0.006
GATHER_CROWDED_S: Final = 0.02
BUSY_PER_S: Final = 2_000
CROWDED_PER_S: Final = 8_000
"""Records a second from which on throughput comes before milliseconds."""
REMEMBERED_S: Final = 0.25
"""How long a record counts in the rate, on average: it follows within some tenths of a second."""


class Pace:
    """How many records a second come, and so how long to gather; ``timer`` gives seconds."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._last = timer()
        self._remembered = 0.0

    def took(self, records: int) -> None:
        """A turn has given so many ``records``.

        Old ones are forgotten by the clock, exponentially: turns follow each other at uneven steps, and the mean of
        their own rates would be far above the log's.
        """
        now = self._timer()
        self._remembered = self._remembered * math.exp((self._last - now) / REMEMBERED_S) + records
        self._last = now

    @property
    def crowded(self) -> bool:
        """Whether throughput comes before milliseconds."""
        return self._remembered >= CROWDED_PER_S * REMEMBERED_S

    @property
    def gather_s(self) -> float:
        """How long to go on after the first record, in seconds."""
        if self.crowded:
            return GATHER_CROWDED_S
        return GATHER_BUSY_S if self._remembered >= BUSY_PER_S * REMEMBERED_S else GATHER_S
