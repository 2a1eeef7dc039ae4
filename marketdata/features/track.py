"""The feature history of one symbol and interval: a base that stands, rows that may be revised, and the tip.

The tip is the base after all rows. A candle in order moves it on; a revised or late one is put among the rows, and
the tip is made again from the base. Base and tip are blocks of bytes of the same layout, one part a view.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from marketdata.features import view
from marketdata.features.bars import FeatureBar
from marketdata.features.blocks import PriceFeatures, RatioFeatures
from marketdata.features.rows import REGULAR, Row, Rows, row_of

Features = dict[str, tuple[PriceFeatures | None, RatioFeatures | None]]
"""By view: the price's features, and the ratio's, None where the candle has no ratio."""

_VERSION: Final = 1
_HEAD: Final = Struct("<2i2q")
_CODES: Final = {("all", "regular"): 3, ("all",): 1, ("regular",): 2}
_NEVER: Final = -1


class FeatureTrack:
    """One symbol's history of one interval, ``length_us`` µs long, in one or both ``views``: all, regular."""

    __slots__ = ("_base", "_base_end", "_length", "_newest", "_rows", "_tip", "_views")

    def __init__(self, length_us: int, views: tuple[str, ...]) -> None:
        if views not in _CODES:
            raise ValueError(f"views {views} of a feature track: must be one of {list(_CODES)}")
        self._length = length_us
        self._views = views
        self.reset()

    @property
    def newest(self) -> int:
        """Start of the newest candle in the history, in µs; -1 without any."""
        return self._newest

    def reset(self) -> None:
        """Forget all that was."""
        self._base: bytes | None = None
        self._base_end = _NEVER  # start of the newest candle in the base
        self._rows: Rows | None = None
        self._tip: bytearray | None = None
        self._newest = _NEVER

    def close(self, bar: FeatureBar) -> Features:
        """Take a published candle, new, late or revised; its features, by view, given the candles before it.

        Raises ValueError for a candle at or before the newest one in the base: that can no longer change.
        """
        row = row_of(bar)
        if bar.start > self._newest:
            if row is None:
                return self._features(self._tip, bar)
            self._append(row)
            return self._features(self._tip, bar)
        if bar.start <= self._base_end:
            raise ValueError(f"candle {bar.start} is in the base, which ends with {self._base_end}: not taken")
        rows = self._rows = self._rows or Rows()
        rows.place(bar.start, row)
        self._newest = self._last()
        answer, self._tip = self._replay(rows, bar)
        return answer

    def peek(self, bar: FeatureBar) -> Features:
        """What ``close`` would answer; nothing changes."""
        row = row_of(bar)
        if bar.start <= self._newest:
            rows = self._rows.copy() if self._rows else Rows()
            rows.place(bar.start, row)
            return self._replay(rows, bar)[0]
        tip = bytearray(self._tip or self._empty())
        if row is not None:
            self._feed(tip, row)
        return self._features(tip, bar)

    def forget(self, oldest: int) -> bool:
        """Move the candles that end at or before ``oldest`` µs to the base; True where there were any."""
        taken = self._rows.take_until(oldest - self._length) if self._rows else []
        if not taken or self._tip is None:
            return False
        if self._rows:
            base = bytearray(self._base or self._empty())
            for row in taken:
                self._feed(base, row)
            self._base = bytes(base)
        else:
            self._base, self._rows = bytes(self._tip), None
        self._base_end = int(taken[-1][0])
        return True

    def state(self) -> bytes | None:
        """The base, all that the trades of the revision horizon cannot tell; None where it is empty."""
        if self._base is None:
            return None
        return _HEAD.pack(_VERSION, _CODES[self._views], self._length, self._base_end) + self._base

    @classmethod
    def restore(
        cls, length_us: int, views: tuple[str, ...], state: bytes | None, rows: Iterable[FeatureBar]
    ) -> FeatureTrack:
        """The track that gave ``state``, with the candles after it, in order of time; those in the base are skipped.

        Raises ValueError where the state is of another interval, of other views or of another version.
        """
        track = cls(length_us, views)
        if state is not None:
            track._take_base(state)
        for bar in rows:
            row = row_of(bar)
            if row is not None and bar.start > track._newest:
                track._append(row)
        return track

    def adjust(self, factor: float) -> None:
        """Multiply the prices of the history by ``factor`` and divide its sizes by it, as after a split."""
        if self._base is not None:
            self._base = self._adjusted(self._base, factor)
        if self._rows:
            self._rows.adjust(factor)
        if self._tip is not None:
            self._tip = bytearray(self._base or self._empty())
            for row in self._rows or ():
                self._feed(self._tip, row)

    def nbytes(self) -> int:
        """Bytes held, as sys.getsizeof has them without what the garbage collector adds."""
        held = (self._base, self._tip)
        rows = self._rows.nbytes() if self._rows is not None else 0
        return self.__sizeof__() + rows + sum(part.__sizeof__() for part in held if part is not None)

    def _append(self, row: Row) -> None:
        """Take a row that is newer than all others."""
        if self._rows is None:
            self._rows = Rows()
        if self._tip is None:
            self._tip = bytearray(self._base or self._empty())
        self._rows.append(row)
        self._newest = int(row[0])
        self._feed(self._tip, row)

    def _replay(self, rows: Rows, bar: FeatureBar) -> tuple[Features, bytearray]:
        """The features of ``bar`` at its place among ``rows``, and the tip after all of them."""
        tip = bytearray(self._base or self._empty())
        answer = None
        for row in rows:
            self._feed(tip, row)
            if row[0] == bar.start:
                answer = self._features(tip, bar)
        return answer or self._features(tip, bar), tip

    def _feed(self, block: bytearray, row: Row) -> None:
        size = view.SIZE
        if len(self._views) > 1 and row[REGULAR] and _alike(block):
            view.feed(block, 0, row)
            block[size:] = block[:size]
            return
        for i, name in enumerate(self._views):
            if name == "all" or row[REGULAR]:
                view.feed(block, i * size, row)

    def _features(self, block: bytearray | None, bar: FeatureBar) -> Features:
        """Of the candle that was fed last, or of one that is in no history: then nothing of ``block`` is read."""
        held, shared = block or bytearray(), view.Shared(bar, self._length)
        answer: Features = {}
        if len(self._views) > 1 and bar.regular and _alike(held):
            answer["all"] = answer["regular"] = _of_view(held, 0, bar, shared)
            return answer
        for i, name in enumerate(self._views):
            if name == "all" or bar.regular:
                answer[name] = _of_view(held, i * view.SIZE, bar, shared)
        return answer

    def _last(self) -> int:
        newest = self._rows.newest() if self._rows else None
        return self._base_end if newest is None else newest

    def _empty(self) -> bytes:
        return view.EMPTY * len(self._views)

    def _adjusted(self, block: bytes, factor: float) -> bytes:
        size = view.SIZE
        return b"".join(view.adjusted(block[i : i + size], factor) for i in range(0, len(block), size))

    def _take_base(self, state: bytes) -> None:
        """Read what ``state`` wrote."""
        expected = (_VERSION, _CODES[self._views], self._length)
        if len(state) != _HEAD.size + view.SIZE * len(self._views) or _HEAD.unpack_from(state)[:3] != expected:
            raise ValueError(f"feature state of {len(state)} bytes is not of version, views and length {expected}")
        self._base = state[_HEAD.size :]
        self._base_end = self._newest = _HEAD.unpack_from(state)[3]
        self._tip = bytearray(self._base)


def _alike(block: bytearray) -> bool:
    """Whether both views saw the same candles: none outside of regular hours, as with most thinly traded symbols."""
    return block[: view.SIZE] == block[view.SIZE :]


def _of_view(
    block: bytearray, at: int, bar: FeatureBar, shared: view.Shared
) -> tuple[PriceFeatures, RatioFeatures | None]:
    return (
        view.prices(block, at, bar, shared),
        None if bar.ratio_close is None else view.ratios(block, at, shared),
    )
