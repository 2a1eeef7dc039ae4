"""Which trades were written already: a feed repeats trades after a reconnect, and sometimes without."""

from __future__ import annotations

from typing import Final

import structlog

from marketdata.records import Trade
from marketdata.units import DAY_US, SECOND_US

log = structlog.stdlib.get_logger()
PARTS: Final = 4
LIMIT: Final = 2_000_000
"""Identities in each part: some 2 GB in all, far above what 15 minutes of the whole market bring."""
STOCKS_DAY_SHIFT_US: Final = 5 * 3_600 * SECOND_US
"""New York trades from 04:00 to 20:00: five hours off, that lies within one UTC day, summer or winter."""
CORRECTION_RECORDS: Final = frozenset({10, 11, 12})
"""Records about a trade, under that trade's id."""

_Identity = tuple[str, int, int, str, int, int]


class Seen:
    """The identities (symbol, exchange, TRF, id, trading day) of the last ``horizon_us`` of event time.

    Four parts, each of a third of a horizon: the oldest is forgotten when the youngest is full.
    """

    def __init__(self, horizon_us: int, day_shift_us: int = 0) -> None:
        self._horizon = horizon_us
        self._third = max(horizon_us // 3, 1)
        self._shift = day_shift_us
        self._parts: list[dict[_Identity, int]] = [{} for _ in range(PARTS)]  # the youngest first
        self._high = 0
        self._turn = 0
        self._held = False
        self._kept: list[dict[_Identity, int]] = []

    def __len__(self) -> int:
        return sum(map(len, (*self._parts, *self._kept)))

    def hold(self) -> None:
        """Forget nothing until ``release``: a gap is open, and what it brings can be older than the horizon."""
        self._held = True

    def release(self) -> None:
        """Forget again what is older than the horizon."""
        self._held = False
        self._kept.clear()

    def symbols(self) -> set[str]:
        """The symbols of the trades that are remembered."""
        return {identity[0] for part in self._parts for identity in part}

    def is_new(self, trade: Trade) -> bool:
        """Whether ``trade`` was not seen while the newest event time moved by the horizon; it is from now on."""
        ts = trade.ts
        if ts > self._high:
            self._high = ts
            if ts >= self._turn or len(self._parts[0]) >= LIMIT:
                self._forget()
        identity = self._identity(trade)
        youngest, older, old, oldest = self._parts
        at = youngest.get(identity)
        if at is None:
            at = older.get(identity)
        if at is None:
            at = old.get(identity)
        if at is None:
            at = oldest.get(identity)
        if at is not None and self._high - at <= self._horizon:
            return False
        if self._held and (at is not None or any(identity in part for part in self._kept)):
            return False
        youngest[identity] = self._high
        return True

    def knows(self, trade: Trade) -> bool:
        """Whether ``trade`` is remembered, or too old to be."""
        identity = self._identity(trade)
        return trade.ts < self.known_from or any(identity in part for part in (*self._parts, *self._kept))

    def note(self, trade: Trade) -> None:
        """``trade`` stands in the log too; safe to call from another thread."""
        self._parts[0].setdefault(self._identity(trade), self._high)

    def _identity(self, trade: Trade) -> _Identity:
        correction = trade.correction if trade.correction in CORRECTION_RECORDS else 0
        day = (trade.ts - self._shift) // DAY_US
        return (trade.symbol, trade.exchange, trade.trf, trade.id, day, correction)

    @property
    def known_from(self) -> int:
        """The event time in µs from which on a repeat is certain to be known; 0 where nothing was seen."""
        return max(self._high - self._horizon, 0)

    def _forget(self) -> None:
        parts = self._parts
        if len(parts[0]) >= LIMIT:
            log.warning("too many trades to remember all of the horizon: an old one sent again may pass", limit=LIMIT)
        passed = min(1 + max(self._high - self._turn, 0) // self._third, len(parts))
        if self._held:
            self._kept += parts[-passed:]
        self._parts = [*({} for _ in range(passed)), *parts[:-passed]]
        self._turn = self._high + self._third
