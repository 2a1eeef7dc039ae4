"""Events a second of ratio and aggregator over the same input, with more and more workers and partitions.

The workers have joined and wait before the input is written, whole and as fast as Kafka takes it; the clock runs from
its last record's delivery, so that neither joining nor writing is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.context import Bench, BenchError, say
from bench.floors import Put, load_log, put
from bench.kafka import Broker
from bench.progress import Processed
from bench.service import Service, running, sample
from bench.stages import file_settings
from bench.stats import steady
from bench.usage import cpu_seconds
from market.export import canonical_export
from marketdata.topics import MARKETS

STAGES: Final = ("ratio", "aggregator")
JOIN_S: Final = 60.0
SETTLED: Final = 20
"""Times in a row, a quarter of a second apart, that every partition must be seen with one worker."""


@dataclass(slots=True)
class Series:
    """One stage with so many workers over so many partitions: its runs, or why there are none."""

    stage: str
    partitions: int
    workers: int
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    busiest: list[float] = field(default_factory=list)
    """Of all records, the share that the worker with the most of them had."""
    records: dict[str, int] = field(default_factory=dict)
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """What a stage reads, and how many trades are in it."""

    records: list[Put]
    trades: int

    @property
    def share(self) -> float:
        """Of trades among all records."""
        return self.trades / len(self.records)


def measure_workers(
    where: Bench, files: list[Path], partitions: tuple[int, ...], workers: tuple[int, ...]
) -> list[Series]:
    """Every combination, ``where.choices.runs`` times in turn."""
    found = []
    for number in partitions:
        broker = Broker(where.servers.bootstrap, number)
        bench = replace(where, broker=broker, namespace=f"{where.namespace}{number}.")
        found += _over(bench, files, workers)
    return found


def _over(bench: Bench, files: list[Path], workers: tuple[int, ...]) -> list[Series]:
    topics, partitions = bench.topics, bench.broker.partitions
    say(f"{partitions} partitions: writing the input")
    bench.broker.recreate(bench.specs())
    with running(bench, "ingest", **file_settings(files)) as ingest:
        ingest.child.wait_until(ingest.finished, 600)
    inputs = {"ratio": _input(bench, topics.trades("stocks"))}
    crypto = _input(bench, topics.trades("crypto"))
    found = []
    for stage in STAGES:
        if stage == "aggregator":  # reads what ratio has written last
            ratios = _input(bench, topics.ratios, "ratio")
            inputs[stage] = Input(ratios.records + crypto.records, ratios.trades + crypto.trades)
        series = [Series(stage, partitions, number) for number in workers]
        digest = ""
        for run in range(bench.choices.runs):
            for one in series:
                digest = _measure(bench, one, inputs[stage], digest)
                told = one.failed or f"{one.rates[-1]:,.0f} trades/s"
                say(f"{partitions} partitions, run {run + 1}, {stage} with {one.workers}: {told}")
        found += series
    return found


def _input(bench: Bench, topic: str, kind: str = "trade") -> Input:
    records = [Put(topic, m.value(), m.key(), m.partition(), m.headers()) for m in load_log(bench, [topic])]
    return Input(records, bench.broker.census(topic)[kind])


def _measure(bench: Bench, series: Series, given: Input, digest: str) -> str:
    """One run; the hash that its output must have, which the first run decides."""
    if series.failed:
        return digest
    bench.broker.recreate(bench.specs())
    with ExitStack() as stack:
        services = [stack.enter_context(running(bench, series.stage, n)) for n in range(1, series.workers + 1)]
        _wait_joined(bench, series, services)
        processed = stack.enter_context(Processed(bench))
        count, complete = _progress(bench, series.stage, processed)
        put(bench, given.records)
        before, cpu = count(), _cpu(services)
        samples = sample(services[0], count, complete)
        done, spent = samples[-1][1] - before, _cpu(services) - cpu
        shares = [service.metric("stage_records_total") for service in services]
    series.rates.append(steady(samples).rate * given.share)
    series.costs.append(1e6 * spent / (done * given.share))
    series.busiest.append(max(shares) / sum(shares))
    return _checked(bench, series, given, digest)


def _progress(bench: Bench, stage: str, processed: Processed) -> tuple[Callable[[], float], Callable[[], bool]]:
    """How many records are done, and whether all of them are."""
    topics, broker = bench.topics, bench.broker
    if stage == "ratio":
        return lambda: broker.records(topics.ratios), lambda: broker.followed(topics.trades("stocks"), topics.ratios)
    sources = {"stocks": topics.ratios, "crypto": topics.trades("crypto")}
    return processed.records, lambda: all(
        broker.followed(source, topics.progress(market)) for market, source in sources.items()
    )


def _wait_joined(bench: Bench, series: Series, services: list[Service]) -> None:
    """Until each partition is with one worker and each worker has one, and that has stayed so for a while."""
    wanted = bench.broker.partitions * (1 if series.stage == "ratio" else len(MARKETS))
    deadline, calm = time.monotonic() + JOIN_S, 0
    while calm < SETTLED:
        own = [service.metric("stage_partitions") for service in services]
        for service in services:
            if service.finished():
                raise BenchError(f"{service.child.name} ended by itself:\n{service.child.output()[-1_500:]}")
        calm = calm + 1 if sum(own) == wanted and min(own) > 0 else 0
        if time.monotonic() > deadline:
            raise BenchError(f"{series.stage}: {wanted} partitions were not shared out within {JOIN_S:.0f} s: {own}")
        time.sleep(0.25)


def _checked(bench: Bench, series: Series, given: Input, digest: str) -> str:
    export = canonical_export(bench.servers.bootstrap, bench.topics)
    if series.stage == "ratio" and export.records["ratios"] != given.trades:
        series.failed = f"{export.records['ratios']:,} ratios of {given.trades:,} trades"
    elif digest not in {"", export.sha256}:
        series.failed = "its output is not that of the first run over the same input"
    elif not digest and export.repeats_dropped:
        series.failed = f"{export.repeats_dropped:,} records stand twice in its output"
    series.records = export.records
    return digest or export.sha256


def _cpu(services: list[Service]) -> float:
    return sum(cpu_seconds(service.child.pid) for service in services)


def unlike(found: list[Series]) -> list[str]:
    """Stages whose output depends on the number of partitions, by the counts of their records."""
    reasons: list[str] = []
    for stage in STAGES:
        counts = [one.records for one in found if one.stage == stage and not one.failed]
        if any(other != counts[0] for other in counts[1:]):
            reasons.append(f"{stage}: other numbers of records with other partitions")
    return reasons


def summary(one: Series) -> dict[str, Any]:
    """For the report."""
    found: dict[str, Any] = {"stage": one.stage, "partitions": one.partitions, "workers": one.workers,
                             "failed": one.failed}  # fmt: skip
    if one.failed:
        return found
    return found | {
        "trades_per_s": round(median(one.rates)), "runs": [round(rate) for rate in one.rates],
        "cpu_us_per_trade": round(median(one.costs), 2), "busiest_share": round(median(one.busiest), 3),
    }  # fmt: skip
