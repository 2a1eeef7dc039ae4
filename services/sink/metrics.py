"""What the sink counts, and whether it still moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from streaming.catalogue import LATENCY_BUCKETS_S, Label, any_of, counter, gauge, histogram

TABLE: Final = Label("table", "the tables that rows go to", 24)
TOPIC: Final = Label("topic", "the topics it reads, NAMESPACE included", 128)

ROWS: Final = counter("sink_rows_total", "rows", "Rows committed", TABLE)
BATCHES: Final = counter("sink_batches_total", "transactions", "Transactions committed")
BATCH_SECONDS: Final = histogram("sink_batch_seconds", "seconds", "One transaction")
WRITES: Final = counter(
    "sink_writes_total", "batches", "How a table's rows of one batch went in", TABLE, any_of("way", ("copy", "merge"))
)
MISSES: Final = counter(
    "sink_position_misses_total", "batches", "Batches dropped because a position did not stand where it was left"
)
DROPPED: Final = counter("sink_repeated_records_total", "records", "Records dropped by the reader's rule")
WAITS: Final = counter("sink_database_waits_total", "times", "Times a batch had to wait for the database")
ROWS_IN_HAND: Final = gauge("sink_rows_in_hand", "rows", "Rows read and not yet given to the database")
LAG_RECORDS: Final = gauge("sink_lag_records", "records", "Records not yet stored", TOPIC)
LAG_SECONDS: Final = gauge("sink_lag_seconds", "seconds", "Age of the newest stored record while behind, else 0")
LATENCY: Final = histogram(
    "sink_row_latency_seconds",
    "seconds",
    "From timestamp_out to the row being visible, a sample of up to 50 rows a batch",
    buckets=(*LATENCY_BUCKETS_S, 60, 600),
)
SAMPLE: Final = 50


def observe_latencies(published: list[int], now_us: int) -> None:
    """Record the latency of an even sample of ``published`` (timestamp_out of committed rows, µs)."""
    for moment in published[:: max(1, len(published) // SAMPLE)]:
        LATENCY.observe((now_us - moment) / 1e6)


class Progress:
    """Healthy once topics, tables and positions are there: when caught up, or moved within ``stall_seconds``.

    Whoever starts services one after another waits for that: the others need the topics that the sink makes.
    """

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall = stall_seconds
        self._clock = clock
        self._moved = clock()
        self.joined = False  # whether the group has ever assigned us anything, or nothing, to do
        self.lag: int | None = None

    def moved(self) -> None:
        """A position was committed."""
        self._moved = self._clock()

    def check(self) -> tuple[bool, dict[str, Any]]:
        """For ``streaming.ops.Health``: (healthy, lag in records and seconds since the position moved)."""
        still = self._clock() - self._moved
        healthy = self.joined and (self.lag == 0 or still < self._stall)
        return healthy, {"assigned": self.joined, "lag_records": self.lag, "seconds_since_moved": round(still, 1)}
