"""The newest finished candles of one symbol, interval and hours, in little memory and readable in full.

All but the last few are kept in blocks of 64, as MessagePack and zlib: a candle with price and ratio takes about 100
bytes so, and ten times as much as a record. Whatever fields a candle has come back as they were.
"""

from __future__ import annotations

import sys
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from marketdata.records import Candle

CANDLE_BUFFER: Final = 1_000
"""Candles kept of each symbol, interval and hours, where nothing else is said."""
_BLOCK: Final = 64
_LEVEL: Final = 1  # higher ones save 7 % and take twice the time
_start: Final = attrgetter("timestamp_in")
_first: Final = attrgetter("first")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Candle]).decode


class _Block(NamedTuple):
    """Packed candles in order of time; ``first`` is the start of the first one."""

    first: int
    size: int
    packed: bytes

    @classmethod
    def of(cls, candles: list[Candle]) -> _Block:
        return cls(candles[0].timestamp_in, len(candles), zlib.compress(_encode(candles), _LEVEL))

    def candles(self) -> list[Candle]:
        return _decode(zlib.decompress(self.packed))


class CandleBuffer:
    """Keeps the ``capacity`` newest candles by their start, each in its highest revision."""

    def __init__(self, capacity: int = CANDLE_BUFFER) -> None:
        if capacity < 1:
            raise ValueError(f"a buffer of {capacity} candles: it must hold at least one")
        self._capacity = capacity
        self._blocks: list[_Block] = []
        self._tail: list[Candle] = []  # the newest ones, as records: most revisions are of these
        self._packed = 0

    def __len__(self) -> int:
        return min(self._capacity, self._packed + len(self._tail))

    def __iter__(self) -> Iterator[Candle]:
        return self.between(0, 1 << 63)

    def add(self, candle: Candle) -> bool:
        """Take a candle at its place in time; False for one that is there in this or a later revision, or too old."""
        tail = self._tail
        if tail and candle.timestamp_in > tail[-1].timestamp_in:
            tail.append(candle)
        elif self._blocks and candle.timestamp_in < tail[0].timestamp_in:
            if not self._add_packed(candle):
                return False
        elif not _put(tail, candle, 0, full=not self._blocks and len(tail) == self._capacity):
            return False
        if len(tail) >= 2 * _BLOCK:
            self._blocks.append(_Block.of(tail[:_BLOCK]))
            self._packed += _BLOCK
            del tail[:_BLOCK]
        self._drop_old()
        return True

    def newest(self, count: int) -> list[Candle]:
        """The last ``count`` candles, or as many as there are, in order of time."""
        count = min(count, len(self))
        at, missing = len(self._blocks), count - len(self._tail)
        while missing > 0:
            at -= 1
            missing -= self._blocks[at].size
        found = [candle for block in self._blocks[at:] for candle in block.candles()] + self._tail
        return found[len(found) - count :]

    def between(self, start: int, end: int) -> Iterator[Candle]:
        """The candles that start at or after ``start`` and before ``end``, in µs, in order of time."""
        for i in range(self._block_at(start), len(self._blocks)):
            if self._blocks[i].first >= end:
                return
            yield from _within(self._blocks[i].candles()[0 if i else self._gone() :], start, end)
        yield from _within(self._tail, start, end)

    def nbytes(self) -> int:
        """Bytes of the packed candles; the newest, fewer than 128, come on top as records."""
        return sum(sys.getsizeof(block) + sys.getsizeof(block.packed) for block in self._blocks)

    def _gone(self) -> int:
        """How many of the oldest block are no longer shown: a block goes as a whole."""
        return max(self._packed + len(self._tail) - self._capacity, 0)

    def _block_at(self, start: int) -> int:
        """The block that a candle at ``start`` would be in, the first one if it is before all."""
        return max(bisect_right(self._blocks, start, key=_first) - 1, 0)

    def _add_packed(self, candle: Candle) -> bool:
        at = self._block_at(candle.timestamp_in)
        candles = self._blocks[at].candles()
        if not _put(candles, candle, 0 if at else self._gone(), full=not at and len(self) == self._capacity):
            return False
        self._packed += len(candles) - self._blocks[at].size
        parts = [candles] if len(candles) < 2 * _BLOCK else [candles[:_BLOCK], candles[_BLOCK:]]
        self._blocks[at : at + 1] = map(_Block.of, parts)
        return True

    def _drop_old(self) -> None:
        while self._blocks and self._gone() >= self._blocks[0].size:
            self._packed -= self._blocks.pop(0).size
        if not self._blocks:
            del self._tail[: self._gone()]


def _put(candles: list[Candle], candle: Candle, gone: int, *, full: bool) -> bool:
    """Put a candle in its place, unless that is among the first ``gone``, or before all others of a full buffer."""
    start = candle.timestamp_in
    at = bisect_left(candles, start, key=_start)
    if at < len(candles) and candles[at].timestamp_in == start:
        if at < gone or candle.revision <= candles[at].revision:
            return False
        candles[at] = candle
        return True
    if full and at <= gone:
        return False
    candles.insert(at, candle)
    return True


def _within(candles: list[Candle], start: int, end: int) -> list[Candle]:
    return candles[bisect_left(candles, start, key=_start) : bisect_left(candles, end, key=_start)]
