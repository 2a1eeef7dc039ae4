"""Whether REST has got as far as the socket: it has where it shows a trade that was received live after the gap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from marketdata.records import Trade
from marketdata.units import SECOND_US

REMEMBER: Final = 64
"""Live trades of a symbol that are kept: any one of them proves it."""
QUIET_US: Final = 2 * SECOND_US
"""A symbol without a live trade counts as complete if it was read so long after the end of the gap."""

_Key = tuple[int, int, str]


class Overlap:
    """The first live trades after the ``end`` (µs) of one cluster's gap, by symbol, and which of them REST showed."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._live: dict[str, set[_Key]] = {}
        self._until: dict[str, int] = {}
        self._proven: set[str] = set()

    def heard(self, trade: Trade) -> None:
        """A trade was received live."""
        if trade.ts < self._end or trade.symbol in self._proven:
            return
        keys = self._live.setdefault(trade.symbol, set())
        if len(keys) < REMEMBER:
            keys.add((trade.exchange, trade.trf, trade.id))
            self._until[trade.symbol] = max(self._until.get(trade.symbol, 0), trade.ts)

    def shown(self, trade: Trade) -> None:
        """REST shows a trade."""
        keys = self._live.get(trade.symbol)
        if keys and trade.symbol not in self._proven and (trade.exchange, trade.trf, trade.id) in keys:
            self._proven.add(trade.symbol)

    def until(self, symbol: str) -> int:
        """The event time in µs up to which to read ``symbol``: a second past the gap, and all its live trades."""
        return max(self._end + SECOND_US, self._until.get(symbol, 0) + 1_000)

    def incomplete(self, symbols: Iterable[str], read_at: int) -> list[str]:
        """Those of ``symbols``, read at ``read_at`` (µs of event time), that are not known to be complete."""
        settled = read_at >= self._end + QUIET_US
        return [s for s in symbols if s not in self._proven and (s in self._live or not settled)]
