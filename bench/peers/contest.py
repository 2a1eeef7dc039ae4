"""All contenders in turn, run after run, each over its part of the same input."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bench.context import Bench, BenchError, say
from bench.kafka import Broker
from bench.peers.contenders import Contender
from bench.peers.environments import command_of
from bench.peers.job import Expected, Job
from bench.peers.market import Scale
from bench.peers.start import started
from bench.peers.writing import write_log
from bench.usage import cpu_seconds
from market.native import Child, NativeError
from marketdata.topics import Topics, TopicSpec

LONGEST_RUN_S: Final = 600.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Input:
    """A job's source in a namespace of its own, and what must come of it."""

    bench: Bench
    job: Job
    expected: Expected


@dataclass(slots=True)
class Runs:
    """One contender's runs: trades a second and CPU time in µs a trade, or why there are none."""

    contender: Contender
    trades: int
    outputs: int
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    failed: str | None = None


def contest(where: Bench, job: Job, scale: Scale, contenders: list[Contender], trades: int) -> list[Runs]:
    """Measure ``where.choices.runs`` times; a contender that fails is not asked again."""
    for contender in contenders:
        if not contender.is_ours:
            command_of(contender.name, job.program)
    broker = Broker(where.servers.bootstrap, scale.partitions)
    parts = sorted({contender.part for contender in contenders})
    inputs = {part: _write(where, job, broker, scale, max(1, int(trades * part))) for part in parts}
    found = [Runs(c, inputs[c.part].expected.trades, inputs[c.part].expected.outputs) for c in contenders]
    try:
        for number in range(1, where.choices.runs + 1):
            for runs in found:
                if runs.failed is None:
                    _measure(runs, inputs[runs.contender.part])
                    latest = runs.failed or f"{runs.rates[-1]:,.0f} trades/s"
                    say(f"{scale.symbols:,} symbols, run {number}, {runs.contender.name}: {latest}")
    finally:
        _delete(where.servers.bootstrap, lambda name: name.startswith(where.namespace))
    return found


def _write(where: Bench, job: Job, broker: Broker, scale: Scale, trades: int) -> Input:
    """Write the first ``trades`` trades of the market to a new topic."""
    bench = replace(where, broker=broker, namespace=f"{where.namespace}{scale.symbols}-{trades}.")
    say(f"writing {trades:,} trades of {scale.symbols:,} symbols")
    broker.recreate(_specs(bench, [job.source]))
    tally = job.tally(scale)
    write_log(bench.servers.bootstrap, f"{bench.namespace}{job.source}", job.play(scale, trades), tally.add)
    return Input(bench, job, tally.expected())


def _measure(runs: Runs, given: Input) -> None:
    trades = given.expected.trades
    try:
        seconds, cpu = _run(runs.contender, given)
        runs.rates.append(trades / seconds)
        runs.costs.append(1e6 * cpu / trades)
    except (BenchError, NativeError, KafkaException) as error:
        runs.failed = str(error)


def _run(contender: Contender, given: Input) -> tuple[float, float]:
    """Seconds from the first compared record in the output topic to the last, by the broker; of CPU meanwhile."""
    bench, job = given.bench, given.job
    group = f"{bench.namespace}{contender.name}-{uuid.uuid4().hex[:8]}"
    output = f"{bench.namespace}{job.output}" if contender.is_ours else f"{group}-out"
    bench.broker.recreate(_outputs(given, contender, output))
    try:
        with started(job, contender, bench, output, group) as child:
            cpu = _await(child, bench.broker, output, given.expected.wanted(contender), job.stall_s)
        verdict = given.expected.judge(chain.from_iterable(bench.broker.batches([output])), contender)
    finally:
        _delete(bench.servers.bootstrap, lambda name: group in name)  # they make some of their own, named after it
    if verdict.wrong:
        raise BenchError(f"its {job.compared} are not right: " + "; ".join(verdict.wrong))
    if verdict.last <= verdict.first:
        raise BenchError(f"all {job.compared} came in the same millisecond: give it more trades")
    return verdict.last - verdict.first, cpu


def _await(child: Child, broker: Broker, output: str, wanted: int, stall_s: float) -> float:
    """Wait until ``output`` holds so many records; the CPU seconds of all threads since it held the first."""
    started = moved = time.monotonic()
    latest, before = 0, None
    while (there := broker.records(output)) < wanted:
        now = time.monotonic()
        if there and before is None:
            before = cpu_seconds(child.pid)
        if there > latest:
            latest, moved = there, now
        if not child.running:
            raise child.died()
        if now > started + LONGEST_RUN_S or (there and now > moved + stall_s):
            raise BenchError(f"{there:,} of {wanted:,} records were there after {now - started:.0f} s, the newest "
                             f"for {now - moved:.0f} s; the log ends:\n{child.output()[-1_500:]}")  # fmt: skip
        time.sleep(POLL_S)
    return cpu_seconds(child.pid) - (before or 0.0)


def _outputs(given: Input, contender: Contender, output: str) -> list[TopicSpec]:
    """A peer's one topic; all that our service writes."""
    bench, job = given.bench, given.job
    if contender.is_ours:
        return _specs(bench, job.topics(contender))
    return [replace(spec, name=output) for spec in _specs(bench, [job.source])]


def _specs(bench: Bench, names: list[str]) -> list[TopicSpec]:
    """The product's topics of these names."""
    wanted = {f"{bench.namespace}{name}" for name in names}
    specs = Topics(bench.namespace).specs(bench.broker.partitions)
    return [spec for spec in specs if spec.name in wanted]


def _delete(bootstrap: str, doomed: Callable[[str], bool]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    names = [name for name in admin.list_topics(timeout=15).topics if doomed(name)]
    for future in admin.delete_topics(names).values() if names else ():
        future.result()
