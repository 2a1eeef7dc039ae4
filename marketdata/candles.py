"""Candles of all intervals of one partition: one pass, moved by clock records alone.

A trade goes into a 500 ms bucket and nowhere else. When a clock passes a bucket's end, the bucket becomes a bar, is
published, and is handed to the longer buckets that hold it. A late trade, a cancel or a correction opens its bucket
again; the next clock then takes the same way and publishes each candle it touches with the next revision.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from marketdata.bar import Bar, Tick, bar_of, roll_up
from marketdata.intervals import Interval
from marketdata.order import id_key
from marketdata.units import SECOND_US, floor_to

_PRUNE_EVERY_US = 60 * SECOND_US


class Closed(NamedTuple):
    """One candle to publish. ``late_received_ts`` is the receive time in µs of what caused a revision, else None."""

    level: int
    symbol: str
    start: int
    end: int
    revision: int
    bar: Bar
    has_ratio: bool
    late_received_ts: int | None


class _Bucket:
    """A span of one symbol: its trades (base level) or the bars of its parts, by their start."""

    __slots__ = ("bar", "has_ratio", "late_received_ts", "parts", "revision", "ticks")

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.parts: dict[int, Bar] = {}
        self.revision = -1
        self.has_ratio = False
        self.late_received_ts: int | None = None


_Buckets = dict[int, dict[str, _Bucket]]


class CandleEngine:
    """The buckets of one partition. ``levels`` from marketdata.intervals; ``horizon_us`` the revision horizon."""

    def __init__(self, levels: tuple[Interval, ...], horizon_us: int) -> None:
        self._levels = levels
        self._horizon = horizon_us
        self._base = levels[0].length
        self._buckets: list[_Buckets] = [{} for _ in levels]
        self._open: dict[tuple[int, int], dict[str, _Bucket]] = {}
        self._due: list[tuple[int, int]] = []
        self._pruned = 0
        self.clock = 0

    def add(self, symbol: str, tick: Tick, received_ts: int) -> bool:
        """Take a trade; False where it is past the revision horizon."""
        ts = tick.ts
        if ts < self.clock - self._horizon:
            return False
        start = ts - ts % self._base
        bucket = self._bucket(0, start, symbol)
        bucket.ticks.append(tick)
        if tick.ratio is not None:
            bucket.has_ratio = True
        self._reopen(0, start, symbol, bucket, received_ts)
        return True

    def cancel(self, symbol: str, record: Tick, trade_id: str, received_ts: int) -> bool:
        """Take the trade that ``record`` cancels out again; False where it is not within the horizon.

        The original is named by exchange, TRF and id, else it is the nearest earlier one of that exchange, price
        and size.
        """
        found = self._find(symbol, record, id_key(trade_id))
        if found is None:
            return False
        start, bucket, tick = found
        bucket.ticks.remove(tick)
        self._reopen(0, start, symbol, bucket, received_ts)
        return True

    def advance(self, clock: int) -> Iterator[Closed]:
        """Move the clock and yield every candle it closes, by (end, interval, symbol)."""
        due = self._due
        while due and due[0][0] <= clock:
            key = heapq.heappop(due)
            end, level = key
            start = end - self._levels[level].length
            opened = self._open.pop(key)
            for symbol in sorted(opened):
                yield self._close(level, symbol, start, end, opened[symbol])
        self.clock = clock
        if clock - self._pruned >= _PRUNE_EVERY_US:
            self._prune(clock - self._horizon)
            self._pruned = clock

    def complete(self, before: int, clock: int) -> Iterator[tuple[str, int]]:
        """(interval, end) of each level that became complete as the clock went from ``before`` to ``clock``."""
        for level in self._levels:
            end = floor_to(clock, level.length)
            if end > before:
                yield level.name, end

    def _bucket(self, level: int, start: int, symbol: str) -> _Bucket:
        starts = self._buckets[level]
        symbols = starts.get(start)
        if symbols is None:
            symbols = starts[start] = {}
        bucket = symbols.get(symbol)
        if bucket is None:
            bucket = symbols[symbol] = _Bucket()
        return bucket

    def _reopen(self, level: int, start: int, symbol: str, bucket: _Bucket, received_ts: int | None) -> None:
        """Have the next clock that passes the bucket's end publish it."""
        key = (start + self._levels[level].length, level)
        if received_ts is not None and key[0] <= self.clock:
            bucket.late_received_ts = received_ts
        opened = self._open.get(key)
        if opened is None:
            opened = self._open[key] = {}
            heapq.heappush(self._due, key)
        opened[symbol] = bucket

    def _close(self, level: int, symbol: str, start: int, end: int, bucket: _Bucket) -> Closed:
        parts = bucket.parts
        bar = bar_of(bucket.ticks) if level == 0 else roll_up(parts[part] for part in sorted(parts))
        bucket.revision += 1
        late, bucket.late_received_ts = bucket.late_received_ts, None
        for up in self._levels[level].parents:
            parent_start = floor_to(start, self._levels[up].length)
            parent = self._bucket(up, parent_start, symbol)
            parent.parts[start] = bar
            parent.has_ratio |= bucket.has_ratio
            self._reopen(up, parent_start, symbol, parent, late)
        return Closed(level, symbol, start, end, bucket.revision, bar, bucket.has_ratio, late)

    def _find(self, symbol: str, record: Tick, key: tuple[int, int, bytes]) -> tuple[int, _Bucket, Tick] | None:
        by_value: tuple[int, _Bucket, Tick] | None = None
        for start in sorted(self._buckets[0], reverse=True):
            bucket = self._buckets[0][start].get(symbol)
            for tick in sorted(bucket.ticks, reverse=True) if bucket else ():
                if bucket is None or tick.exchange != record.exchange or tick.ts < self.clock - self._horizon:
                    continue
                if tick.id_key == key and tick.trf == record.trf:
                    return start, bucket, tick
                same = tick.price == record.price and tick.size == record.size and tick[:5] <= record[:5]
                if same and by_value is None:
                    by_value = (start, bucket, tick)
        return by_value

    def _prune(self, oldest: int) -> None:
        """Forget the buckets that no trade within the horizon can reach any more."""
        for level, starts in zip(self._levels, self._buckets, strict=True):
            for start in [s for s in starts if s + level.length <= oldest]:
                del starts[start]
