"""Faust at the speed of batches: one *run* of records (all that a read returned for one partition) is one event.

Faust pays for each event two asyncio tasks, sensors and an acknowledgement; a run pays them once. The consumer below
is the aiokafka driver's for all that concerns the group; records come from librdkafka, at a fraction of the cost.
Where to read is decided by our own recovered position; the offsets that Faust commits only serve displays.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import faust.transport.drivers.aiokafka as driver
from confluent_kafka import KafkaException
from faust.types import TP, ConsumerMessage

from streaming.fatal import die
from streaming.logreader import LogReader, Place, Run

T = TypeVar("T")
MAX_UNFINISHED_RECORDS = 50_000
"""Memory's bound: reading waits while more records than this are read but not finished."""
READ_S: Final = 0.05
"""How long a read waits for records at most: a seek waits for it."""
IDLE_S: Final = 0.01


Recover = Callable[[set[Place]], Awaitable[dict[Place, int]]]
"""Given the assigned partitions of the input topics, restores each and says at which offset to read on."""


class RunThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread in which aiokafka keeps the group; records come from a :class:`LogReader` beside it.

    Each run carries the generation of the last seek made before it was read. Reading and seeking both happen in one
    thread of their own, so a run is from before a seek or from after it, never in doubt.
    """

    def __init__(self, consumer: RunConsumer, **kwargs: Any) -> None:
        self.logger = driver.logger  # else it would be named after this module, whose lines are shown
        self._reader = consumer.make_reader()
        self._reading = ThreadPoolExecutor(1, "log-reader")
        super().__init__(consumer, **kwargs)

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float = READ_S, max_records: int = 1_000,  # noqa: ASYNC109
    ) -> dict[TP, list[Run]]:  # fmt: skip
        if not (self.consumer.flow_active and self._reader.places and self._reader.places <= active_partitions):
            await asyncio.sleep(IDLE_S)
            return {}
        with consumer._fetcher._subscriptions.fetch_context():  # aiokafka leaves a group in which nobody reads
            try:
                runs = await self._in_reading(self._reader.read, max_records, min(timeout, READ_S))
            except KafkaException as error:  # Faust would stop in its own way, and not say of what
                die("the log cannot be read", error=str(error))
        return {TP(*place): [run] for place, run in runs.items()}

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
        self._seeking = asyncio.Lock()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> RunThread:
        return RunThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Run]]:  # noqa: ASYNC109
        while self.unfinished_records > MAX_UNFINISHED_RECORDS and self.flow_active:  # noqa: ASYNC110 - runs finish often
            await asyncio.sleep(0.002)
        runs: dict[TP, list[Run]] = await super()._getmany(active_partitions, timeout)
        return {tp: found for tp, found in runs.items() if found[0].generation == self.generation}

    def _to_message(self, tp: TP, run: Run) -> ConsumerMessage:
        offset = run.last_offset
        if run.generation == self.generation:
            self._pending_runs[tp].append(offset)
            self.unfinished_records += len(run.records)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            run.last_ms / 1000.0,
            1,
            [],
            None,
            run,
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets between runs are no gaps: Faust would merge an interval tree for each run."""

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: past the last acknowledged run that has no unacknowledged one before it."""
        acked, index, pending = self._acked[tp], self._acked_index[tp], self._pending_runs[tp]
        committable = None
        while pending and pending[0] in index:
            offset = pending.popleft()
            index.discard(offset)
            acked.remove(offset)
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
            assigned = {(tp.topic, tp.partition) for tp in self.assignment() if tp.topic in self.inputs}
            recovered = await self.recover(assigned)
            positions = {TP(topic, partition): offset for (topic, partition), offset in recovered.items()}
            for tp, offset in positions.items():
                self._acked[tp].clear()
                self._acked_index[tp].clear()
                self._read_offset[tp] = None  # Faust drops what is below it: whatever we read is to be seen
                self._committed_offset[tp] = offset or None
            await self._thread.call_thread(self._thread.seek_all, positions, self.generation)


def transport_for(recover: Recover, inputs: frozenset[str], make_reader: Callable[[], LogReader]) -> type[Any]:
    """A Faust transport class whose consumer hands out runs of ``inputs`` and starts where ``recover`` says."""
    given = {"recover": staticmethod(recover), "inputs": inputs, "make_reader": staticmethod(make_reader)}
    return type("Transport", (driver.Transport,), {"Consumer": type("Consumer", (RunConsumer,), given)})
