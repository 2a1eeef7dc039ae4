"""Candles of all intervals of one partition: one pass, moved by clock records alone.

A trade goes into a 500 ms bucket and nowhere else. When a clock passes a bucket's end, the bucket becomes a bar, is
published, and is handed to the longer buckets that hold it. A late trade, a cancel or a correction opens its bucket
again; the next clock then takes the same way and publishes each candle it touches with the next revision.

Trades inside the revision horizon are never stored: after a restart they are read again, between ``restore`` and
``restored``. What they cannot tell is in the symbols' states.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from marketdata.bar import Bar, Tick, bar_of, roll_up
from marketdata.candle_state import (
    BucketState,
    CancelState,
    EngineMark,
    RevisedState,
    SymbolState,
    pack_bar,
    pack_cancel,
    unpack_bar,
)
from marketdata.intervals import Interval
from marketdata.order import id_key
from marketdata.units import SECOND_US, floor_to

K = TypeVar("K")
V = TypeVar("V")
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
    """A span of one symbol: its trades (base level) or the bars of its parts, by their start.

    ``known``: a longer bucket that held something before the restart.
    """

    __slots__ = ("has_ratio", "known", "late_received_ts", "parts", "revision", "ticks")

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.parts: dict[int, Bar] = {}
        self.revision = -1
        self.has_ratio = False
        self.known = False
        self.late_received_ts: int | None = None


_Buckets = dict[int, dict[str, _Bucket]]


class CandleEngine:
    """The buckets of one partition. ``levels`` from marketdata.intervals; ``horizon_us`` the revision horizon.

    ``oldest``: trades with an event time before it are gone, their bars stand in longer buckets.
    """

    def __init__(self, levels: tuple[Interval, ...], horizon_us: int) -> None:
        self._levels = levels
        self._horizon = horizon_us
        self._base = levels[0].length
        self._prune_step = self._base * -(-_PRUNE_EVERY_US // self._base)
        self._children = {up: below for below, level in enumerate(levels) for up in level.parents}
        self._buckets: list[_Buckets] = [{} for _ in levels]
        self._open: dict[tuple[int, int], dict[str, _Bucket]] = {}
        self._due: list[tuple[int, int]] = []
        self._revised: dict[str, dict[tuple[int, int], int]] = {}
        self._cancels: dict[str, dict[int, CancelState]] = {}
        self._changed: set[str] = set()
        self._refilling = False
        self._restored_clock = 0
        self._read_again: dict[str, list[int]] = {}  # the base buckets of each symbol at the restart
        self.clock = 0
        self.oldest = 0

    def add(self, symbol: str, tick: Tick, received_ts: int) -> bool:
        """Take a trade; False where it is past the revision horizon."""
        ts = tick.ts
        if ts < self.clock - self._horizon:
            return False
        if ts < self.oldest:
            return True  # read again after a restart: its bar is in the symbol's state
        start = ts - ts % self._base
        bucket = self._bucket(0, start, symbol)
        bucket.ticks.append(tick)
        if tick.ratio is not None:
            bucket.has_ratio = True
        self._reopen(0, start, symbol, bucket, received_ts)
        return True

    def revise(self, symbol: str, tick: Tick, received_ts: int) -> bool:
        """Put ``tick`` in the place of the trade of the same identity; False where none is within the horizon."""
        if tick.ts < self.clock - self._horizon:
            return False
        start = floor_to(tick.ts, self._base)
        bucket = self._buckets[0].get(start, {}).get(symbol)
        for i, old in enumerate(bucket.ticks if bucket else ()):
            if bucket is not None and old[:5] == tick[:5]:
                bucket.ticks[i] = tick
                bucket.has_ratio |= tick.ratio is not None
                self._reopen(0, start, symbol, bucket, received_ts)
                return True
        return False

    def cancel(self, symbol: str, record: Tick, trade_id: str, received_ts: int, offset: int) -> bool:
        """Take the trade that ``record`` cancels out again; False where it is not within the horizon.

        The original is named by exchange, TRF and id, else it is the nearest earlier one of that exchange, price
        and size. ``offset`` is the record's place in the log.
        """
        found = self._recall(symbol, offset) if self._refilling else self._find(symbol, record, id_key(trade_id))
        if found is None:
            return False
        start, bucket, tick = found
        bucket.ticks.remove(tick)
        if not self._refilling:
            self._cancels.setdefault(symbol, {})[offset] = pack_cancel(offset, tick[:5])
            self._changed.add(symbol)
        self._reopen(0, start, symbol, bucket, received_ts)
        return True

    def advance(self, clock: int) -> Iterator[Closed]:
        """Move the clock and yield every candle it closes, by (end, interval, symbol)."""
        if self._refilling:
            self.clock = clock
            return
        due = self._due
        while due and due[0][0] <= clock:
            key = heapq.heappop(due)
            end, level = key
            start = end - self._levels[level].length
            opened = self._open.pop(key)
            for symbol in sorted(opened):
                yield self._close(level, symbol, start, end, opened[symbol])
        self.clock = clock
        oldest = floor_to(max(clock - self._horizon, 0), self._prune_step)
        if oldest > self.oldest:
            self._prune(oldest)

    def complete(self, before: int, clock: int) -> Iterator[tuple[str, int]]:
        """(interval, end) of each level that became complete as the clock went from ``before`` to ``clock``."""
        for level in self._levels:
            end = floor_to(clock, level.length)
            if end > before:
                yield level.name, end

    # --- buckets ---------------------------------------------------------------------------------------------------

    def _bucket(self, level: int, start: int, symbol: str) -> _Bucket:
        starts = self._buckets[level]
        symbols = starts.get(start)
        if symbols is None:
            symbols = starts[start] = {}
        bucket = symbols.get(symbol)
        if bucket is None:
            bucket = symbols[symbol] = _Bucket()
            if start < self._restored_clock and level and symbol in self._read_again:
                self._remake(level, start, symbol, bucket)
        return bucket

    def _reopen(self, level: int, start: int, symbol: str, bucket: _Bucket, received_ts: int | None) -> None:
        """Have the next clock that passes the bucket's end publish it."""
        if self._refilling:
            return
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
        if bucket.revision:
            self._revised.setdefault(symbol, {})[level, start] = bucket.revision
            self._changed.add(symbol)
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
        leaving = sorted(start for start in self._buckets[0] if start < oldest)
        if leaving and leaving[0] < self._restored_clock:
            self._keep_longer(leaving, oldest)
        if oldest >= self._restored_clock:
            self._read_again.clear()
        for start in leaving:
            self._changed.update(self._buckets[0].pop(start))
        for level, starts in zip(self._levels[1:], self._buckets[1:], strict=True):
            for start in [s for s in starts if s + level.length <= oldest]:
                self._changed.update(starts.pop(start))  # what it was part of must be stored with it
        self.oldest = oldest
        _forget(self._revised, lambda key, _: key[1] + self._levels[key[0]].length <= oldest)
        _forget(self._cancels, lambda _, cancel: cancel.ts < oldest)

    # --- snapshots -------------------------------------------------------------------------------------------------

    def capture(self) -> dict[str, SymbolState | None]:
        """The states that changed since the last capture, None for a symbol without any; call it after a clock."""
        changed, self._changed = self._changed, set()
        return {symbol: self._state(symbol) for symbol in sorted(changed)}

    def restore(self, mark: EngineMark, states: Mapping[str, SymbolState]) -> None:
        """Begin where re-reading begins; until :meth:`restored` nothing is closed."""
        self.clock, self.oldest = mark
        self._refilling = True
        index = {level.name: i for i, level in enumerate(self._levels)}
        for symbol, state in states.items():
            self._restore_buckets(symbol, state, index)
            revised = {(index[r.level], r.start): r.revision for r in state.revised if r.level in index}
            if revised:
                self._revised[symbol] = revised
            if state.cancels:
                self._cancels[symbol] = {cancel.offset: cancel for cancel in state.cancels}

    def restored(self) -> None:
        """The trades are read again, up to the clock record after which the states were captured."""
        self._refilling = False
        self._restored_clock = self.clock
        for start, symbols in sorted(self._buckets[0].items()):
            closed = start + self._base <= self.clock
            for symbol, bucket in symbols.items():
                self._read_again.setdefault(symbol, []).append(start)
                if closed:
                    bucket.revision = self._revised.get(symbol, {}).get((0, start), 0)
                else:
                    self._reopen(0, start, symbol, bucket, None)
        for level in range(1, len(self._levels)):
            self._restore_level(level)

    def _state(self, symbol: str) -> SymbolState | None:
        buckets = []
        for i, level in enumerate(self._levels[1:], 1):
            start = floor_to(self.oldest, level.length)
            bucket = self._buckets[i].get(start, {}).get(symbol) if start < self.oldest else None
            if bucket is not None:
                child = self._levels[self._children[i]].length
                parts = tuple(
                    (s, pack_bar(bar)) for s, bar in sorted(bucket.parts.items()) if s + child <= self.oldest
                )
                buckets.append(BucketState(level.name, start, bucket.revision, bucket.has_ratio, parts))
        revised = tuple(
            RevisedState(self._levels[i].name, start, revision)
            for (i, start), revision in sorted(self._revised.get(symbol, {}).items())
            if start >= self.oldest
        )
        cancels = tuple(self._cancels.get(symbol, {}).values())
        return SymbolState(tuple(buckets), revised, cancels) if buckets or revised or cancels else None

    def _restore_buckets(self, symbol: str, state: SymbolState, index: Mapping[str, int]) -> None:
        for stored in state.buckets:
            level = index.get(stored.level)
            if level is None or stored.start + self._levels[level].length <= self.oldest:
                continue
            bucket = self._bucket(level, stored.start, symbol)
            bucket.revision, bucket.has_ratio = stored.revision, stored.has_ratio
            bucket.parts = {start: unpack_bar(bar) for start, bar in stored.parts}
            bucket.known = True

    def _restore_level(self, level: int) -> None:
        """Complete the stored buckets of a level, and make the one that is not over yet; shorter levels are done."""
        length = self._levels[level].length
        for start, symbols in self._buckets[level].items():
            for symbol, bucket in symbols.items():
                self._add_parts(level, start, symbol, bucket)
                bucket.revision = max(bucket.revision, 0 if start + length <= self.clock else -1)
        current = floor_to(self.clock, length)
        ended = floor_to(self.clock, self._levels[self._children[level]].length)
        found = {s for start, some in self._buckets[0].items() if current <= start < ended for s in some}
        found.update(s for s, bucket in self._buckets[level].get(current, {}).items() if bucket.parts)
        for symbol in sorted(found):
            self._reopen(level, current, symbol, self._bucket(level, current, symbol), None)

    def _remake(self, level: int, start: int, symbol: str, bucket: _Bucket) -> None:
        """Give a bucket that was there before the restart its parts and its revision again."""
        self._add_parts(level, start, symbol, bucket)
        bucket.known = bool(bucket.parts)
        if bucket.known and start + self._levels[level].length <= self._restored_clock:
            bucket.revision = self._revised.get(symbol, {}).get((level, start), 0)

    def _add_parts(self, level: int, start: int, symbol: str, bucket: _Bucket) -> None:
        """The parts that had ended at the restart, from trades, or from the stored part that began before them."""
        child = self._children[level]
        step = self._levels[child].length
        end = min(start + self._levels[level].length, floor_to(self._restored_clock, step))
        for part in range(max(start, floor_to(self.oldest, step)), end, step):
            stored = self._buckets[child].get(part, {}).get(symbol) if child and part < self.oldest else None
            if stored is not None and stored.known:
                bucket.parts[part] = roll_up(stored.parts[s] for s in sorted(stored.parts))
                bucket.has_ratio |= stored.has_ratio
                continue
            if held := self._held(symbol, part, part + step):
                bucket.parts[part] = bar_of([tick for b in held for tick in b.ticks])
                bucket.has_ratio |= any(b.has_ratio for b in held)

    def _held(self, symbol: str, start: int, end: int) -> list[_Bucket]:
        """The base buckets of a span that were there at the restart."""
        starts = self._read_again.get(symbol, [])
        return [self._buckets[0][s][symbol] for s in starts[bisect_left(starts, start) : bisect_left(starts, end)]]

    def _keep_longer(self, leaving: list[int], oldest: int) -> None:
        """Before trades go that were read again: make the longer buckets they are in, which have not been needed."""
        for level in range(1, len(self._levels)):
            length = self._levels[level].length
            start = floor_to(oldest, length)
            if start < min(oldest, self._restored_clock):
                for symbol in {s for left in leaving if left >= start for s in self._buckets[0][left]}:
                    self._bucket(level, start, symbol)

    def _recall(self, symbol: str, offset: int) -> tuple[int, _Bucket, Tick] | None:
        """The trade that the cancel at ``offset`` took out when it was first read."""
        cancel = self._cancels.get(symbol, {}).get(offset)
        if cancel is None:
            return None
        start = floor_to(cancel.ts, self._base)
        bucket = self._buckets[0].get(start, {}).get(symbol)
        for tick in bucket.ticks if bucket else ():
            if bucket is not None and tick[:5] == cancel.key:
                return start, bucket, tick
        return None


def _forget(held: dict[str, dict[K, V]], is_old: Callable[[K, V], bool]) -> None:
    """Drop the entries that are old, and the symbols that have none left."""
    for symbol, entries in list(held.items()):
        for key in [k for k, v in entries.items() if is_old(k, v)]:
            del entries[key]
        if not entries:
            del held[symbol]
