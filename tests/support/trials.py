"""A service under trial: fed in a namespace of its own, hurt, and compared with an undisturbed run."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from streaming.tails import read_tails
from tests.support.logs import Entry, Feeder
from tests.support.topics import Ends, Read, first_difference, new_namespace, read_topic, under_rule
from tests.support.workers import Worker, eventually


@dataclass
class Case:
    """A service with its input, and what an undisturbed run has made of it.

    ``markers``: for each input topic an output that has a record for the very last input record.
    """

    service: str
    partitions: int
    entries: list[Entry]
    outputs: tuple[str, ...]
    markers: dict[str, str]
    env: dict[str, str]
    expected: dict[str, Read] = field(default_factory=dict)


class Trial:
    """One run of a case. As a context it has its topics, and leaves neither processes nor topics behind."""

    def __init__(self, kafka: str, case: Case, directory: Path) -> None:
        self.kafka = kafka
        self.case = case
        self._directory = directory
        self._numbers = itertools.count(1)
        self._closing = contextlib.ExitStack()
        self.workers: list[Worker] = []
        self._last_ends: list[list[int]] = []
        self.namespace = ""

    def __enter__(self) -> Self:
        names = (*self.case.outputs, *self.case.markers, f"{self.case.service}.dlq")
        self._ends = Ends(self.kafka)
        self._closing.callback(self._ends.close)
        self.namespace = self._closing.enter_context(new_namespace(self.kafka, self.case.partitions, *names))
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def worker(self) -> Worker:
        """Start one more process of the service."""
        log = self._directory / f"{self.case.service}-{next(self._numbers)}.log"
        env = {"PARTITIONS": str(self.case.partitions)} | self.case.env
        worker = Worker(f"services.{self.case.service}", self.kafka, self.namespace, log, **env)
        self.workers.append(self._closing.enter_context(worker))
        return worker

    def feed(self, *, rate: float = 0, up_to: float = 1.0) -> Feeder:
        """Begin to write the case's input, up to that share of it."""
        return self._closing.enter_context(Feeder(self.kafka, self.namespace, self.case.entries, rate, up_to))

    def reached(self, share: float) -> None:
        """Wait until that share of the first output is written."""
        name = self.case.outputs[0]
        goal = int(share * self.case.expected[name].raw)

        def written() -> int:
            return sum(self._ends(self.namespace + name))

        eventually(lambda: written() >= goal, lambda: f"{goal} records in {name}, but {written()}", pause=0.03)

    def finish(self) -> dict[str, Read]:
        """Wait until the last input record is answered, stop the workers, and read all outputs under the rule."""
        eventually(self._answered, f"the last record's answer in {self.namespace}", pause=0.3)
        for worker in self.workers:
            if worker.child.running:
                assert worker.terminate()[0] == 0, worker.output()
        return {name: under_rule(read_topic(self.kafka, self.namespace + name)) for name in self.case.outputs}

    def compare(self, scenario: str) -> int:
        """Assert that all outputs equal the undisturbed run's; the number of repeats the rule has dropped."""
        found = self.finish()
        for name, read in found.items():
            difference = first_difference(self.case.expected[name].partitions, read.partitions)
            assert difference is None, f"{self.case.service}, {scenario}: {name} differs in {difference}"
        dropped = sum(read.dropped for read in found.values())
        raw = sum(read.raw for read in found.values())
        print(f"{self.case.service}, {scenario}: raw {raw:,}, repeats dropped {dropped:,}, equal record for record")
        return dropped

    def _answered(self) -> bool:
        """Whether the markers stand still, which is cheap to ask, and answer the input's last records."""
        before, self._last_ends = (
            self._last_ends,
            [self._ends(self.namespace + m) for m in self.case.markers.values()],
        )
        if before != self._last_ends:
            return False
        for source, marker in self.case.markers.items():
            last = self._ends(self.namespace + source)
            tails = read_tails(self.kafka, [(self.namespace + marker, p) for p in range(self.case.partitions)])
            if any(tails.get((self.namespace + marker, p), (p, -1, 0))[1] != end - 1 for p, end in enumerate(last)):
                return False
        return True
