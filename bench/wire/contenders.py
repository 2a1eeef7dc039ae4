"""Who reads the stream, and what its runs gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bench.context import Bench
from bench.wire.official import PACKAGE, official
from bench.wire.ours import ours
from bench.wire.replaying import Result, send_only
from bench.wire.stream import Stream


@dataclass(frozen=True, slots=True)
class Contender:
    """One reader; ``required`` is our rate / its rate. One with a ``package`` is the vendor's.

    What does not ``reads`` is the floor: its process does nothing that is worth a figure.
    """

    name: str
    label: str
    run: Callable[[Bench, Stream], Result]
    required: float | None = None
    package: str = ""
    reads: bool = True


@dataclass(slots=True)
class Runs:
    """One reader's runs: trades a second, CPU µs a trade of itself and of the server; or why there are none."""

    contender: Contender
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    server_costs: list[float] = field(default_factory=list)
    failed: str | None = None

    def add(self, trades: int, result: Result) -> None:
        """One run of so many trades."""
        self.rates.append(trades / result.seconds)
        self.costs.append(1e6 * result.cpu_s / trades)
        self.server_costs.append(1e6 * result.server_cpu_s / trades)


OURS: Final = Contender("ours", "ingest: socket to Kafka, acks=all", ours)
PARSED: Final = Contender("parsed", "official client, parsed, no Kafka", partial(official, mode="parsed"), 1, PACKAGE)
RAW: Final = Contender("raw", "official client, raw frames, no Kafka", partial(official, mode="raw"), None, PACKAGE)
FLOOR: Final = Contender("server", "the server alone: a reader that looks at nothing", send_only, reads=False)
CONTENDERS: Final = (OURS, PARSED, RAW)
NAMES: Final = tuple(contender.name for contender in CONTENDERS)
