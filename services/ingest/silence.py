"""Silence in an open market: of symbols that were asked for, and of a whole cluster.

An unlisted symbol is confirmed all the same, and a dead connection says nothing; nor does a closed market.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import structlog

from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.ingest import metrics
from services.ingest.hours import MarketHours

log = structlog.stdlib.get_logger()
LOOK_EVERY_US = 5 * SECOND_US
SILENT_AFTER_US = 300 * SECOND_US
BROKEN_TIMES: Final = 4
"""A cluster is broken after so many silence time-outs: the connection was made anew as often, in vain."""


class SilenceWatch:
    """Counts silent symbols and says so once each time the set changes. ``*`` asks for no symbol by name."""

    def __init__(self, symbols: Mapping[str, tuple[str, ...]]) -> None:
        self._heard = {market: {symbol: 0 for symbol in names if symbol != "*"} for market, names in symbols.items()}
        self._looked = 0
        self._silent: set[tuple[str, str]] = set()

    def of(self, market: str) -> dict[str, int]:
        """When a trade of each symbol was last received, in µs: for the reader to write into."""
        return self._heard[market]

    def look(self, now: int, is_open: Callable[[str, int], bool]) -> None:
        """Every five seconds: who has been silent for five minutes of an open market."""
        if now - self._looked < LOOK_EVERY_US:
            return
        self._looked = now
        silent: set[tuple[str, str]] = set()
        for market, heard in self._heard.items():
            is_quiet_time = not is_open(market, now)
            for symbol, last in heard.items():
                if not last or is_quiet_time:
                    heard[symbol] = now  # silence counts from the start, and only while the market is open
                elif now - last > SILENT_AFTER_US:
                    silent.add((market, symbol))
        metrics.SILENT_SYMBOLS.set(len(silent))
        if silent != self._silent:
            log.warning("silent symbols", symbols=sorted(symbol for _, symbol in silent))
            self._silent = silent


class ClusterSilence:
    """Tells a cluster that is silent because its market is closed from one that is broken.

    It keeps nothing: ``newest`` gives the receive times of a cluster's newest data and newest trade, each 0 where
    there was none; no data could come before ``started``. All times in µs. Called from the thread of /health.
    """

    def __init__(
        self,
        hours: MarketHours,
        newest: Callable[[str], tuple[int, int]],
        started: int,
        silence_timeout_s: float,
        clock: Callable[[], int],
    ) -> None:
        self._hours = hours
        self._newest = newest
        self._started = started
        self._broken_after_us = BROKEN_TIMES * silence_timeout_s * SECOND_US
        self._clock = clock
        for market in MARKETS:
            metrics.SILENCE.labels(market).set_function(partial(self._silent_s, market))
            metrics.MARKET_OPEN.labels(market).set_function(partial(self._open, market))

    def silent_us(self, market: str, now: int) -> int:
        """How long the cluster has been silent in its open market, 0 while that is closed."""
        if not self._hours.is_open(market, now):
            return 0
        return max(now - max(self._newest(market)[0], self._hours.opened(market, now), self._started), 0)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """For ``streaming.ops.Health``: its market's state by cluster, how old its data is, whether it is broken."""
        now = self._clock()
        details = {market: self._detail(market, now) for market in MARKETS}
        return not any(detail["broken"] for detail in details.values()), details

    def _detail(self, market: str, now: int) -> dict[str, Any]:
        data, trade = self._newest(market)
        return {
            "market": self._hours.describe(market, now),
            "open": self._hours.is_open(market, now),
            "seconds_since_data": _age(data, now),
            "seconds_since_trade": _age(trade, now),
            "broken": self.silent_us(market, now) > self._broken_after_us,
        }

    def _silent_s(self, market: str) -> float:
        return self.silent_us(market, self._clock()) / SECOND_US

    def _open(self, market: str) -> float:
        return float(self._hours.is_open(market, self._clock()))


def _age(ts: int, now: int) -> float | None:
    return round((now - ts) / SECOND_US, 1) if ts else None
