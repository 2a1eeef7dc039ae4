"""What the sink counts, and whether it still moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

ROWS: Final = Counter("sink_rows", "Rows committed", ["table"])
BATCHES: Final = Counter("sink_batches", "Transactions committed")
WRITES: Final = Counter("sink_writes", "How a table's rows of one batch went in", ["table", "way"])
BATCH_SECONDS: Final = Histogram(
    "sink_batch_seconds", "One transaction", buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
)
MISSES: Final = Counter("sink_position_misses", "Batches dropped because a position did not stand where it was left")
DROPPED: Final = Counter("sink_repeated_records", "Records dropped by the reader's rule")
DEAD: Final = Counter("sink_dead_letters", "Records sent to the dead letter topic")
WAITS: Final = Counter("sink_database_waits", "Times a batch had to wait for the database")
LAG_RECORDS: Final = Gauge("sink_lag_records", "Records not yet stored", ["topic"])
LAG_SECONDS: Final = Gauge("sink_lag_seconds", "Age of the newest stored record while behind, else 0")
LATENCY: Final = Histogram(
    "sink_row_latency_seconds",
    "From timestamp_out to the row being visible (a sample of up to 50 rows a batch)",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 60, 600),
)
SAMPLE: Final = 50


def observe_latencies(published: list[int], now_us: int) -> None:
    """Record the latency of an even sample of ``published`` (timestamp_out of committed rows, µs)."""
    for moment in published[:: max(1, len(published) // SAMPLE)]:
        LATENCY.observe((now_us - moment) / 1e6)


class Progress:
    """Healthy when caught up, or when a position has moved within ``stall_seconds``."""

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall = stall_seconds
        self._clock = clock
        self._moved = clock()
        self.lag: int | None = None

    def moved(self) -> None:
        """A position was committed."""
        self._moved = self._clock()

    def check(self) -> tuple[bool, dict[str, Any]]:
        """For ``streaming.ops.Health``: (healthy, lag in records and seconds since the position moved)."""
        still = self._clock() - self._moved
        healthy = self.lag == 0 or still < self._stall
        return healthy, {"lag_records": self.lag, "seconds_since_moved": round(still, 1)}
