"""The history of one view's volumes and of what was paid: the price's part beyond its closes.

It lies in a block of bytes: windows of 20 volumes, sums of price * size, sizes, signed volumes and
illiquidity, then the session.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from marketdata.features import microstructure, volume
from marketdata.features.closes import Windows
from marketdata.features.maths import NAN, known
from marketdata.features.rows import Row

_WINDOWS: Final = Struct("<100d")
_SESSION: Final = Struct("<3d")
_ONE: Final = Struct("<d")
WINDOWS_SIZE: Final = _WINDOWS.size
SIZE: Final = _WINDOWS.size + _SESSION.size
EMPTY: Final = _WINDOWS.pack(*[NAN] * 100) + _SESSION.pack(0.0, 0.0, 0.0)
POWERS: Final = (*[-1] * 20, *[0] * 20, *[-1] * 40, *[0] * 20, 0, 0, -1)
"""As closes.POWERS has it: sizes are divided where prices are multiplied."""


def feed(block: bytearray, at: int, session: float, newest: Row, log_return: float) -> None:
    """Take the next candle's volume, sum of price * size, sum of sizes and signed volume."""
    weight, size = newest[1:3]
    end = at + WINDOWS_SIZE
    block[at : end - 8] = block[at + 8 : end]
    for place, value in enumerate(newest, 1):
        _ONE.pack_into(block, at + 160 * place - 8, value)
    _ONE.pack_into(block, end - 8, microstructure.illiquidity(log_return, weight))
    then, weights, sizes = _SESSION.unpack_from(block, end)
    if session == then:
        weight, size = weights + weight, sizes + size
    _SESSION.pack_into(block, end, session, weight, size)


def of_windows(block: bytearray, at: int, seen: Windows) -> list[float | None]:
    """Averages and ratios of volume, rolling VWAP and deviation, VWMA, Kyle's lambda, Amihud's measure."""
    held = _WINDOWS.unpack_from(block, at)
    volumes, weights, closes = held[:20], held[20:40], seen.closes
    return known(
        (
            *volume.averages(volumes),
            *volume.vwap(sum(weights), sum(held[40:60]), closes[21]),
            *volume.vwma(closes[2:], volumes),
            microstructure.kyle_lambda(seen.later, held[60:80]),
            microstructure.amihud(held[80:], weights),
        )
    )


def of_session(block: bytearray, at: int, close: float) -> list[float | None]:
    """The session's VWAP and the close's deviation from it, NaN outside sessions."""
    session, weight, size = _SESSION.unpack_from(block, at + WINDOWS_SIZE)
    return known(volume.vwap(weight, size, close)) if session else [None, None]
