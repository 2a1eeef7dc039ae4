"""What was found against what must be there, each once; without I/O."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from marketdata.calendar import TradingHours, trading_day
from marketdata.conditions import EVERYTHING, updates_of
from marketdata.intervals import length_of
from marketdata.records import Ratio, Trade

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
INTERVALS: Final = ("1s", "15s", "1m")
"""Those whose candles are counted again."""
Identity = tuple[str, int, int, str, int]
Said = tuple[int, float, float, int, tuple[int, ...], int]


def identity_of(trade: Trade | Ratio) -> Identity:
    """Symbol, exchange, TRF, id and trading day."""
    return (trade.symbol, trade.exchange, trade.trf, trade.id, trading_day(trade.ts))


def said_of(trade: Trade) -> Said:
    """What must have come through unchanged: time, price, size, sequence, conditions and side."""
    return (trade.ts, trade.price, trade.size, trade.sequence, trade.conditions, trade.side)


def compare(
    what: str,
    found: Iterable[tuple[K, V]],
    expected: Mapping[K, V],
    *,
    optional: Container[K] = (),
    same: Callable[[V, V], bool] = operator.eq,
) -> list[str]:
    """What is wrong with ``found``, a line for each kind with an example; empty if it is all there, once, and right.

    What is ``optional`` may be there as well, unseen.
    """
    wrong: dict[str, tuple[int, str]] = {}

    def note(kind: str, example: str) -> None:
        count, first = wrong.get(kind, (0, example))
        wrong[kind] = (count + 1, first)

    seen: set[K] = set()
    for key, value in found:
        if key in seen:
            note("there twice", f"{key}")
            continue
        seen.add(key)
        if key in expected:
            if not same(value, expected[key]):
                note("different", f"{key}: {value} where {expected[key]} is right")
        elif key not in optional:
            note("not expected", f"{key}: {value}")
    for key in expected.keys() - seen:
        note("missing", f"{key}: {expected[key]}")
    return [f"{what}: {n:,} of {len(expected):,} {kind}, such as {first}" for kind, (n, first) in wrong.items()]


class Count(NamedTuple):
    """What a candle must say: price-forming trades, those that count towards volume, and their sizes together."""

    ticks: int
    trades: int
    volume: float


def same_count(found: Count, expected: Count) -> bool:
    """Equal, but for the last digits of a sum of fractions."""
    return found[:2] == expected[:2] and math.isclose(found.volume, expected.volume, rel_tol=1e-9)


Key = tuple[str, str, int]
"""(symbol, interval, start in µs)."""


class Counts:
    """Counts a log's trades into the candles that end at or before ``until`` µs, by nothing but their times."""

    def __init__(self, until: int, sessions: TradingHours) -> None:
        self._until = until
        self._sessions = sessions
        self._lengths = [(name, length_of(name)) for name in INTERVALS]
        self._found: dict[Key, list[float]] = {}

    def add(self, trade: Trade, *, stocks: bool) -> None:
        """Take a trade of the log; a crypto trade counts for everything."""
        ts, of = trade.ts, EVERYTHING
        if stocks:
            of = updates_of(trade.conditions, self._sessions.is_regular(ts))
        if not of.high_low and not of.volume:
            return
        for name, length in self._lengths:
            start = ts - ts % length
            if start + length > self._until:
                continue
            bar = self._found.setdefault((trade.symbol, name, start), [0, 0, 0.0])
            bar[0] += of.high_low
            bar[1] += of.volume
            bar[2] += trade.size if of.volume else 0.0

    def counts(self) -> dict[Key, Count]:
        """What every candle must say."""
        return {key: Count(int(bar[0]), int(bar[1]), bar[2]) for key, bar in self._found.items()}
