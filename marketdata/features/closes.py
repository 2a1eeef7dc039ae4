"""The history of one open, high, low and close: of the price or of the ratio, in one view.

It lies at some place of a block of bytes: 22 numbers that run on, then the windows that the rest is computed from
anew. Unfilled places of a window hold NaN, so that what is not warmed up comes out as NaN by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from marketdata.features import indicators, microstructure, volatility
from marketdata.features.maths import NAN, changes, log_returns, quotient
from marketdata.features.moving import seeded, slid, weighted, wilder

_RUNNING: Final = Struct("<22d")
_WINDOWS: Final = Struct("<42d")
_CLOSES: Final = Struct("<22d")
_ONE: Final = Struct("<d")
WINDOWS_AT: Final = _RUNNING.size
SIZE: Final = _RUNNING.size + _WINDOWS.size
_RANGES_AT: Final = WINDOWS_AT + 22 * 8
_BODIES_AT: Final = _RANGES_AT + 10 * 8
EMPTY: Final = _RUNNING.pack(0.0, *[NAN] * 7, *[0.0] * 14) + _WINDOWS.pack(*[NAN] * 42)
POWERS: Final = (0, 0, *[1] * 20, *[1] * 22, *[0] * 20)
"""Of each number: 1 where it is a price or a sum of prices, which a split multiplies by its factor."""


def feed(block: bytearray, at: int, start: float, first: float, high: float, low: float, close: float) -> None:
    """Take the next candle; ``start`` in µs."""
    (n, then, velocity, _, last_high, last_low, _, _, t5, t10, t20, wma, plain, e5, e10, e20,
     gain, loss, fast, slow, signal, atr) = _RUNNING.unpack_from(block, at)  # fmt: skip
    closes = _CLOSES.unpack_from(block, at + WINDOWS_AT)
    before, leaving5 = closes[21], closes[17]
    n += 1.0
    passed, move = (start - then) / 1e6, close - before
    was, velocity = velocity, move / passed
    t5, t10 = slid(t5, close, leaving5, n, 5), slid(t10, close, closes[12], n, 10)
    t20 = slid(t20, close, closes[2], n, 20)
    wma, plain = weighted(wma, plain, close, leaving5, n)
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
    _shift(block, at, close, volatility.range_terms(first, high, low, close))


def _shift(block: bytearray, at: int, close: float, terms: tuple[float, float]) -> None:
    """All windows lose their oldest value in one move, and get their newest."""
    begin, end = at + WINDOWS_AT, at + SIZE
    block[begin : end - 8] = block[begin + 8 : end]
    _ONE.pack_into(block, at + _RANGES_AT - 8, close)
    _ONE.pack_into(block, at + _BODIES_AT - 8, terms[0])
    _ONE.pack_into(block, end - 8, terms[1])


class Windows:
    """What the last candles alone tell: the same for two views whose windows are the same."""

    __slots__ = ("closes", "moves", "range_sum", "reach", "values")

    def __init__(self, block: bytearray, at: int) -> None:
        held = _WINDOWS.unpack_from(block, at + WINDOWS_AT)
        ranges, bodies = held[22:32], held[32:]
        self.closes: tuple[float, ...] = held[:22]
        self.moves = changes(self.closes)
        self.range_sum: float = ranges[8] + ranges[9]
        self.reach = indicators.reach(held[2:22])
        close, ago3, ago5 = held[21], held[18], held[16]
        returns = log_returns(held[11:22])
        self.values = (
            quotient(close - ago3, ago3),
            quotient(close - ago5, ago5),
            volatility.deviation(returns[5:]),
            volatility.deviation(returns),
            returns[9],
            volatility.parkinson(ranges),
            volatility.garman_klass(bodies),
            microstructure.roll_spread(self.moves),
        )


def read(block: bytearray, at: int, seen: Windows) -> tuple[float, ...]:
    """All features of the newest candle, as RatioFeatures has them; NaN for null."""
    (n, _, velocity, acceleration, high, low, last_high, last_low, t5, t10, t20, wma, _, e5, e10, e20,
     gain, loss, fast, slow, signal, atr) = _RUNNING.unpack_from(block, at)  # fmt: skip
    momentum_3, momentum_5, *of_windows, roll = seen.values
    spread = microstructure.corwin_schultz(
        seen.range_sum, last_high if last_high > high else high, last_low if last_low < low else low
    )
    if n < 20:
        t5, t10, t20, e5, e10, e20, wma, atr = _warm(n, t5, t10, t20, e5, e10, e20, wma, atr)
    return (
        t5 / 5.0, t10 / 10.0, t20 / 20.0, e5, e10, e20, wma / 15.0, momentum_3, momentum_5, velocity, acceleration,
        *of_windows[:2], high / low, *of_windows[2:], roll, spread, indicators.rsi(gain, loss, n),
        *indicators.bollinger(t20 / 20.0, seen.reach, seen.closes[21]), *indicators.macd(fast, slow, signal, n), atr,
    )  # fmt: skip


def _warm(n: float, *running: float) -> tuple[float, ...]:
    """The numbers that have seen enough candles, NaN in the place of the others."""
    return tuple(
        value if n >= need else NAN for value, need in zip(running, (5, 10, 20, 5, 10, 20, 5, 15), strict=True)
    )
