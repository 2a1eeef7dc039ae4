"""Passes over one topic by each reader in turn, in this process.

The clock of a pass begins when its first batch is decoded, which is not counted: connecting and the first fetch are
left out.
"""

from __future__ import annotations

import gc
import time
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

from bench.context import Bench, BenchError, say
from bench.decoding.readers import READERS, Batches, Log, Reader
from bench.kafka import Broker
from bench.peers.job import Record
from bench.peers.market import SCALES
from bench.peers.trades import trade_log
from bench.peers.writing import write_log
from marketdata.records import UNREADABLE

SCALE: Final = SCALES[200]
STALL_S: Final = 30.0


@dataclass(slots=True)
class Passes:
    """One reader's passes: records a second and CPU time in µs a record, or why there are none."""

    reader: Reader
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    failed: str | None = None

    def add(self, log: Log) -> None:
        """One more, unless one has failed."""
        if self.failed is not None:
            return
        gc.collect()
        try:
            with closing(self.reader.batches(log)) as batches:
                records, seconds, cpu = timed(batches, log)
        except (BenchError, *UNREADABLE, LookupError) as error:
            self.failed = str(error)
            return
        self.rates.append(records / seconds)
        self.costs.append(1e6 * cpu / records)


def timed(batches: Batches, log: Log) -> tuple[int, float, float]:
    """(records after the first batch, seconds, CPU seconds of all threads of this process meanwhile).

    Raises:
        BenchError: nothing came for half a minute, or not just the log's records did.
    """
    first = count = total = 0
    started = spent = 0.0
    moved = time.monotonic()
    for some, their_total in batches:
        count += some
        total += their_total
        if count >= log.records:
            break
        if some:
            moved = time.monotonic()
            if not first:
                first, started, spent = count, time.perf_counter(), time.process_time()
        elif time.monotonic() - moved > STALL_S:
            break
    seconds, cpu = time.perf_counter() - started, time.process_time() - spent
    if (count, total) != (log.records, log.sum_ts):
        raise BenchError(f"{count:,} records with event times of {total:,} µs together were read where "
                         f"{log.records:,} with {log.sum_ts:,} stand in the topic")  # fmt: skip
    if not first or first == count:
        raise BenchError("all records came in one batch: give it more trades")
    return count - first, seconds, cpu


def measure_decode(where: Bench, names: tuple[str, ...]) -> tuple[list[Passes], dict[str, Any]]:
    """The passes of the readers of these names, and what the report says beside them."""
    log = _write(where)
    for reader in READERS:  # the broker's Java compiles its paths in the first traffic, at nobody's cost
        Passes(reader).add(log)
    found = [Passes(reader) for reader in READERS if reader.name in names]
    for number in range(1, where.choices.runs + 1):
        for passes in found:
            passes.add(log)
            say(f"run {number}, {passes.reader.name}: {passes.failed or f'{passes.rates[-1]:,.0f} records/s'}")
    options = {"trades": where.choices.trades, "runs": where.choices.runs, "records": log.records,
               "symbols": SCALE.symbols, "partitions": SCALE.partitions}  # fmt: skip
    return found, {"options": options, "packages": {name: version(name) for name in ("aiokafka", "msgspec")}}


def _write(where: Bench) -> Log:
    """A new topic of the market's first trades."""
    broker, topic = Broker(where.servers.bootstrap, SCALE.partitions), where.topics.trades("stocks")
    say(f"writing {where.choices.trades:,} trades of {SCALE.symbols:,} symbols")
    broker.recreate([spec for spec in where.topics.specs(SCALE.partitions) if spec.name == topic])
    records = sum_ts = 0

    def note(_partition: int, record: Record) -> None:
        nonlocal records, sum_ts
        records += 1
        sum_ts += record.ts

    write_log(where.servers.bootstrap, topic, trade_log(SCALE, where.choices.trades), note)
    return Log(broker, topic, records, sum_ts)
