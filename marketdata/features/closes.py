"""The history of one open, high, low and close: of the price or of the ratio, in one view.

It lies at some place of a block of bytes: 22 numbers that run on, then the windows that the rest is computed from
anew. Unfilled places of a window hold NaN, so that what is not warmed up comes out as NaN by itself.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from marketdata.features import indicators, microstructure, volatility
from marketdata.features.maths import NAN, centred, changes, known, ln, quotient
from marketdata.features.moving import seeded, slid, weighted, wilder

_RUNNING: Final = Struct("<22d")
_WINDOWS: Final = Struct("<52d")
_AGO: Final = Struct("<16xd72xd32x5d")
"""Of the closes those that are 20, 10 and 5 to 1 candles old when the next one comes."""
_ONE: Final = Struct("<d")
WINDOWS_AT: Final = _RUNNING.size
SIZE: Final = _RUNNING.size + _WINDOWS.size
_RETURNS_AT: Final = WINDOWS_AT + 22 * 8
_RANGES_AT: Final = _RETURNS_AT + 10 * 8
_BODIES_AT: Final = _RANGES_AT + 10 * 8
EMPTY: Final = _RUNNING.pack(0.0, *[NAN] * 7, *[0.0] * 14) + _WINDOWS.pack(*[NAN] * 52)
POWERS: Final = (0, 0, *[1] * 20, *[1] * 22, *[0] * 30)
"""Of each number: 1 where it is a price or a sum of prices, which a split multiplies by its factor."""


def feed(block: bytearray, at: int, start: float, candle: tuple[float, ...]) -> float:
    """Take the next open, high, low and close, ``start`` in µs; the log return, NaN at the first."""
    first, high, low, close = candle
    (n, then, velocity, _, last_high, last_low, _, _, t5, t10, t20, wma, plain, e5, e10, e20,
     gain, loss, fast, slow, signal, atr) = _RUNNING.unpack_from(block, at)  # fmt: skip
    ago = _AGO.unpack_from(block, at + WINDOWS_AT)
    before = ago[6]
    n += 1.0
    passed, move = (start - then) / 1e6, close - before
    was, velocity = velocity, move / passed
    t5, t10 = slid(t5, close, ago[2], n, 5), slid(t10, close, ago[1], n, 10)
    t20 = slid(t20, close, ago[0], n, 20)
    wma, plain = weighted(wma, plain, close, ago, n)
    e5, e10, e20 = seeded(e5, close, n, 5), seeded(e10, close, n, 10), seeded(e20, close, n, 20)
    slow = seeded(slow, close, n, 26)
    if n > 14:  # TA-Lib lets the fast average of MACD begin with the slow one, not before
        fast = seeded(fast, close, n - 14, 12)
    if n >= 26:
        signal = seeded(signal, fast - slow, n - 25, 9)
    if n > 1:
        gain = wilder(gain, move if move > 0 else 0.0, n - 1, 5)
        loss = wilder(loss, -move if move < 0 else 0.0, n - 1, 5)
        atr = wilder(atr, indicators.true_range(high, low, before), n - 1, 14)
    _RUNNING.pack_into(block, at, n, start, velocity, (velocity - was) / passed, high, low, last_high, last_low,
                       t5, t10, t20, wma, plain, e5, e10, e20, gain, loss, fast, slow, signal, atr)  # fmt: skip
    log_return = ln(close / before)
    _shift(block, at, (close, log_return, *volatility.range_terms(first, high, low, close)))
    return log_return


def _shift(block: bytearray, at: int, newest: tuple[float, float, float, float]) -> None:
    """All windows lose their oldest value in one move, and get their newest."""
    begin, end = at + WINDOWS_AT, at + SIZE
    block[begin : end - 8] = block[begin + 8 : end]
    _ONE.pack_into(block, at + _RETURNS_AT - 8, newest[0])
    _ONE.pack_into(block, at + _RANGES_AT - 8, newest[1])
    _ONE.pack_into(block, at + _BODIES_AT - 8, newest[2])
    _ONE.pack_into(block, end - 8, newest[3])


class Windows:
    """What the last candles alone tell: the same for two views whose windows are the same."""

    __slots__ = ("closes", "later", "range_sum", "reach", "values")

    def __init__(self, block: bytearray, at: int) -> None:
        held = _WINDOWS.unpack_from(block, at + WINDOWS_AT)
        returns, ranges = held[22:32], held[32:42]
        moves = changes(held[:22])
        self.closes: tuple[float, ...] = held[:22]
        self.later = centred(moves[1:])
        self.range_sum: float = ranges[8] + ranges[9]
        self.reach = indicators.reach(held[2:22])
        close, ago3, ago5 = held[21], held[18], held[16]
        self.values = known(
            (
                quotient(close - ago3, ago3),
                quotient(close - ago5, ago5),
                volatility.deviation(returns[5:]),
                volatility.deviation(returns),
                returns[9],
                volatility.parkinson(ranges),
                volatility.garman_klass(held[42:]),
                microstructure.roll_spread(self.later, centred(moves[:-1])),
            )
        )


def read(block: bytearray, at: int, seen: Windows) -> list[float | None]:
    """All features of the newest candle, as RatioFeatures has them."""
    (n, _, velocity, acceleration, high, low, last_high, last_low, t5, t10, t20, wma, _, e5, e10, e20,
     gain, loss, fast, slow, signal, atr) = _RUNNING.unpack_from(block, at)  # fmt: skip
    if n < 20:
        t5, t10, t20, e5, e10, e20, wma, atr = _warm(n, t5, t10, t20, e5, e10, e20, wma, atr)
    mean, spread_high, spread_low = t20 / 20.0, max(high, last_high), min(low, last_low)
    found = known((
        t5 / 5.0, t10 / 10.0, mean, e5, e10, e20, wma / 15.0, velocity, acceleration, high / low,
        microstructure.corwin_schultz(seen.range_sum, spread_high, spread_low), indicators.rsi(gain, loss, n),
        *indicators.bollinger(mean, seen.reach, seen.closes[21]), *indicators.macd(fast, slow, signal, n), atr,
    ))  # fmt: skip
    windows = seen.values
    return [*found[:7], *windows[:2], *found[7:9], *windows[2:4], found[9], *windows[4:], *found[10:]]


def _warm(n: float, *running: float) -> tuple[float, ...]:
    """The numbers that have seen enough candles, NaN in the place of the others."""
    return tuple(
        value if n >= need else NAN for value, need in zip(running, (5, 10, 20, 5, 10, 20, 5, 15), strict=True)
    )
