"""How long to gather before working: each turn costs as much as some twenty records, and as many requests follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

GATHER_S: Final = 0.002
GATHER_BUSY_S: Final = 0.006
GATHER_CROWDED_S: Final = 0.02
BUSY_PER_S: Final = 2_000
CROWDED_PER_S: Final = 8_000
"""Records a second from which on throughput comes before milliseconds."""
SMOOTHING: Final = 0.05
"""What one turn counts in the rate: it follows within some twenty."""


class Pace:
    """How many records a second come, and so how long to gather; ``timer`` gives seconds."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._last = timer()
        self._per_s = 0.0

    def took(self, records: int) -> None:
        """A turn has given so many ``records``."""
        now = self._timer()
        self._per_s += SMOOTHING * (records / max(now - self._last, 1e-4) - self._per_s)
        self._last = now

    @property
    def crowded(self) -> bool:
        """Whether throughput comes before milliseconds."""
        return self._per_s >= CROWDED_PER_S

    @property
    def gather_s(self) -> float:
        """How long to go on after the first record, in seconds."""
        if self.crowded:
            return GATHER_CROWDED_S
        return GATHER_BUSY_S if self._per_s >= BUSY_PER_S else GATHER_S
