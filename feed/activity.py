"""When trades happen: uneven seconds with bursts, whose sum keeps the rate that was asked for."""

from __future__ import annotations

from math import exp, sqrt
from random import Random
from typing import Final

STEP_MS: Final = 10
STEPS_A_SECOND: Final = 1000 // STEP_MS
BURST_CHANCE: Final = 0.04


class Activity:
    """Counts of trades for consecutive steps of 10 ms.

    Seconds are planned in blocks: quiet ones vary by a third, one in 25 is up to `burst` times as busy, and a
    block's total is the asked rate exactly, so bursts never change the mean. With `burst` 1 all are alike.
    """

    def __init__(self, rng: Random, rate: float, block_seconds: int = 60, burst: float = 10.0) -> None:
        self._rng = rng
        self._rate = rate
        self._block_seconds = block_seconds
        self._burst = burst
        self._planned = 0.0
        self._given = 0
        self._seconds: list[int] = []
        self._left = 0
        self._steps_left = 0

    def next_step(self) -> int:
        """How many trades fall into the next step."""
        if self._steps_left == 0:
            self._next_second()
        count = self._left if self._steps_left == 1 else self._share(self._left, self._steps_left)
        self._left -= count
        self._steps_left -= 1
        return count

    def _next_second(self) -> None:
        if not self._seconds:
            self._seconds = self._plan()
            self._seconds.reverse()
        self._left = self._seconds.pop()
        self._steps_left = STEPS_A_SECOND

    def _plan(self) -> list[int]:
        weights = [self._weight() for _ in range(self._block_seconds)]
        scale = self._rate * self._block_seconds / sum(weights)
        counts = []
        for weight in weights:
            self._planned += weight * scale
            counts.append(round(self._planned) - self._given)
            self._given += counts[-1]
        return counts

    def _weight(self) -> float:
        if self._burst <= 1:
            return 1.0
        if self._rng.random() < BURST_CHANCE:
            return self._rng.uniform(self._burst * 0.3, self._burst)
        return self._rng.uniform(0.7, 1.3)

    def _share(self, left: int, steps: int) -> int:
        """A random share of what is left of the second, as if each trade picked its step by itself."""
        mean = left / steps
        if mean > 20:
            return min(left, max(0, round(self._rng.gauss(mean, sqrt(mean)))))
        floor, product, count = exp(-mean), self._rng.random(), 0
        while product > floor:
            product *= self._rng.random()
            count += 1
        return min(left, count)
