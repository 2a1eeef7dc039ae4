"""Small arithmetic for features: NaN stands for "not known" inside a history, None outside of it."""

from __future__ import annotations

from array import array
from math import inf, isfinite, nan, sqrt
from typing import Final

EPSILON: Final = 1e-14
"""TA-Lib's: what is nearer to zero counts as zero."""


def divide(a: float, b: float) -> float:
    """The quotient of a and b, NaN where b is 0."""
    return a / b if b else nan


def known(value: float) -> float | None:
    """``value`` as it is published: None for NaN and what overflowed."""
    return value if -inf < value < inf else None


def push(window: array[float], value: float, size: int) -> None:
    """Append ``value``; the window keeps its last ``size``."""
    window.append(value)
    if len(window) > size:
        del window[0]


def mean_of(window: array[float], n: int) -> float:
    """The mean of the last ``n``, NaN where there are fewer."""
    return sum(window[-n:]) / n if len(window) >= n else nan


def sample_deviation(window: array[float], n: int) -> float:
    """The sample standard deviation (n - 1) of the last ``n``, in two passes; NaN where there are fewer."""
    if len(window) < n:
        return nan
    values = window[-n:]
    mean = sum(values) / n
    return sqrt(total) if isfinite(total := sum([(v - mean) ** 2 for v in values]) / (n - 1)) else nan


def covariance(xs: array[float], ys: array[float]) -> float:
    """The sum of (x - mean x)(y - mean y): n times the population covariance."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum([(x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)])
