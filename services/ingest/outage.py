"""How an outage of one cluster holds its clock back, and what is recorded of it."""

from __future__ import annotations

from marketdata.records import Gap
from marketdata.units import CLOCK_STEP_US, floor_to


class Outage:
    """The open gap of one cluster, if there is one. Times in µs.

    While it is open the clock does not pass its start, for at most ``limit_us``. The feed does not replay what was
    missed, so a gap that closes is recorded as given up.
    """

    def __init__(self, market: str, limit_us: int, epoch: int) -> None:
        self._market = market
        self._limit = limit_us
        self._epoch = epoch
        self._start: int | None = None
        self._since = 0

    def begin(self, start: int, now: int) -> None:
        """The feed was lost at ``now``; what happened from ``start`` on may be missing."""
        if self._start is None:
            self._start, self._since = start, now

    def end(self, now: int) -> Gap | None:
        """The feed is back at ``now``: the gap to record, if one was open."""
        start, self._start = self._start, None
        if start is None:
            return None
        return Gap(cluster=self._market, start=start, end=now, status="given_up", epoch=self._epoch)

    def limit(self, now: int) -> int | None:
        """The greatest clock allowed at ``now``, None where nothing holds it back."""
        if self._start is None or now - self._since > self._limit:
            return None
        return floor_to(self._start, CLOCK_STEP_US)
