"""Averages that move on by one close at a time, in TA-Lib's order of operations, so that they equal its own."""

from __future__ import annotations

from collections.abc import Sequence


def slid(total: float, newest: float, leaving: float, n: float, period: int) -> float:
    """The sum of the last ``period`` values after the ``n``-th; ``leaving`` stood ``period`` ago (TA-Lib SMA)."""
    if n > period:
        total -= leaving
    return total + newest


def weighted(total: float, plain: float, newest: float, before: Sequence[float], n: float) -> tuple[float, float]:
    """Sums of the last 5 values, weighted 1 to 5 and plain; total / 15 is the WMA from n = 5 on (TA-Lib WMA).

    ``before`` ends with the 5 values before the newest. As TA-Lib 0.8 does, every 40 values the sums are made anew.
    """
    if n <= 5:
        return total + newest * n, plain + newest
    if (n - 4) % 40:
        return (total - plain) + newest * 5, (plain + newest) - before[-5]
    a, b, c, d = before[-4:]
    return a + b * 2 + c * 3 + d * 4 + newest * 5, a + b + c + d + newest


def seeded(value: float, newest: float, n: float, period: int) -> float:
    """EMA with k = 2 / (period + 1), seeded by the mean of the first ``period`` values (TA-Lib EMA).

    Until then ``value`` is the sum of those; ``n`` counts them, the newest included.
    """
    if n > period:
        return (newest - value) * (2.0 / (period + 1)) + value
    value += newest
    return value / period if n == period else value


def wilder(value: float, newest: float, n: float, period: int) -> float:
    """Wilder's average (1978), k = 1 / period, seeded as ``seeded`` is (TA-Lib RSI, ATR)."""
    if n > period:
        return (value * (period - 1) + newest) / period
    value += newest
    return value / period if n == period else value
