"""From a trade to the first candle under way that tells of it: the records for screens, matched with ratios."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict


class Screen:
    """What a screen could show when. Ratios and records for screens are of two topics, and matched at the end.

    Only a trade that was its symbol's newest counts: for one of earlier time the record does not tell whether it is
    in already.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._trades: list[tuple[str, int, int]] = []
        self._shown: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def trade(self, symbol: str, ts: int, received_ts: int, *, counts: bool) -> None:
        """The next ratio of ``symbol`` in its log, of event time ``ts`` µs, and whether it lies in the window."""
        if ts <= self._newest.get(symbol, 0):
            return
        self._newest[symbol] = ts
        if counts:
            self._trades.append((symbol, ts, received_ts))

    def shown(self, symbol: str, ts: int, at_us: int) -> None:
        """A record whose newest trade is of ``ts`` arrived at ``at_us``."""
        steps = self._shown[symbol]
        if not steps or ts > steps[-1][0]:
            steps.append((ts, at_us))

    def latencies(self) -> tuple[list[float], int]:
        """µs from each trade's receipt until it, or a newer one, was shown; and how many never were."""
        found: list[float] = []
        missing = 0
        for symbol, ts, received_ts in self._trades:
            steps = self._shown[symbol]
            step = bisect_left(steps, (ts, 0))
            if step == len(steps):
                missing += 1
            else:
                found.append(steps[step][1] - received_ts)
        return found, missing
