"""How an outage of one cluster holds its clock back, and what is recorded of it."""

from __future__ import annotations

from typing import Literal

from marketdata.records import Gap
from marketdata.units import CLOCK_STEP_US, floor_to


class Outage:
    """The open gap of one cluster, if there is one. Times in µs, the gap's own in event time.

    While it is open the clock does not pass its start, for at most ``limit_us``. The feed does not replay what was
    missed, so a gap that closes is recorded as given up.
    """

    def __init__(self, market: str, limit_us: int, epoch: int) -> None:
        self._market = market
        self._limit = limit_us
        self._epoch = epoch
        self._start: int | None = None
        self._since = 0

    @property
    def is_open(self) -> bool:
        """Whether a gap is open."""
        return self._start is not None

    def begin(self, start: int, now: int) -> Gap | None:
        """The feed was lost at ``now``, what happened from ``start`` on may be missing: the gap to record, if new."""
        if self._start is not None:
            return None
        self._start, self._since = start, now
        return self._gap(start, None, "open")

    def end(self, end: int) -> Gap | None:
        """What happens from ``end`` on is received again: the gap to record, if one was open."""
        start, self._start = self._start, None
        return None if start is None else self._gap(start, end, "given_up")

    def limit(self, now: int) -> int | None:
        """The greatest clock allowed at ``now``, None where nothing holds it back."""
        if self._start is None or now - self._since > self._limit:
            return None
        return floor_to(self._start, CLOCK_STEP_US)

    def _gap(self, start: int, end: int | None, status: Literal["open", "given_up"]) -> Gap:
        return Gap(cluster=self._market, start=start, end=end, status=status, epoch=self._epoch)
