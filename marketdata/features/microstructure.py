"""What prices and volumes tell of liquidity: spreads that no quote shows, and what trades cost the price."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt, tanh
from typing import Final

from marketdata.features.maths import NAN, centred, dot, ln, quotient

_K: Final = 3 - 2 * sqrt(2.0)


def roll_spread(moves: Sequence[float]) -> float:
    """2 sqrt(-cov) of neighbouring changes of the close, NaN where cov > 0 (Roll 1984)."""
    cov = dot(centred(moves[1:]), centred(moves[:-1])) / (len(moves) - 2)
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
    """Slope of the close's change on signed volume, with intercept; NaN where all are equal (Kyle 1985)."""
    if signed.count(signed[0]) == len(signed):
        return NAN
    x = centred(signed)
    return quotient(dot(x, centred(moves)), dot(x, x))


def amihud(returns: Sequence[float], money: Sequence[float]) -> float:
    """Mean of |log return| / money traded over candles that traded, NaN where none did (Amihud 2002)."""
    if returns[0] != returns[0]:  # NaN: not warmed up, and a candle without trades might hide it
        return NAN
    found = [abs(r) / w for r, w in zip(returns, money, strict=True) if w > 0]
    return sum(found) / len(found) if found else NAN


def imbalance(buy: float, sell: float) -> float:
    """(B - S) / (B + S), from -1, all sold, to 1, all bought."""
    return quotient(buy - sell, buy + sell)
