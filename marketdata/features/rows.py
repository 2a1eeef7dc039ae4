"""The candles of a track that may still be revised: one flat array, 15 numbers a candle, in order of time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Final

from marketdata.features.bars import FeatureBar
from marketdata.features.maths import NAN

Row = tuple[float, ...]
COLUMNS: Final = 15
REGULAR: Final = 1
_NONE: Final = (NAN,) * 4
_POWERS: Final = (0, 0, 0, 1, 1, 1, 1, -1, 0, -1, -1, 1, 1, 1, 1)


def row_of(bar: FeatureBar) -> Row | None:
    """What history keeps of a bar: start, regular, session, ohlc, volume, weight, priced size, B - S, ratio's ohlc.

    None where the bar has neither a close nor a ratio's close: it is in no history then.
    """
    if bar.close is None and bar.ratio_close is None:
        return None
    price: tuple[Any, ...] = _NONE if bar.close is None else bar[3:7]
    ratio: tuple[Any, ...] = _NONE if bar.ratio_close is None else bar[14:18]
    signed = bar.buy - bar.sell
    return (bar.start, bar.regular, bar.session, *price, bar.volume, bar.weight, bar.priced_size, signed, *ratio)


class Rows:
    """Rows in order of their start."""

    __slots__ = ("_flat",)

    def __init__(self) -> None:
        self._flat = array("d")

    def __len__(self) -> int:
        return len(self._flat) // COLUMNS

    def __iter__(self) -> Iterator[Row]:
        flat = self._flat
        for i in range(0, len(flat), COLUMNS):
            yield tuple(flat[i : i + COLUMNS])

    def newest(self) -> int | None:
        """The start of the newest row, None where there is none."""
        return int(self._flat[-COLUMNS]) if self._flat else None

    def append(self, row: Row) -> None:
        """Put a row behind all others."""
        self._flat.extend(row)

    def place(self, start: int, row: Row | None) -> None:
        """Put ``row`` where ``start`` belongs, in the place of one of that start; None takes that one out."""
        flat = self._flat
        i = len(flat)
        while i and flat[i - COLUMNS] >= start:
            i -= COLUMNS
        there = COLUMNS if i < len(flat) and flat[i] == start else 0
        flat[i : i + there] = array("d", row or ())

    def copy(self) -> Rows:
        """The same rows in an array of their own."""
        twin = Rows()
        twin._flat = self._flat[:]
        return twin

    def take_until(self, start: int) -> list[Row]:
        """Take out and return the rows that start at or before ``start``."""
        taken = [row for row in self if row[0] <= start]
        del self._flat[: len(taken) * COLUMNS]
        return taken

    def adjust(self, factor: float) -> None:
        """Multiply prices by ``factor`` and divide sizes by it."""
        self._flat = array("d", scaled(self._flat, _POWERS * len(self), factor))

    def nbytes(self) -> int:
        """Bytes held."""
        return self.__sizeof__() + self._flat.__sizeof__()


def scaled(values: array[float] | Row, powers: tuple[int, ...], factor: float) -> list[float]:
    """Each value times ``factor`` to its power; to the power -1 it is divided, as a size is."""
    ways = {0: 1.0, 1: factor}
    return [value / factor if power < 0 else value * ways[power] for value, power in zip(values, powers, strict=True)]
