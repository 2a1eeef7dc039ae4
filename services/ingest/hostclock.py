"""The time as ingest sees it: the host's clock without its steps, and a word when it is off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from marketdata.steady import SteadyClock
from marketdata.units import SECOND_US
from services.ingest import metrics

log = structlog.stdlib.get_logger()
TOLERANCE_US: Final = 125_000
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def awake_ns() -> int:
    """A clock that nobody sets and that counts on while the machine sleeps, where there is one; ns."""
    return time.clock_gettime_ns(_STEADY)


class HostClock:
    """``now`` for receive times and clock records alike. Says once when a step of the host's clock is ignored."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = awake_ns) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._clock = SteadyClock(wall_ns() // 1_000, steady_ns() // 1_000, TOLERANCE_US)
        self._said = 0

    def now(self) -> int:
        """µs since the epoch."""
        now = self._clock.now(self._wall_ns() // 1_000, self._steady_ns() // 1_000)
        if self._clock.ignored != self._said:
            self._said = self._clock.ignored
            metrics.CLOCK_STEPS.inc()
            log.warning("the host's clock was set", ignored_seconds=self._said / SECOND_US,
                        action="going on by the old time while the trades agree with it")  # fmt: skip
        return now

    def peek(self) -> int:
        """The same for other threads than ingest's own, whose alone it is to follow the host's clock."""
        return self._clock.peek(self._steady_ns() // 1_000)

    def trades_say(self, skew: int) -> None:
        """Take a step over after all where the trades' least lag (µs) speaks for it."""
        if moved := self._clock.trades_say(skew):
            self._said = 0
            log.warning("the host's clock is followed again", moved_seconds=moved / SECOND_US,
                        reason="by the trades the old time was off")  # fmt: skip


class SkewWatch:
    """Publishes how far the host's clock seems off, and says so when that passes half of the allowance."""

    def __init__(self, market: str, half_allowance_us: int) -> None:
        self._market = market
        self._half = half_allowance_us
        self._off = False

    def look(self, skew: int | None, hold: int) -> None:
        """``skew`` is the least lag of the last minute, ``hold`` what the clock record waits; both in µs."""
        metrics.CLOCK_SKEW.labels(self._market).set((skew or 0) / SECOND_US)
        metrics.CLOCK_HELD.labels(self._market).set(hold / SECOND_US)
        off = skew is not None and abs(skew) > self._half
        if off != self._off:
            self._off = off
            metrics.CLOCK_OFF.labels(self._market).set(off)
            if off:
                log.error("the host's clock is off, or the feed lags", market=self._market,
                          skew_seconds=(skew or 0) / SECOND_US, action="the clock record waits",
                          remedy="check NTP on this host; a delayed plan needs STOCKS_FEED_DELAY_S")  # fmt: skip
            else:
                log.info("the host's clock agrees with the trades", market=self._market)


HOST: Final = HostClock()
wall_us: Final = HOST.now
