"""Volume against its own past, and prices weighted by it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

from marketdata.features.maths import quotient


def averages(volumes: Sequence[float]) -> tuple[float, ...]:
    """Of 20 volumes: the mean of the last 5, 10, 20, then the newest over each."""
    five, ten, twenty = sum(volumes[-5:]) / 5, sum(volumes[-10:]) / 10, sum(volumes) / 20
    newest = volumes[-1]
    return five, ten, twenty, quotient(newest, five), quotient(newest, ten), quotient(newest, twenty)


def vwma(closes: Sequence[float], volumes: Sequence[float]) -> tuple[float, ...]:
    """Of 20 candles: closes weighted by volume over the last 5, 10, 20."""
    paid = list(map(mul, closes, volumes))
    return (
        quotient(sum(paid[-5:]), sum(volumes[-5:])),
        quotient(sum(paid[-10:]), sum(volumes[-10:])),
        quotient(sum(paid), sum(volumes)),
    )


def vwap(weight: float, size: float, close: float) -> tuple[float, float]:
    """Sum of price * size over sum of size, and how far the close is from it, as a share of it."""
    price = quotient(weight, size)
    return price, quotient(close, price) - 1
