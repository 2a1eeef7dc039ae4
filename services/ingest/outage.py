"""How an outage of one cluster holds its clock back, and what is recorded of it."""

from __future__ import annotations

from typing import Literal

from marketdata.records import Gap
from marketdata.units import CLOCK_STEP_US, floor_to


class Outage:
    """The open gap of one cluster, if there is one. Times in µs, the gap's own in event time.

    It is open from the loss until what was missed is filled in, or for ``limit_us``: so long the clock does not pass
    its start. Then it is given up, also where the feed is still away; its end is not known then.
    """

    def __init__(self, market: str, limit_us: int, epoch: int) -> None:
        self._market = market
        self._limit = limit_us
        self._epoch = epoch
        self._since = 0
        self._given_up = False
        self.start: int | None = None
        self.end: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether a gap is open, given up or not."""
        return self.start is not None

    @property
    def holds(self) -> bool:
        """Whether the clock is held back."""
        return self.start is not None and not self._given_up

    def begin(self, start: int, now: int) -> Gap | None:
        """The feed was lost at ``now``, what happened from ``start`` on may be missing: the gap to record, if new.

        A loss before the last gap was filled lengthens that one.
        """
        self.end = None
        if self.start is not None:
            return None
        self.start, self._since, self._given_up = start, now, False
        return self.gap(start, None, "open")

    def flows(self, end: int) -> bool:
        """What happens from ``end`` on is received again; whether that was not known yet."""
        if self.start is None or self.end is not None:
            return False
        self.end = end
        return True

    def expire(self, now: int) -> Gap | None:
        """The gap to record as given up, once its time has run out at ``now``."""
        if self.start is None or self._given_up or now - self._since < self._limit:
            return None
        return self.give_up()

    def give_up(self) -> Gap | None:
        """Hold the clock no longer; the gap to record, if that was not done before."""
        if self.start is None or self._given_up:
            return None
        self._given_up = True
        return self.gap(self.start, self.end, "given_up")

    def close(self) -> tuple[int, int] | None:
        """Forget the gap, because it is filled or is another's care from now on: where it was, None if unknown."""
        start, end, self.start, self.end = self.start, self.end, None, None
        return None if start is None or end is None else (start, end)

    def left_us(self, now: int) -> int:
        """How long the clock may still be held at ``now``."""
        return max(self._since + self._limit - now, 0)

    def limit(self) -> int | None:
        """The greatest clock allowed, None where nothing holds it back."""
        return floor_to(self.start, CLOCK_STEP_US) if self.start is not None and self.holds else None

    def gap(self, start: int, end: int | None, status: Literal["open", "filled", "given_up"], trades: int = 0) -> Gap:
        """The record of a gap of this cluster."""
        return Gap(cluster=self._market, start=start, end=end, status=status, epoch=self._epoch, trades=trades)
