"""What prices and volumes tell of liquidity: spreads that no quote shows, and what trades cost the price."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt, tanh
from typing import Final

from marketdata.features.maths import NAN, centred, dot, ln, quotient

_K: Final = 3 - 2 * sqrt(2.0)


def roll_spread(later: Sequence[float], earlier: Sequence[float]) -> float:
    """2 sqrt(-cov) of centred neighbouring changes of the close, NaN where cov > 0 (Roll 1984)."""
    cov = dot(later, earlier) / (len(later) - 1)
    return NAN if cov > 0 else 2 * sqrt(-cov)


def corwin_schultz(beta: float, high: float, low: float) -> float:
    """The spread as a share of the price, at least 0 (Corwin and Schultz 2012, equations 14 and 18).

    ``beta`` is the sum of two candles' ln(h/l)^2; ``high`` and ``low`` are of both together.
    """
    span = ln(high / low)
    alpha = (sqrt(2 * beta) - sqrt(beta)) / _K - sqrt(span * span / _K)
    spread = 2 * tanh(alpha / 2)  # = 2 (e^alpha - 1) / (1 + e^alpha), without its overflow
    return 0.0 if spread < 0 else spread


def kyle_lambda(moves: Sequence[float], signed: Sequence[float]) -> float:
    """Slope of the close's centred changes on signed volume, with intercept; NaN where all are equal (Kyle 1985)."""
    if signed[0] == signed[-1] and signed.count(signed[0]) == len(signed):
        return NAN
    x = centred(signed)
    return quotient(dot(x, moves), dot(x, x))


def illiquidity(log_return: float, money: float) -> float:
    """One candle's |log return| for each unit of money traded, 0 where none was."""
    return abs(log_return) / money if money > 0 else log_return * 0.0  # NaN stays NaN


def amihud(terms: Sequence[float], money: Sequence[float]) -> float:
    """The mean of ``illiquidity`` over candles that traded, NaN where none did (Amihud 2002)."""
    return quotient(sum(terms), len(money) - money.count(0.0))


def imbalance(buy: float, sell: float) -> float:
    """(B - S) / (B + S), from -1, all sold, to 1, all bought."""
    return quotient(buy - sell, buy + sell)
