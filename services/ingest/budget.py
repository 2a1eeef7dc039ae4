"""How many REST calls may be made: no more than the plan allows in any minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0
RESERVE: Final = 0.25
"""The share of the calls that is left to gaps: what is not urgent does without."""


class CallBudget:
    """Counts the calls of the last minute; 0 a minute allows none."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._calls: deque[float] = deque()

    def left(self, *, urgent: bool) -> int:
        """How many calls may be made at once."""
        now = self._clock()
        while self._calls and self._calls[0] <= now - MINUTE_S:
            self._calls.popleft()
        allowed = self._per_minute if urgent else int(self._per_minute * (1 - RESERVE))
        return max(allowed - len(self._calls), 0)

    async def take(self, *, urgent: bool) -> None:
        """Wait until a call may be made, and count it."""
        while not self.left(urgent=urgent):  # noqa: ASYNC110 - it passes with time alone
            await asyncio.sleep(0.1)
        self._calls.append(self._clock())
