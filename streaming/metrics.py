"""Metrics of the stages, each declared once with its type, unit and meaning."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1, 2, 5, 10, 30,
)  # fmt: skip

RECORDS = Counter("stage_records_total", "Records read from the input topic", ["stage"])
RUNS = Counter("stage_runs_total", "Runs (batches of one fetch and partition) processed", ["stage"])
BUSY = Counter("stage_busy_seconds_total", "Time spent in processing runs", ["stage"])
DEAD_LETTERS = Counter("dead_letters_total", "Records a service could not read", ["service"])
EMITTED = Gauge("stage_emitted_records", "Records produced since the partitions were assigned", ["stage"])
SUPPRESSED = Gauge("stage_suppressed_records", "Repeated records not produced again after a restart", ["stage"])
SNAPSHOTS = Counter("stage_snapshots_total", "Snapshots of a partition's state that were stored", ["stage"])
READ_AGAIN = Counter("stage_read_again_total", "Records read again to restore state after a restart or a rebalance")
RESTORE_SECONDS = Gauge("stage_restore_seconds", "How long the last restoring of state took")
LAG = Gauge("stage_lag_records", "Records between our position and the end of the input", ["stage", "partition"])
LAG_SECONDS = Gauge("stage_lag_seconds", "Wall clock minus the newest clock record processed", ["stage"])
RATIO_LATENCY = Histogram(
    "trade_to_ratio_seconds", "From a trade's receipt in ingest to its ratio record", buckets=LATENCY_BUCKETS_S
)
CANDLE_LATENCY = Histogram(
    "candle_latency_seconds",
    "From a candle's end to its publication, allowance included",
    ["market", "interval"],
    buckets=LATENCY_BUCKETS_S,
)
