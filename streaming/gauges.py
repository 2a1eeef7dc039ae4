"""Where the stages of a process stand, for Prometheus: lag, watermark, state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from streaming import metrics
from streaming.places import Place
from streaming.processor import Partition


class StageGauges:
    """Follows the partitions that ``partitions`` gives; called from the threads of the watchdog and of /metrics."""

    def __init__(self, partitions: Callable[[], Mapping[Place, Partition]], stages: Iterable[str]) -> None:
        self._partitions = partitions
        self._stages = tuple(stages)
        self._shown: dict[Place, tuple[str, int]] = {}
        for name in self._stages:
            metrics.CLOCK_AGE.labels(name).set_function(partial(self._clock_age, name))

    def show(self, partitions: Mapping[Place, Partition], lag: Mapping[Place, int]) -> None:
        """Set what is measured every few seconds. A partition that has moved elsewhere is shown no longer."""
        shown = {place: (partitions[place].stage.name, place[1]) for place in lag}
        for place, labels in shown.items():
            metrics.LAG.labels(*labels).set(lag[place])
        for place in set(self._shown) - set(shown):
            metrics.LAG.remove(*map(str, self._shown[place]))
        self._shown = shown
        for name in self._stages:
            own = {place: p for place, p in partitions.items() if p.stage.name == name}
            metrics.PARTITIONS.labels(name).set(len(own))
            metrics.EMITTED.labels(name).set(sum(p.emitter.emitted for p in own.values()))
            metrics.SUPPRESSED.labels(name).set(sum(p.emitter.suppressed for p in own.values()))
            metrics.STATE_RECORDS.labels(name).set(sum(p.state_records for p in own.values()))
            metrics.STATE_SYMBOLS.labels(name).set(sum(len(p.snapshots.versions) for p in own.values()))
            behind = [p.read_ms for place, p in own.items() if lag.get(place) and p.read_ms]
            metrics.LAG_SECONDS.labels(name).set(max(time.time() - min(behind) / 1e3, 0.0) if behind else 0.0)

    def _clock_age(self, name: str) -> float:
        """Not a number where no clock was read yet, or no partition is ours."""
        clocks = [p.processor.clock for p in list(self._partitions().values()) if p.stage.name == name]
        if not clocks or not min(clocks):
            return math.nan
        return time.time() - min(clocks) / 1e6
