"""What all contenders of a contest are asked to do, what they are given, and how their outputs are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bench.peers.contenders import Contender
from bench.peers.market import Scale
from marketdata.records import Clock, Ratio, Reference, Trade

Record = Ratio | Clock | Trade | Reference
"""What stands in an input."""


class Verdict(NamedTuple):
    """Of one output topic: when its first and last compared records were written, in seconds of the broker's clock.

    ``wrong`` says what is wrong with it, in a line each; empty if all is there, once, and equal.
    """

    first: float
    last: float
    wrong: list[str]


class Expected(Protocol):
    """What must come of an input."""

    @property
    def trades(self) -> int:
        """How many the input holds."""

    @property
    def outputs(self) -> int:
        """How many candles or ratios are compared."""

    def wanted(self, contender: Contender) -> int:
        """How many records the output topic of ``contender`` holds when all is done."""

    def judge(self, messages: Iterable[Any], contender: Contender) -> Verdict:
        """Look through a whole output topic."""


class Tally(Protocol):
    """Works out what is expected while the input is written."""

    def add(self, partition: int, record: Record) -> None:
        """Take the next record of the log."""

    def expected(self) -> Expected:
        """To be asked once all have been added."""


@dataclass(frozen=True, slots=True)
class Job:
    """One contest. Topics are named without the namespace.

    ``service`` of the product does it; ``topics`` are all that this service writes, by its contender's settings, and
    among them ``output`` is compared. A peer's program is ``program`` in its folder. ``trades`` is how many there are
    for the fastest if no one says otherwise; ``compared`` names the outputs, of which the next comes within
    ``stall_s`` seconds if anything is to come.
    """

    title: str
    compared: str
    service: str
    program: str
    source: str
    output: str
    topics: Callable[[Contender], list[str]]
    play: Callable[[Scale, int], Iterator[tuple[int, Record]]]
    tally: Callable[[Scale], Tally]
    contenders: tuple[Contender, ...]
    trades: int
    stall_s: float

    @property
    def names(self) -> tuple[str, ...]:
        """The contenders'."""
        return tuple(contender.name for contender in self.contenders)
