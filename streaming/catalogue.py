"""Every metric is declared through here, once: name, type, unit, labels and meaning.

The same declarations make the objects that count and docs/metrics.md. A metric never grows past the label sets that
its labels declare: what comes beyond them is counted under ``other``.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal, TypeVar

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter and histogram, which nothing here reads

LATENCY_BUCKETS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1, 2, 5, 10, 30,
)  # fmt: skip
"""For every latency: 1 ms to 10 s, finer where a candle with the default allowance of 250 ms lies."""
OTHER: Final = "other"
T = TypeVar("T", bound=MetricWrapperBase)


@dataclass(frozen=True, slots=True)
class Label:
    """A label: its name, what its values are, and how many of them there are at most."""

    name: str
    values: str
    at_most: int


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric as Prometheus shows it; ``buckets`` only of histograms."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: tuple[Label, ...]
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> int:
        """How many series one process can have of it at most."""
        sets = math.prod(label.at_most for label in self.labels)
        return sets * (len(self.buckets) + 3 if self.kind == "histogram" else 1)


_DECLARED: Final[dict[int, Declared]] = {}


def any_of(name: str, values: Iterable[str]) -> Label:
    """A label whose values are known."""
    known = tuple(values)
    return Label(name, ", ".join(known), len(known))


def counter(name: str, unit: str, meaning: str, *labels: Label) -> Counter:
    """A count since the process started; its name ends in ``_total``."""
    return _made(_Counter(name, meaning, _names(labels)), Declared(name, "counter", unit, meaning, labels))


def gauge(name: str, unit: str, meaning: str, *labels: Label) -> Gauge:
    """A value as it is now."""
    return _made(_Gauge(name, meaning, _names(labels)), Declared(name, "gauge", unit, meaning, labels))


def histogram(
    name: str, unit: str, meaning: str, *labels: Label, buckets: Sequence[float] = LATENCY_BUCKETS_S
) -> Histogram:
    """Observations by size. Observe once a run or a frame, not once a record."""
    made = _Histogram(name, meaning, _names(labels), buckets=buckets)
    return _made(made, Declared(name, "histogram", unit, meaning, labels, tuple(buckets)))


def begin_at_zero(metric: MetricWrapperBase, *values: Iterable[str]) -> None:
    """Make the series of every combination of values: to Prometheus a first count from nothing is no increase."""
    for combination in itertools.product(*values):
        metric.labels(*combination)


def declared_in(module: ModuleType) -> list[Declared]:
    """The metrics that a module declares, in its order."""
    return [_DECLARED[id(value)] for value in vars(module).values() if id(value) in _DECLARED]


def _made(metric: T, declared: Declared) -> T:
    _DECLARED[id(metric)] = declared  # metrics live as long as the process
    if declared.labels:
        metric.at_most = math.prod(label.at_most for label in declared.labels)  # type: ignore[attr-defined]
    return metric


def _names(labels: Iterable[Label]) -> tuple[str, ...]:
    return tuple(label.name for label in labels)


class _Bounded(MetricWrapperBase):
    at_most = sys.maxsize

    def labels(self, *values: object, **named: object) -> Any:
        if named:
            raise TypeError("label values are given in the order of the declaration")
        wanted = tuple(map(str, values))
        if wanted not in self._metrics and len(self._metrics) >= self.at_most:
            wanted = (OTHER,) * len(wanted)
        return super().labels(*wanted)


class _Counter(_Bounded, Counter):
    """A counter of bounded label sets."""


class _Gauge(_Bounded, Gauge):
    """A gauge of bounded label sets."""


class _Histogram(_Bounded, Histogram):
    """A histogram of bounded label sets."""
