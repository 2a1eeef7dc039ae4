"""Small arithmetic that all features share. NaN stands for null until the values leave the package."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import mul, sub, truediv
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


def log_returns(values: Sequence[float]) -> list[float]:
    """The logarithm of each value over the one before: one fewer than there are values."""
    try:
        return list(map(math.log, map(truediv, values[1:], values)))
    except (ValueError, ZeroDivisionError):
        return [ln(quotient(b, a)) for a, b in zip(values, values[1:], strict=False)]


def centred(values: Sequence[float]) -> list[float]:
    """The values minus their mean. Sums of their products err by the square of the mean's own error only."""
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def dot(a: Iterable[float], b: Iterable[float]) -> float:
    """The sum of products."""
    return sum(map(mul, a, b))


def known(values: Iterable[float]) -> list[float | None]:
    """The values as they are published: what is not a finite number (its difference to itself is not 0) is null."""
    return [None if value - value else value for value in values]
