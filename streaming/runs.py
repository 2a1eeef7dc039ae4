"""Faust at the speed of batches: one *run* of records (all that a fetch returned for one partition) is one event.

Faust pays for each event two asyncio tasks, sensors and an acknowledgement; a run pays them once. The consumer below
is the aiokafka driver's, with the bookkeeping of offsets replaced: where to read is decided by our own recovered
position, and the offsets that Faust commits only serve displays of lag.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust.transport.drivers.aiokafka as driver
from faust.types import TP, ConsumerMessage

MAX_UNFINISHED_RECORDS = 50_000
"""Memory's bound: fetching waits while more records than this are fetched but not finished."""


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition in order, as one fetch gave them; ``generation`` tells what a seek has outdated."""

    topic: str
    partition: int
    generation: int
    records: list[Any]

    @property
    def last_offset(self) -> int:
        """The offset of the run's last record: what Faust acknowledges."""
        return int(self.records[-1].offset)


Recover = Callable[[set[tuple[str, int]]], Awaitable[dict[tuple[str, int], int]]]
"""Given the assigned partitions of the input topics, restores each and says at which offset to read on."""


class RunThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that reads. Each run carries the generation of the last seek made before it was read.

    Reading and seeking both happen here, each in one step, so a run is from before a seek or from after it, never
    in doubt: a fetch that was under way during a rebalance can bring either.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.logger = driver.logger  # else it would be named after this module, whose lines are shown
        self.generation = 0
        super().__init__(*args, **kwargs)

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> dict[TP, list[Run]]:
        records = await super()._fetch_records(*args, **kwargs)
        return {tp: [Run(tp.topic, tp.partition, self.generation, found)] for tp, found in records.items() if found}

    async def _commit(self, offsets: Any) -> bool:
        """Not while the group rebalances: a commit of the generation before makes it rebalance once more."""
        return not self.consumer.app.rebalancing and bool(await super()._commit(offsets))

    async def seek_all(self, positions: dict[TP, int], generation: int) -> None:
        """Read on at ``positions``; all that is read from here on belongs to ``generation``."""
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            consumer.seek(tp, offset)
        self.generation = generation


class RunConsumer(driver.Consumer):  # type: ignore[misc]
    """The aiokafka driver's consumer, handing out runs and seeking to recovered positions.

    ``recover`` and ``inputs`` are set by the transport, see :func:`transport_for`.
    """

    recover: Recover
    inputs: frozenset[str]

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
        last = run.records[-1]
        if run.generation == self.generation:
            self._pending_runs[tp].append(last.offset)
            self.unfinished_records += len(run.records)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            [],
            None,
            run,
            last.checksum,
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


def transport_for(recover: Recover, inputs: frozenset[str]) -> type[Any]:
    """A Faust transport class whose consumer hands out runs of ``inputs`` and starts where ``recover`` says."""
    consumer = type("Consumer", (RunConsumer,), {"recover": staticmethod(recover), "inputs": inputs})
    return type("Transport", (driver.Transport,), {"Consumer": consumer})
