"""Small arithmetic that all features share. NaN stands for null until the values leave the package."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import mul, sub
from typing import Final

NAN: Final = math.nan


def quotient(a: float, b: float) -> float:
    """``a / b``, NaN where b is 0."""
    return a / b if b else NAN


def ln(x: float) -> float:
    """The natural logarithm, NaN where there is none: prices far apart may divide to 0."""
    return math.log(x) if x > 0 else NAN


def changes(values: Sequence[float]) -> list[float]:
    """Each value minus the one before: one fewer than there are values."""
    return list(map(sub, values[1:], values))


def centred(values: Sequence[float]) -> list[float]:
    """The values minus their mean. Sums of their products err by the square of the mean's own error only."""
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def dot(a: Iterable[float], b: Iterable[float]) -> float:
    """The sum of products."""
    total: float = sum(map(mul, a, b))
    return total


def spread(values: Sequence[float]) -> float:
    """The root of the sum of squared differences to the mean."""
    n = len(values)
    return math.dist(values, (sum(values) / n,) * n)


def known(values: Sequence[float]) -> list[float | None]:
    """The values as they are published: null for what is not a finite number (its difference to itself is not 0)."""
    if math.isfinite(sum(values)):
        return list(values)
    return [None if value - value else value for value in values]
