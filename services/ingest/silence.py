"""Symbols that were asked for and stay silent in an open market: an unlisted one is confirmed all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from marketdata.units import SECOND_US
from services.ingest import metrics

log = structlog.stdlib.get_logger()
LOOK_EVERY_US = 5 * SECOND_US
SILENT_AFTER_US = 300 * SECOND_US


class SilenceWatch:
    """Counts silent symbols and says so once each time the set changes. ``*`` asks for no symbol by name."""

    def __init__(self, symbols: Mapping[str, tuple[str, ...]]) -> None:
        self._heard: dict[tuple[str, str], int] = {
            (market, symbol): 0 for market, names in symbols.items() for symbol in names if symbol != "*"
        }
        self._looked = 0
        self._silent: set[tuple[str, str]] = set()

    def heard(self, market: str, symbol: str, now: int) -> None:
        """A trade of ``symbol`` was received at ``now`` µs."""
        if (market, symbol) in self._heard:
            self._heard[market, symbol] = now

    def look(self, now: int, is_open: Callable[[str, int], bool]) -> None:
        """Every five seconds: who has been silent for five minutes of an open market."""
        if now - self._looked < LOOK_EVERY_US:
            return
        self._looked = now
        for key, last in self._heard.items():
            if not last or not is_open(key[0], now):
                self._heard[key] = now  # silence counts from the start, and only while the market is open
        silent = {k for k, last in self._heard.items() if now - last > SILENT_AFTER_US and is_open(k[0], now)}
        metrics.SILENT_SYMBOLS.set(len(silent))
        if silent != self._silent:
            log.warning("silent symbols", symbols=sorted(symbol for _, symbol in silent))
            self._silent = silent
