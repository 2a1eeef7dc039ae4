"""Stretches that are to be read again, each as one job of bounded cost, however many gaps it speaks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from marketdata.units import SECOND_US
from services.ingest.restmerge import Span

ORDER: Final = ("crypto", "stocks")
TRIES: Final = 100
MOST_US: Final = 3_600 * SECOND_US
"""Stretches are not joined past this: what takes too long may never end between two kills."""


@dataclass(slots=True)
class Job:
    """A stretch to read once more; ``gaps`` are those given up that are filled by it.

    ``done`` are the symbols that were read, ``found`` how many trades they brought: a failed job goes on there.
    """

    market: str
    span: Span
    gaps: list[Span] = field(default_factory=list)
    tries: int = 0
    found: int = 0
    done: set[str] = field(default_factory=set)

    def joins(self, market: str, span: Span) -> bool:
        """Whether ``span`` can be read along: it overlaps, nothing was read yet, and it does not get too long."""
        low, high = min(self.span[0], span[0]), max(self.span[1], span[1])
        near = market == self.market and span[0] <= self.span[1] and self.span[0] <= span[1]
        return near and not self.done and (high - low <= MOST_US or (low, high) in {self.span, span})


class Jobs:
    """What waits to be read."""

    def __init__(self) -> None:
        self._waiting: list[Job] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, market: str, span: Span, gap: Span | None = None) -> None:
        """Have ``span`` (µs) read, for ``gap`` if it is one that was given up."""
        job = next((job for job in self._waiting if job.joins(market, span)), None)
        if job is None:
            job = Job(market, span)
            self._waiting.append(job)
        job.span = (min(job.span[0], span[0]), max(job.span[1], span[1]))
        if gap is not None and gap not in job.gaps:
            job.gaps.append(gap)

    def take(self, ready: Callable[[Job], bool]) -> Job | None:
        """The next one that is ``ready``: what failed least often, BTC, and what is short come first."""
        found = [job for job in self._waiting if ready(job)]
        if not found:
            return None
        job = min(found, key=lambda j: (j.tries, ORDER.index(j.market), j.span[1] - j.span[0]))
        self._waiting.remove(job)
        return job

    def failed(self, job: Job) -> None:
        """Try it again later, though not for ever."""
        job.tries += 1
        if job.tries < TRIES:
            self._waiting.append(job)
