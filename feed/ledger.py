"""The feed's own account of every trade it sent, against which a consumer's copy can be checked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import IO, Any

import msgspec

from feed.events import CORRECTION_RECORDS, CRYPTO, STOCKS, StockTrade, Trade


class LedgerLine(msgspec.Struct, omit_defaults=True):
    """A sent trade: its identity, and what candles are made of.

    `ts` is its event time `t` in ms, `correction` REST's mark if it has one.
    """

    cluster: str
    symbol: str
    exchange: int
    trf: int | None
    id: str
    ts: int
    price: float
    size: float
    correction: int = 0
    sequence: int = 0
    conditions: tuple[int, ...] = ()


class Ledger:
    """Counts trades by symbol and, given a path, appends a JSON line for each.

    Lines are buffered: call `flush` now and then, and `close` at the end. Correction records are written but
    counted apart, as they are no trades.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._counts: dict[str, Counter[str]] = {STOCKS: Counter(), CRYPTO: Counter()}
        self._corrections = 0
        self._encode = msgspec.json.Encoder().encode
        self._file: IO[bytes] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=1 << 20)

    def add(self, trade: Trade, correction: int = 0) -> None:
        """Account for a trade that goes out now."""
        if isinstance(trade, StockTrade):
            cluster, symbol = STOCKS, trade.sym
        else:
            cluster, symbol = CRYPTO, trade.pair
        if correction in CORRECTION_RECORDS:
            self._corrections += 1
        else:
            self._counts[cluster][symbol] += 1
        if self._file is not None:
            stock = isinstance(trade, StockTrade)
            trf, sequence = (trade.trfi, trade.q) if isinstance(trade, StockTrade) else (None, 0)
            size = float(trade.ds) if isinstance(trade, StockTrade) and trade.ds is not None else trade.s
            line = LedgerLine(cluster, symbol, trade.x, trf, trade.i, trade.t, trade.p, size, correction, sequence,
                              tuple(trade.c or ()) if stock else ())  # fmt: skip
            self._file.write(self._encode(line) + b"\n")

    def summary(self) -> dict[str, Any]:
        """Counts by symbol for each cluster, their total, and the number of correction records."""
        counts = {cluster: dict(sorted(counter.items())) for cluster, counter in self._counts.items()}
        return {**counts, "total": self.total, "corrections": self._corrections}

    @property
    def total(self) -> int:
        """Trades sent so far, both clusters."""
        return sum(sum(counter.values()) for counter in self._counts.values())

    def flush(self) -> None:
        """Write buffered lines to the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        if self._file is not None:
            self._file.close()
