"""How long to wait before the next try to connect."""

from __future__ import annotations

from random import Random
from typing import Final

FIRST_S: Final = 0.9
FIRST_MINUTE_CAP_S: Final = 4.5
CAP_S: Final = 30.0
REFUSED_S: Final = 60.0
STEADY_S: Final = 10.0
"""Data must have flowed this long before an outage counts as over: a server may confirm and then cut at once."""


class Backoff:
    """Exponential with full jitter: under 1 s at first, under 5 s for the first minute, then up to 30 s."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._tries = 0
        self._began: float | None = None

    def next_delay(self, now: float, *, refused: bool = False) -> float:
        """Seconds to wait at ``now`` (a monotonic clock's seconds); ``refused``: the key was not accepted."""
        if self._began is None:
            self._began = now
        if refused:
            return REFUSED_S
        cap = FIRST_MINUTE_CAP_S if now - self._began < 60 else CAP_S
        limit = min(cap, FIRST_S * 2.0**self._tries)
        self._tries = min(self._tries + 1, 10)
        return self._random.uniform(limit / 10, limit)

    def flowed(self, seconds: float) -> None:
        """Data has flowed for ``seconds``: the outage is over if that was long enough."""
        if seconds >= STEADY_S:
            self._tries, self._began = 0, None
