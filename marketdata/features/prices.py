"""What open, high, low and close alone tell: averages, momentum, volatility, spreads and indicators.

The state of one history, moved by one candle at a time with the same work for each. What TA-Lib defines goes its way
in its own order of operations, so that results agree to the last digits: running sums that add the newest and then
take the oldest away, averages seeded with the mean of the first n, Wilder's smoothing.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from math import exp, isfinite, isnan, log, nan, sqrt
from typing import Final

from marketdata.features.numbers import EPSILON, covariance, divide, mean_of, push, sample_deviation

CLOSES: Final = 22
RETURNS: Final = 20
RANGES: Final = 10
SECOND_US: Final = 1_000_000
_LN2: Final = log(2)
_SCHULTZ: Final = 3 - 2 * sqrt(2)
# Places in the array of single values.
(COUNT, START, VELOCITY, ACCELERATION, HIGH, LOW, TOTAL_5, TOTAL_10, TOTAL_20, SQUARES_20, SMA_5, SMA_10, SMA_20,
 DEVIATION, EMA_5, EMA_10, EMA_20, FAST, SLOW, MACD, SIGNAL, GAIN, LOSS, RANGE, SCHULTZ) = range(25)  # fmt: skip
SIZE: Final = 25
_PRICED: Final = (
    VELOCITY, ACCELERATION, HIGH, LOW, TOTAL_5, TOTAL_10, TOTAL_20, SMA_5, SMA_10, SMA_20, DEVIATION, EMA_5, EMA_10,
    EMA_20, FAST, SLOW, MACD, SIGNAL, GAIN, LOSS, RANGE,
)  # fmt: skip


class Prices:
    """One history of opens, highs, lows and closes."""

    __slots__ = ("closes", "garman", "ranges", "returns", "values")

    def __init__(self) -> None:
        self.values = array("d", bytes(8 * SIZE))
        self.closes = array("d")
        self.returns = array("d")
        self.ranges = array("d")  # ln(high / low) squared
        self.garman = array("d")

    def arrays(self) -> tuple[array[float], ...]:
        """All that a copy needs."""
        return self.values, self.closes, self.returns, self.ranges, self.garman

    def push(self, start: float, open_: float, high: float, low: float, close: float) -> None:
        """Take the next candle that has a close; ``start`` in µs."""
        v, closes = self.values, self.closes
        count = v[COUNT] = v[COUNT] + 1
        if count > 1:
            self._move(start, high, low, close, closes[-1])
        v[START], v[HIGH], v[LOW] = start, high, low
        push(closes, close, CLOSES)
        span, body = _log_ratio(high, low), _log_ratio(close, open_)
        push(self.ranges, span * span, RANGES)
        push(self.garman, 0.5 * span * span - (2 * _LN2 - 1) * body * body, RANGES)
        self._average(int(count), close)
        self._converge(int(count), close)

    def _move(self, start: float, high: float, low: float, close: float, before: float) -> None:
        """What compares a candle with the one before it."""
        v = self.values
        count, change = int(v[COUNT]), close - before
        velocity = divide(change * SECOND_US, start - v[START])
        v[ACCELERATION] = divide((velocity - v[VELOCITY]) * SECOND_US, start - v[START]) if count > 2 else nan
        v[VELOCITY] = velocity
        push(self.returns, _log_ratio(close, before), RETURNS)
        v[SCHULTZ] = _corwin_schultz(v[HIGH], v[LOW], high, low)
        _wilder(v, GAIN, max(change, 0.0), count - 1, 5)
        _wilder(v, LOSS, max(-change, 0.0), count - 1, 5)
        _wilder(v, RANGE, max(high - low, abs(before - high), abs(before - low)), count - 1, 14)

    def _average(self, count: int, close: float) -> None:
        v, closes = self.values, self.closes
        for n, total, mean in ((5, TOTAL_5, SMA_5), (10, TOTAL_10, SMA_10), (20, TOTAL_20, SMA_20)):
            v[total] += close
            if count >= n:
                v[mean] = v[total] / n
                v[total] -= closes[-n]
        v[SQUARES_20] += close * close
        if count >= 20:
            variance = v[SQUARES_20] / 20 - v[SMA_20] * v[SMA_20]
            v[DEVIATION] = sqrt(variance) if variance >= EPSILON and isfinite(variance) else 0.0
            v[SQUARES_20] -= closes[-20] * closes[-20]
        for n, place in ((5, EMA_5), (10, EMA_10), (20, EMA_20)):
            _exponential(v, place, close, count, n)

    def _converge(self, count: int, close: float) -> None:
        """MACD: TA-Lib seeds the fast average with the twelve closes that end with the slow one's seed."""
        v = self.values
        _exponential(v, SLOW, close, count, 26)
        _exponential(v, FAST, close, count - 14, 12)
        if count >= 26:
            v[MACD] = v[FAST] - v[SLOW]
            _exponential(v, SIGNAL, v[MACD], count - 25, 9)

    def scale(self, factor: float) -> None:
        """Prices times ``factor``, as if they had always been so."""
        for place in _PRICED:
            self.values[place] *= factor
        self.values[SQUARES_20] *= factor * factor
        for i, close in enumerate(self.closes):
            self.closes[i] = close * factor

    # --- after a candle, what is known of it -----------------------------------------------------------------------

    def features(self) -> tuple[float, ...]:
        """The features of the candle pushed last, in the order of RatioFeatures; NaN for what is not known yet."""
        v, closes = self.values, self.closes
        count = int(v[COUNT])
        enough = [v[place] if count >= n else nan for place, n in (
            (SMA_5, 5), (SMA_10, 10), (SMA_20, 20), (EMA_5, 5), (EMA_10, 10), (EMA_20, 20))]  # fmt: skip
        flat = count < 20 or min(closes[-20:]) == max(closes[-20:])
        upper = v[SMA_20] + 2 * v[DEVIATION] if count >= 20 else nan
        lower = v[SMA_20] - 2 * v[DEVIATION] if count >= 20 else nan
        macd, signal = (v[MACD], v[SIGNAL]) if count >= 34 else (nan, nan)
        moved = v[GAIN] + v[LOSS]
        rsi = (100 * (v[GAIN] / moved) if moved >= EPSILON else 0.0) if count >= 6 else nan
        return (
            *enough,
            _weighted(closes),
            _momentum(closes, 3),
            _momentum(closes, 5),
            v[VELOCITY] if count >= 2 else nan,
            v[ACCELERATION] if count >= 3 else nan,
            sample_deviation(self.returns, 5),
            sample_deviation(self.returns, 10),
            v[HIGH] / v[LOW],
            self.returns[-1] if self.returns else nan,
            _root(mean_of(self.ranges, RANGES) / (4 * _LN2)),
            _root(max(0.0, mean) if (mean := mean_of(self.garman, RANGES)) == mean else nan),
            _roll_spread(closes),
            v[SCHULTZ] if count >= 2 else nan,
            rsi,
            upper,
            lower,
            nan if flat or upper == lower else (closes[-1] - lower) / (upper - lower),
            macd,
            signal,
            macd - signal,
            v[RANGE] if count >= 15 else nan,
        )


def _exponential(v: array[float], place: int, value: float, count: int, n: int) -> None:
    """An exponential average over n; until the n-th value its place holds their sum."""
    if count > n:
        v[place] = (value - v[place]) * (2 / (n + 1)) + v[place]
    elif count > 0:
        v[place] += value
        if count == n:
            v[place] /= n


def _wilder(v: array[float], place: int, value: float, count: int, n: int) -> None:
    """Wilder's smoothing over n; until the n-th value its place holds their sum."""
    if count > n:
        v[place] = (v[place] * (n - 1) + value) / n
    else:
        v[place] += value
        if count == n:
            v[place] /= n


def _log_ratio(a: float, b: float) -> float:
    ratio = divide(a, b)
    return log(ratio) if ratio > 0 else nan


def _root(value: float) -> float:
    return sqrt(value) if value >= 0 else nan


def _momentum(closes: array[float], n: int) -> float:
    return divide(closes[-1], closes[-1 - n]) - 1 if len(closes) > n else nan


def _weighted(closes: array[float]) -> float:
    if len(closes) < 5:
        return nan
    return (closes[-5] + 2 * closes[-4] + 3 * closes[-3] + 4 * closes[-2] + 5 * closes[-1]) / 15


def _roll_spread(closes: array[float]) -> float:
    """2 sqrt(-cov) of neighbouring changes; Roll (1984)."""
    if len(closes) < CLOSES:
        return nan
    changes = array("d", [b - a for a, b in pairwise(closes)])
    cov = covariance(changes[1:], changes[:-1]) / (len(changes) - 2)
    return 2 * sqrt(-cov) if cov <= 0 else nan


def _corwin_schultz(high_1: float, low_1: float, high_2: float, low_2: float) -> float:
    """The spread from two candles' highs and lows; Corwin and Schultz (2012), negative estimates set to 0."""
    beta = _log_ratio(high_1, low_1) ** 2 + _log_ratio(high_2, low_2) ** 2
    gamma = _log_ratio(max(high_1, high_2), min(low_1, low_2)) ** 2
    alpha = (sqrt(2 * beta) - sqrt(beta)) / _SCHULTZ - sqrt(gamma / _SCHULTZ)
    if isnan(alpha) or alpha <= 0:
        return nan if isnan(alpha) else 0.0
    return 2 * (1 - exp(-alpha)) / (1 + exp(-alpha))
