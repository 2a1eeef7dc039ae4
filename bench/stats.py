"""Statistics of a run, without I/O: percentiles, medians, steady rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

Sample = tuple[float, float]
"""(seconds on any steady clock, records done by then)."""

WORST_SHARE_OF_BEST: Final = 0.7
"""A floor below this share of its own best run says that something else used the machine."""


class TooShortError(ValueError):
    """A run gave too few samples of progress to say how fast it was."""


@dataclass(frozen=True, slots=True)
class Steady:
    """How fast a stage was once it moved: ``records`` done in ``seconds``, start-up and idle end left out."""

    records: float
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def steady(samples: Sequence[Sample]) -> Steady:
    """What was done between the first sample that shows progress and the first that shows the final count.

    Raises:
        TooShortError: fewer than two samples show progress.
    """
    base, final = samples[0][1], samples[-1][1]
    first = next((sample for sample in samples if sample[1] > base), None)
    last = next(sample for sample in samples if sample[1] >= final)
    if first is None or last[0] <= first[0]:
        raise TooShortError(f"{final - base:,.0f} records were done between two samples: give the run more trades")
    return Steady(last[1] - first[1], last[0] - first[0])


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line: ``slope`` in y for one of x, its value ``at_zero``, and how much of y it explains.

    ``r2`` is None where all y are equal, or where there are two points: any line explains these.
    """

    slope: float
    at_zero: float
    r2: float | None


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line through ``points`` (x, y) with the least sum of squares.

    Raises:
        TooShortError: they have fewer than two different x.
    """
    if len({x for x, _ in points}) < 2:
        raise TooShortError("a slope needs measurements at two different places at least")
    mean_x, mean_y = (math.fsum(values) / len(points) for values in zip(*points, strict=True))
    xx = math.fsum((x - mean_x) ** 2 for x, _ in points)
    yy = math.fsum((y - mean_y) ** 2 for _, y in points)
    xy = math.fsum((x - mean_x) * (y - mean_y) for x, y in points)
    slope = xy / xx
    return Line(slope, mean_y - slope * mean_x, xy**2 / (xx * yy) if yy and len(points) > 2 else None)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value of ``ordered`` (ascending, not empty) that at least ``share`` of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_summary(values_us: Iterable[float]) -> dict[str, Any]:
    """Count, p50, p99, p99.9 and max in ms of latencies in µs; null where there is no value."""
    ordered = sorted(values_us)
    summary: dict[str, Any] = {"count": len(ordered)}
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)):
        summary[name] = round(percentile(ordered, share) / 1_000, 2) if ordered else None
    return summary


def rates_summary(rates: Sequence[float], unit: str) -> dict[str, Any]:
    """Every run's rate and their median."""
    return {"unit": unit, "median": round(median(rates)), "runs": [round(rate) for rate in rates]}


def share_of(rates: Sequence[float], floors: Sequence[float]) -> float:
    """The median, over runs, of a rate divided by the floor measured beside it."""
    return round(median(rate / floor for rate, floor in zip(rates, floors, strict=True)), 3)


def uneven(floors: Sequence[float], name: str) -> list[str]:
    """The reason to void a run whose floor fell below 70 % of its own best; empty if it did not."""
    if min(floors) >= WORST_SHARE_OF_BEST * max(floors):
        return []
    return [f"the {name} floor fell to {min(floors) / max(floors):.0%} of its own best: the machine was not quiet"]
