"""How much prices move: from closes, and from a candle's own range."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Final

from marketdata.features.maths import ln, spread

_LN2: Final = log(2.0)


def deviation(returns: Sequence[float]) -> float:
    """The sample standard deviation (n - 1) of log returns, not annualised."""
    return spread(returns) / sqrt(len(returns) - 1)


def range_terms(first: float, high: float, low: float, close: float) -> tuple[float, float]:
    """One candle's ln(h/l)^2 and 0.5 ln(h/l)^2 - (2 ln 2 - 1) ln(c/o)^2."""
    span, body = ln(high / low), ln(close / first)
    squared = span * span
    return squared, 0.5 * squared - (2 * _LN2 - 1) * (body * body)


def parkinson(terms: Sequence[float]) -> float:
    """Sqrt(mean of ln(h/l)^2 / (4 ln 2)) (Parkinson 1980)."""
    return sqrt(sum(terms) / len(terms) / (4 * _LN2))


def garman_klass(terms: Sequence[float]) -> float:
    """Sqrt of the mean of 0.5 ln(h/l)^2 - (2 ln 2 - 1) ln(c/o)^2, a mean below 0 being 0 (Garman and Klass 1980)."""
    mean = sum(terms) / len(terms)
    return sqrt(0.0 if mean < 0 else mean)
