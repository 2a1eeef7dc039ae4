"""Faust at the speed of batches: all that one read returned of a topic, a *run* for each partition, is one event.

Faust pays for each event two asyncio tasks, sensors and an acknowledgement: some half a millisecond. The consumer
below is the aiokafka driver's for all that concerns the group; records come from librdkafka, which costs far less.
Where to read is decided by our own recovered position; the offsets that Faust commits only serve displays.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeVar

import faust.transport.drivers.aiokafka as driver
from confluent_kafka import KafkaException
from faust.types import TP, ConsumerMessage

from streaming.fatal import die
from streaming.logreader import LogReader, Run
from streaming.places import Place

T = TypeVar("T")
MAX_UNFINISHED_RECORDS = 50_000
"""Memory's bound: reading waits while more records than this are read but not finished."""
READ_S: Final = 0.05
"""How long a read waits for records at most: a seek waits for it."""
IDLE_S: Final = 0.01


Recover = Callable[[set[Place]], Awaitable[dict[Place, int]]]
"""Given the assigned partitions of the input topics, restores each and says at which offset to read on."""


class Sweep(NamedTuple):
    """What one read returned of one topic; ``generation`` as in :class:`Run`."""

    generation: int
    runs: tuple[Run, ...]


class RunThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread in which aiokafka keeps the group; records come from a :class:`LogReader` beside it.

    Each run carries the generation of the last seek made before it was read. Reading and seeking exclude each other,
    so a run is from before a seek or from after it, never in doubt.
    """

    def __init__(self, consumer: RunConsumer, **kwargs: Any) -> None:
        self.logger = driver.logger  # else it would be named after this module, whose lines are shown
        self._reader = consumer.make_reader()
        self._reading = ThreadPoolExecutor(1, "log-reader")
        super().__init__(consumer, **kwargs)

    async def read(self, active_partitions: set[TP] | None) -> dict[TP, list[Sweep]]:
        """What there is to read now; nothing while Faust holds any of our partitions back.

        For the loop that processes it: a way through aiokafka's thread would cost more than the read.
        """
        ready = active_partitions is not None and self._reader.places and self._reader.places <= active_partitions
        if not (self.consumer.flow_active and ready):
            await asyncio.sleep(IDLE_S)
            return {}
        consumer = self._ensure_consumer()
        with consumer._fetcher._subscriptions.fetch_context():  # aiokafka leaves a group in which nobody reads
            try:
                runs = await self._read(consumer._max_poll_records)
            except KafkaException as error:  # Faust would stop in its own way, and not say of what
                die("the log cannot be read", error=str(error))
        by_topic = groupby(sorted(runs.values(), key=_place), lambda run: run.topic)
        return {_tp(found[0]): [Sweep(found[0].generation, found)] for found in (tuple(some) for _, some in by_topic)}

    async def _commit(self, offsets: Any) -> bool:
        """Not while the group rebalances: a commit of the generation before makes it rebalance once more."""
        return not self.consumer.app.rebalancing and bool(await super()._commit(offsets))

    async def seek_all(self, positions: dict[TP, int], generation: int) -> None:
        """Read on at ``positions``; all that is read from here on belongs to ``generation``."""
        # What aiokafka would fetch nobody wants.
        self._ensure_consumer().pause(*driver.ensure_aiokafka_TPset(positions))
        await self._in_reading(self._reader.seek, positions, generation)

    def highwater(self, tp: TP) -> int:
        """Nothing, as aiokafka reads nothing. Only Faust's own displays ask; our gauges ask the broker."""
        return 0

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust would look for aiokafka's fetches. Our watchdog asks the broker."""

    async def on_thread_stop(self) -> None:
        """Stop aiokafka's part, then ours."""
        await super().on_thread_stop()
        await self._in_reading(self._reader.close)
        self._reading.shutdown(wait=False)

    async def _read(self, most: int) -> dict[Place, Run]:
        """Behind the log's end there is always something to read: here and now, for a hand-over is for waiting.

        Two threads at work at once would only wait for each other, as one of them runs at a time.
        """
        if self._reader.is_behind and (runs := self._reader.read(most, 0, 0)):
            await asyncio.sleep(0)  # what was read before is processed first
            return runs
        return await self._in_reading(self._reader.read, most, READ_S)

    async def _in_reading(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, *args)


class RunConsumer(driver.Consumer):  # type: ignore[misc]
    """The aiokafka driver's consumer, handing out runs and seeking to recovered positions.

    ``recover``, ``inputs`` and ``make_reader`` are set by the transport, see :func:`transport_for`.
    """

    recover: Recover
    inputs: frozenset[str]
    make_reader: Callable[[], LogReader]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.logger = driver.logger
        self.generation = 0
        self.unfinished_records = 0
        self._pending_runs: dict[TP, deque[int]] = defaultdict(deque)
        self._finished_runs: dict[TP, set[int]] = defaultdict(set)
        self._seeking = asyncio.Lock()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> RunThread:
        return RunThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Sweep]]:  # noqa: ASYNC109
        while self.unfinished_records > MAX_UNFINISHED_RECORDS and self.flow_active:  # noqa: ASYNC110 - runs finish often
            await asyncio.sleep(0.002)
        sweeps: dict[TP, list[Sweep]] = await self._thread.read(active_partitions)
        return {tp: found for tp, found in sweeps.items() if found[0].generation == self.generation}

    def _to_message(self, tp: TP, sweep: Sweep) -> ConsumerMessage:
        if sweep.generation == self.generation:
            for run in sweep.runs:
                self._pending_runs[_tp(run)].append(run.last_offset)
                self.unfinished_records += len(run.records)
        first = sweep.runs[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.last_offset,
            first.last_ms / 1000.0,
            1,
            [],
            None,
            sweep,
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def finished(self, run: Run) -> None:
        """All that ``run`` gave is delivered. Faust's own acknowledgement knows but one partition an event."""
        if run.generation == self.generation:
            self.unfinished_records -= len(run.records)
            self._finished_runs[_tp(run)].add(run.last_offset)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets between runs are no gaps: Faust would merge an interval tree for each run."""

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: past the last finished run that has no unfinished one before it."""
        finished, pending = self._finished_runs[tp], self._pending_runs[tp]
        committable = None
        while pending and pending[0] in finished:
            offset = pending.popleft()
            finished.remove(offset)
            committable = offset + 1
        return committable

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Recover also where nothing is assigned, so that what we had is dropped: Faust does not seek then."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            await self.perform_seek()

    async def perform_seek(self) -> None:
        """Recover every assigned partition and read on from where it stands; old runs are outdated at once.

        One at a time: two of Faust's tasks ask for it, and an old assignment must not be recovered over a new one.
        """
        async with self._seeking:
            self.generation += 1
            self.unfinished_records = 0
            self._pending_runs.clear()
            self._finished_runs.clear()
            assigned = {(tp.topic, tp.partition) for tp in self.assignment() if tp.topic in self.inputs}
            recovered = await self.recover(assigned)
            positions = {TP(topic, partition): offset for (topic, partition), offset in recovered.items()}
            for tp, offset in positions.items():
                self._acked[tp].clear()  # nothing is in it, but only what it names is committed
                self._read_offset[tp] = None  # Faust drops what is below it: whatever we read is to be seen
                self._committed_offset[tp] = offset or None
            await self._thread.call_thread(self._thread.seek_all, positions, self.generation)


def _place(run: Run) -> Place:
    return run.topic, run.partition


def _tp(run: Run) -> TP:
    return TP(run.topic, run.partition)


def transport_for(recover: Recover, inputs: frozenset[str], make_reader: Callable[[], LogReader]) -> type[Any]:
    """A Faust transport class whose consumer hands out runs of ``inputs`` and starts where ``recover`` says."""
    given = {"recover": staticmethod(recover), "inputs": inputs, "make_reader": staticmethod(make_reader)}
    return type("Transport", (driver.Transport,), {"Consumer": type("Consumer", (RunConsumer,), given)})
