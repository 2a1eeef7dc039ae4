"""Metrics that several services share, and those of stages."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from prometheus_client import Counter, Histogram

from streaming.catalogue import Label, any_of, counter, gauge, histogram

STAGE: Final = Label("stage", "ratio, stocks, crypto", 8)
"""A stage by its name: the aggregator's are named after their markets."""
PARTITION: Final = Label("partition", "0 to PARTITIONS - 1, those assigned here", 4096)

HEALTH: Final = gauge(
    "service_health", "1 or 0", "What /health says of each part of the service", Label("check", "its parts", 16)
)
DEAD_LETTERS: Final = counter("dead_letters_total", "records", "Records that could not be read and were put aside")
REBALANCES: Final = counter("rebalances_total", "times", "Times the consumer group assigned partitions anew")

RECORDS: Final = counter("stage_records_total", "records", "Records read from the input topic", STAGE)
RUNS: Final = counter("stage_runs_total", "runs", "Runs (batches of one fetch and partition) processed", STAGE)
BUSY: Final = counter("stage_busy_seconds_total", "seconds", "Time spent in processing runs", STAGE)
READ_DELAY: Final = histogram(
    "stage_read_delay_seconds",
    "seconds",
    "From Kafka's time of a run's last record to the start of its processing, once a run",
    STAGE,
)
RUN_SECONDS: Final = histogram(
    "stage_run_seconds", "seconds", "From the start of a run's processing to the delivery of its outputs", STAGE
)
PARTITIONS: Final = gauge("stage_partitions", "partitions", "Partitions assigned here", STAGE)
UNFINISHED: Final = gauge("stage_unfinished_records", "records", "Records fetched and not finished (at most 50,000)")
EMITTED: Final = gauge(
    "stage_emitted_records", "records", "Records produced since the partitions were assigned", STAGE
)
SUPPRESSED: Final = gauge(
    "stage_suppressed_records", "records", "Repeated records not produced again after a restart", STAGE
)
LAG: Final = gauge(
    "stage_lag_records", "records", "Records between our position and the end of the input", STAGE, PARTITION
)
LAG_SECONDS: Final = gauge(
    "stage_lag_seconds", "seconds", "Age by Kafka's time of the last record processed while behind, else 0", STAGE
)
CLOCK_AGE: Final = gauge(
    "stage_clock_age_seconds",
    "seconds",
    "Wall clock minus the watermark (the newest clock record) of the partition that is furthest back",
    STAGE,
)
SNAPSHOTS: Final = counter("stage_snapshots_total", "snapshots", "Snapshots of a partition's state stored", STAGE)
STATE_RECORDS: Final = gauge(
    "stage_state_records", "records", "Size of the state: records of the input that a restart reads again", STAGE
)
STATE_SYMBOLS: Final = gauge("stage_state_symbols", "symbols", "Symbols whose state is in the snapshots", STAGE)
READ_AGAIN: Final = counter(
    "stage_read_again_total", "records", "Records read again to restore state after a restart or a rebalance"
)
RESTORE_SECONDS: Final = gauge("stage_restore_seconds", "seconds", "How long the last restoring of state took")

MARKET: Final = any_of("market", ("stocks", "crypto"))


class OfStage(NamedTuple):
    """What is counted at every run of one stage."""

    records: Counter
    runs: Counter
    busy: Counter
    snapshots: Counter
    read_delay: Histogram
    run_seconds: Histogram


@cache
def of_stage(name: str) -> OfStage:
    """The metrics of the stage ``name``, looked up once: a look-up costs more than counting."""
    return OfStage(
        RECORDS.labels(name),
        RUNS.labels(name),
        BUSY.labels(name),
        SNAPSHOTS.labels(name),
        READ_DELAY.labels(name),
        RUN_SECONDS.labels(name),
    )
