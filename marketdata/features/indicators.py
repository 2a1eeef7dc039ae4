"""RSI, Bollinger bands, MACD and ATR as TA-Lib has them: its arithmetic and its first values."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

from marketdata.features.maths import NAN, quotient, spread

MACD_FROM: Final = 34
"""Candles until MACD's first values: 26 of the slow average, then 9 of the signal, one of them shared."""


def true_range(high: float, low: float, before: float) -> float:
    """The widest of high - low and of both to the close before (Wilder 1978)."""
    return max(high, before) - min(low, before)


def rsi(gain: float, loss: float, n: float) -> float:
    """100 * average gain / (average gain + average loss) over 5 changes, 0 where nothing moved.

    TA-Lib once took moves below 1e-14 for nothing; its later versions and this do not.
    """
    if n < 6:
        return NAN
    moved = gain + loss
    return 100.0 * (gain / moved) if moved > 0 else 0.0


def reach(closes: Sequence[float]) -> float:
    """Two population standard deviations of the closes: 0 where they are all equal, rounding or not."""
    if closes[0] == closes[-1] and closes.count(closes[0]) == len(closes):
        return 0.0
    return 2.0 * spread(closes) / sqrt(len(closes))


def bollinger(mean: float, either: float, close: float) -> tuple[float, float, float]:
    """Upper, lower: a mean of closes and ``either`` to each side; then (c - lower) / (upper - lower).

    TA-Lib once had a deviation of 0 below 1e-7, and lost digits where prices hardly move; its later versions and
    this do not.
    """
    upper, lower = mean + either, mean - either
    return upper, lower, quotient(close - lower, upper - lower) if either else NAN


def macd(fast: float, slow: float, signal: float, n: float) -> tuple[float, float, float]:
    """EMA 12 - EMA 26, its EMA 9, and their difference."""
    if n < MACD_FROM:
        return NAN, NAN, NAN
    line = fast - slow
    return line, signal, line - signal
