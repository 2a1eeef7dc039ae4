"""What a service gives to be run as a stage, and what is kept of each of its partitions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from streaming.emitter import Emitter
from streaming.snapshots import Capture, Snapshot, SnapshotWriter

BEGINNING: Final = 0


class UnreadableError(ValueError):
    """A record that the processor cannot read; it goes to the service's dead letters and the stream goes on."""


class Processor(Protocol):
    """The state of one source partition. It takes every record once, in order, and emits through its emitter."""

    @property
    def clock(self) -> int:
        """The watermark: the newest clock record in µs, 0 before the first. Read from other threads."""

    def process(self, offset: int, value: bytes, now: int) -> bool:
        """Take one record (``now``: wall clock in µs, for latencies only); True after a clock: all is settled then.

        Where some of a clock's work is ``postponed``, ``finish`` must be called before anything else is.

        Raises:
            UnreadableError: the record cannot be read; the state is as before.
        """

    @property
    def postponed(self) -> bool:
        """Whether the last clock left work that is less urgent than what other partitions have to do."""

    def finish(self, now: int) -> None:
        """Do what was postponed; ``now`` as in ``process``."""

    def capture(self) -> Capture:
        """What a snapshot here must hold, but for what the last one holds already."""

    def restore(self, snapshot: Snapshot) -> None:
        """Begin where ``snapshot`` says; records up to its position are then processed again, muted."""

    def restored(self) -> None:
        """The snapshot's position is reached."""

    def after_run(self, now: int) -> None:
        """Report latencies as of ``now`` µs, once a run: an observation for each record would cost too much.

        Of a stage with ``paced`` topics it is called every few ms between runs too, to send what is due there.
        """


MakeProcessor = Callable[[int, Emitter], Processor]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a service gives: its name, its input topic, the topics it writes, and how to make a partition's state.

    ``name`` also names the topic of its snapshots. ``paced`` are topics that it writes outside of all promises.
    """

    name: str
    input: str
    outputs: tuple[str, ...]
    make: MakeProcessor
    paced: tuple[str, ...] = ()


@dataclass(slots=True)
class Partition:
    """One partition under way: ``position`` is the offset of the next record to process.

    For the metrics: ``read_ms`` is Kafka's time of the last record processed, ``state_records`` how many records the
    last snapshot has a restart read again.
    """

    stage: Stage
    number: int
    emitter: Emitter
    processor: Processor
    snapshots: SnapshotWriter
    position: int = BEGINNING
    read_ms: int = 0
    state_records: int = 0
    captured_at: float = field(default_factory=time.monotonic)
    under_way: deque[Way] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Way:
    """One run under way, and the snapshot to store once it and all before it are delivered."""

    delivered: bool = False
    position: int = BEGINNING
    capture: Capture | None = None
