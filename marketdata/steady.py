"""A wall clock that does not jump: the host's clock may be set while the service runs."""

from __future__ import annotations

from typing import Final

STEP_US: Final = 100_000
"""A change of the wall clock against the steady one, between two readings, that is no drift any more."""
SLEW: Final = 200
"""Drift is followed by one part in so many."""
LOOK_EVERY_US: Final = 10_000


class SteadyClock:
    """Follows the drift of the wall clock, not its steps. All times in µs.

    A step is taken over only where the trades say so: while they show that this clock is off by more than
    ``tolerance`` and that the wall clock is nearer. ``ignored`` is by how much the wall clock is ahead of this one
    through steps.
    """

    def __init__(self, wall: int, steady: int, tolerance: int) -> None:
        self._ahead = self._offset = wall - steady
        self._read = steady
        self._tolerance = tolerance
        self.ignored = 0

    def now(self, wall: int, steady: int) -> int:
        """The time now, from a reading of both clocks; ``steady`` is one that nobody sets."""
        ahead, elapsed = wall - steady, steady - self._read
        if elapsed < LOOK_EVERY_US:
            return steady + self._offset
        change = ahead - self._ahead
        if abs(change) > STEP_US + elapsed // SLEW:
            self.ignored += change
        self._ahead, self._read = ahead, steady
        most = elapsed // SLEW
        self._offset += min(max(ahead - self.ignored - self._offset, -most), most)
        return steady + self._offset

    def peek(self, steady: int) -> int:
        """The time now as it was last followed; it changes nothing, so that other threads may ask."""
        return steady + self._offset

    def trades_say(self, skew: int) -> int:
        """Take a step over if the least lag of trades by this clock, ``skew``, asks for it; by how much it did."""
        step = self.ignored
        if not step or abs(skew) <= self._tolerance or abs(skew + step) >= abs(skew):
            return 0
        self._offset += step
        self.ignored = 0
        return step
