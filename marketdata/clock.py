"""When clock records stand, and with which value: by fixed rules from files, by the wall clock when live."""

from __future__ import annotations

from collections import deque

from marketdata.units import CLOCK_STEP_US, DAY_US, SECOND_US, ceil_to, floor_to


class FileClock:
    """Clocks between the merged events of files: a function of their times alone.

    They stand at the first multiple of 50 ms at or after each event and at the last one before the next event; each
    above every event from its value on, and below all earlier ones.
    """

    def __init__(self) -> None:
        self._event: int | None = None
        self._next = 0

    def before(self, ts: int) -> tuple[int, ...]:
        """The clocks to write before the event at ``ts`` µs; events come in ascending order of time."""
        event, self._event = self._event, ts
        first = self._next
        if event is not None and ts < first:
            return ()
        self._next = floor_to(ts, CLOCK_STEP_US) + CLOCK_STEP_US
        own = (ts,) if ts % CLOCK_STEP_US == 0 else ()
        if event is None:
            return own
        last = ceil_to(ts, CLOCK_STEP_US) - CLOCK_STEP_US
        between = {last} if last >= first else set()
        if event % CLOCK_STEP_US:  # otherwise its first multiple stands before it
            between.add(first)
        return tuple(sorted(between.union(own)))

    def end(self) -> tuple[int, ...]:
        """The clocks after the last event: the first multiple, and the UTC midnight that closes every window."""
        if self._event is None:
            return ()
        first = ceil_to(self._event, CLOCK_STEP_US)
        midnight = floor_to(self._event, DAY_US) + DAY_US
        return (midnight,) if first in {self._event, midnight} else (first, midnight)


class LiveClock:
    """The clock of one cluster: wall clock minus allowance, feed delay and the stream's own lag. Times in µs.

    The stream as a whole lags by the least lag of any trade in the last second; half of the allowance bears that,
    the rest holds the clock back, by no more than ``max_hold_us``. The least lag of the last minute, which no stall
    hides, tells of the host's clock.
    """

    def __init__(self, allowance_us: int, feed_delay_us: int, max_hold_us: int, last: int = 0) -> None:
        self._allowance = allowance_us
        self._delay = feed_delay_us
        self._max_hold = max_hold_us
        self._lags: deque[tuple[int, int]] = deque()
        self._minute: deque[tuple[int, int]] = deque()
        self.last = last

    def trade(self, ts: int, received_ts: int) -> None:
        """Note a trade's lag. Kept ascending, so that the least of the last second stands first."""
        lag = received_ts - ts - self._delay
        lags = self._lags
        while lags and lags[-1][1] >= lag:
            lags.pop()
        lags.append((received_ts, lag))
        minute, second = self._minute, received_ts // SECOND_US
        if not minute or minute[-1][0] != second:
            minute.append((second, lag))
        elif lag < minute[-1][1]:
            minute[-1] = (second, lag)

    def hold(self, now: int) -> int:
        """How much the stream's lag holds the clock back."""
        lags = self._lags
        while lags and lags[0][0] < now - SECOND_US:
            lags.popleft()
        if not lags:
            return 0
        return min(max(lags[0][1] - self._allowance // 2, 0), self._max_hold)

    def skew(self, now: int) -> int | None:
        """The least lag of the last minute's trades, None without any: so far ahead the host's clock is at most.

        Below 0, trades come from the future: by so much at least it is behind.
        """
        second, minute = now // SECOND_US, self._minute
        while minute and not second - 60 <= minute[0][0] <= second:
            minute.popleft()
        return min((lag for at, lag in minute if at <= second), default=None)

    def next_in(self, now: int) -> int:
        """µs from ``now`` until the next multiple of 50 ms is due, as the lag stands."""
        return CLOCK_STEP_US - self._held(now) % CLOCK_STEP_US

    def is_due(self, now: int) -> bool:
        """Whether a multiple of 50 ms that has not been written is reached at ``now``."""
        return self._held(now) >= self.last + CLOCK_STEP_US

    def due(self, now: int, limit: int | None = None) -> int | None:
        """The clock to write at ``now``, None while the next multiple of 50 ms is not reached or past ``limit``."""
        value = floor_to(self._held(now), CLOCK_STEP_US)
        if limit is not None:
            value = min(value, limit)
        if value <= self.last:
            return None
        self.last = value
        return value

    def _held(self, now: int) -> int:
        return now - self._allowance - self._delay - self.hold(now)
