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
from bench.peers.contenders import Contender, started
from bench.peers.environments import command_of
from bench.peers.market import Bars, Scale, Tally, records
from bench.peers.outputs import collect, differences
from bench.service import cpu_seconds
from market.native import Child, NativeError
from marketdata.records import Ratio, encode
from marketdata.topics import Topics, TopicSpec
from streaming.producer import exact_producer, produce

LONGEST_RUN_S: Final = 600.0
POLL_S: Final = 0.1
LINGER_MS: Final = 50
"""So that the log holds batches of many records, as that of a busy topic does."""
_INTERVAL: Final = "15s"


@dataclass(frozen=True, slots=True)
class Input:
    """A topic `ratios` in a namespace of its own, and what must come of it."""

    bench: Bench
    trades: int
    expected: Bars


@dataclass(slots=True)
class Runs:
    """One contender's runs: trades a second and CPU time in µs a trade, or why there are none."""

    contender: Contender
    trades: int
    candles: int
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    failed: str | None = None


def contest(where: Bench, scale: Scale, contenders: list[Contender], trades: int) -> list[Runs]:
    """Measure ``where.choices.runs`` times; a contender that fails is not asked again."""
    for contender in contenders:
        if contender.settings is None:
            command_of(contender.name)
    broker = Broker(where.servers.bootstrap, scale.partitions)
    parts = sorted({contender.part for contender in contenders})
    inputs = {part: _write(where, broker, scale, max(1, int(trades * part))) for part in parts}
    found = [Runs(c, inputs[c.part].trades, len(inputs[c.part].expected)) for c in contenders]
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


def _write(where: Bench, broker: Broker, scale: Scale, trades: int) -> Input:
    """Write the first ``trades`` trades of the market to a new topic."""
    bench = replace(where, broker=broker, namespace=f"{where.namespace}{scale.symbols}-{trades}.")
    say(f"writing {trades:,} trades of {scale.symbols:,} symbols")
    broker.recreate(_specs(bench, ["ratios"], ()))
    producer = exact_producer(bench.servers.bootstrap, name="bench", linger_ms=LINGER_MS)
    topic, tally = bench.topics.ratios, Tally()
    for n, (partition, record) in enumerate(records(scale, trades)):
        if type(record) is Ratio:
            tally.add(record)
            produce(producer, topic, encode(record), record.symbol.encode(), partition, [("kind", b"ratio")])
        else:
            produce(producer, topic, encode(record), None, partition, [("kind", b"clock")])
        if n & 0x3FF == 0:
            producer.poll(0)
    if producer.flush(60):
        raise BenchError("the input could not be written within 60 s")
    return Input(bench, tally.trades, tally.bars())


def _measure(runs: Runs, given: Input) -> None:
    try:
        seconds, cpu = _run(runs.contender, given)
        runs.rates.append(given.trades / seconds)
        runs.costs.append(1e6 * cpu / given.trades)
    except (BenchError, NativeError, KafkaException) as error:
        runs.failed = str(error)


def _run(contender: Contender, given: Input) -> tuple[float, float]:
    """Seconds from the first candle in the output topic to the last, by the broker's times; and of CPU meanwhile."""
    bench, group = given.bench, f"{given.bench.namespace}{contender.name}-{uuid.uuid4().hex[:8]}"
    output = f"{group}-out" if contender.settings is None else bench.topics.candles("stocks", _INTERVAL)
    bench.broker.recreate(_outputs(bench, contender, output))
    try:
        with started(contender, bench, bench.topics.ratios, output, group) as child:
            cpu = _await(child, bench.broker, output, len(given.expected) * contender.records_per_candle)
        messages = chain.from_iterable(bench.broker.batches([output]))
        written = collect(messages, contender.read, given.expected)
    finally:
        _delete(bench.servers.bootstrap, lambda name: group in name)  # they make some of their own, named after it
    if wrong := differences(written, given.expected):
        raise BenchError("its candles are not right: " + "; ".join(wrong))
    if written.last <= written.first:
        raise BenchError("all candles came in the same millisecond: give it more trades")
    return written.last - written.first, cpu


def _await(child: Child, broker: Broker, output: str, wanted: int) -> float:
    """Wait until ``output`` holds so many records; the CPU seconds of all threads since it held the first."""
    deadline, before = time.monotonic() + LONGEST_RUN_S, None
    while (there := broker.records(output)) < wanted:
        if there and before is None:
            before = cpu_seconds(child)
        if not child.running:
            raise child.died()
        if time.monotonic() > deadline:
            raise BenchError(f"{there:,} of {wanted:,} candles were there after {LONGEST_RUN_S:g} s; "
                             f"the log ends:\n{child.output()[-1_500:]}")  # fmt: skip
        time.sleep(POLL_S)
    return cpu_seconds(child) - (before or 0.0)


def _outputs(bench: Bench, contender: Contender, output: str) -> list[TopicSpec]:
    """A peer's one topic; what our aggregator writes for stocks, and the topics of its own."""
    topics = bench.topics
    if contender.settings is None:
        return [replace(spec, name=output) for spec in _specs(bench, ["ratios"], ())]
    candles = [topics.candles("stocks", name) for name in contender.intervals]
    own = [topics.progress("stocks"), topics.late("stocks"), topics.live("stocks"), topics.state("stocks"),
           topics.dead_letters("aggregator")]  # fmt: skip
    names = [name.removeprefix(bench.namespace) for name in (*candles, *own)]
    return _specs(bench, names, contender.intervals)


def _specs(bench: Bench, names: list[str], intervals: tuple[str, ...]) -> list[TopicSpec]:
    """The product's topics of these names."""
    wanted = {f"{bench.namespace}{name}" for name in names}
    specs = Topics(bench.namespace).specs(bench.broker.partitions, intervals)
    return [spec for spec in specs if spec.name in wanted]


def _delete(bootstrap: str, doomed: Callable[[str], bool]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    names = [name for name in admin.list_topics(timeout=15).topics if doomed(name)]
    for future in admin.delete_topics(names).values() if names else ():
        future.result()
