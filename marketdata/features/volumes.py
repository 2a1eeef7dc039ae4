"""What sizes and sides tell beside prices: averages weighted by volume, and what it costs to move the market."""

from __future__ import annotations

from array import array
from math import nan
from typing import Final

from marketdata.features.numbers import covariance, divide, mean_of, push

WINDOW: Final = 20
SESSION, SESSION_WEIGHT, SESSION_SIZE = range(3)


class Volumes:
    """One history of volumes, of price * size (``weights``) and of the sizes that formed prices."""

    __slots__ = ("signed", "sizes", "values", "volumes", "weights")

    def __init__(self) -> None:
        self.values = array("d", bytes(8 * 3))
        self.volumes = array("d")
        self.weights = array("d")
        self.sizes = array("d")
        self.signed = array("d")

    def arrays(self) -> tuple[array[float], ...]:
        """All that a copy needs."""
        return self.values, self.volumes, self.weights, self.sizes, self.signed

    def push(self, session: float, volume: float, weight: float, size: float, signed: float) -> None:
        """Take the next candle that has a close; ``session`` is the start of its session in µs."""
        v = self.values
        if v[SESSION] != session:
            v[SESSION], v[SESSION_WEIGHT], v[SESSION_SIZE] = session, 0.0, 0.0
        v[SESSION_WEIGHT] += weight
        v[SESSION_SIZE] += size
        push(self.volumes, volume, WINDOW)
        push(self.weights, weight, WINDOW)
        push(self.sizes, size, WINDOW)
        push(self.signed, signed, WINDOW)

    def scale(self, factor: float) -> None:
        """Sizes over ``factor``, as if they had always been so; what a trade was worth stays."""
        self.values[SESSION_SIZE] /= factor
        for window in (self.volumes, self.sizes, self.signed):
            for i, value in enumerate(window):
                window[i] = value / factor

    def averages(self, closes: array[float]) -> tuple[float, ...]:
        """From ``volume_avg_5`` to ``vwma_20`` in the order of PriceFeatures; NaN for what is not known yet."""
        v, volumes, close = self.values, self.volumes, closes[-1]
        means = [mean_of(volumes, n) for n in (5, 10, 20)]
        session = divide(v[SESSION_WEIGHT], v[SESSION_SIZE])
        rolling = divide(sum(self.weights), sum(self.sizes)) if len(volumes) >= WINDOW else nan
        return (
            *means,
            *[divide(volumes[-1], mean) for mean in means],
            session,
            divide(close, session) - 1,
            rolling,
            divide(close, rolling) - 1,
            *[_weighted(closes, volumes, n) for n in (5, 10, 20)],
        )

    def kyle_lambda(self, closes: array[float]) -> float:
        """The slope of the change of price on signed volume over 20 candles; Kyle (1985), by least squares."""
        if len(closes) <= WINDOW:
            return nan
        changes = array("d", [b - a for a, b in zip(closes[-21:], closes[-20:], strict=False)])
        if min(self.signed) == max(self.signed):
            return nan
        return divide(covariance(self.signed, changes), covariance(self.signed, self.signed))

    def amihud(self, returns: array[float]) -> float:
        """The mean of |return| by value traded over 20 candles; Amihud (2002)."""
        if len(returns) < WINDOW:
            return nan
        found = [abs(r) / w for r, w in zip(returns, self.weights, strict=True) if w > 0]
        return divide(sum(found), len(found))


def _weighted(closes: array[float], volumes: array[float], n: int) -> float:
    if len(volumes) < n:
        return nan
    pairs = zip(closes[-n:], volumes[-n:], strict=True)
    return divide(sum([close * volume for close, volume in pairs]), sum(volumes[-n:]))
