"""Recordings as they are asked for: which file, shifted to which time, repeated how often."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

from marketdata.vendor import StockTrade, VendorTrade

HOUR_MS: Final = 3_600_000
UNTIL_END: Final = 0
"""As the number of laps: repeat until the other files end."""

_SPEC: Final = re.compile(r"^(?P<path>.+?)(?:@(?P<start>\d{4}-\d\d-\d\d[T ][^*]+))?(?:\*(?P<laps>\d+|end))?$")


class SpecError(ValueError):
    """A file specification that cannot be read; the message shows the form."""


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """One recording to play: ``start_ms`` is where its first full UTC hour goes, None leaves it where it is."""

    path: str
    start_ms: int | None = None
    laps: int = 1


def parse_spec(text: str) -> RecordingSpec:
    """``PATH[@START][*LAPS|*end]`` as a specification.

    Raises:
        SpecError: START is no ISO time, or LAPS is 0.
    """
    match = _SPEC.match(text)
    if match is None or match["laps"] == "0":
        raise SpecError(f"{text!r} is not PATH[@START][*LAPS|*end], as in btc.jsonl.gz@2018-01-02T14:30:00Z*end")
    laps = 1 if match["laps"] is None else UNTIL_END if match["laps"] == "end" else int(match["laps"])
    return RecordingSpec(match["path"], _start_ms(match["start"]), laps)


def _start_ms(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(f"{text!r} is not a time such as 2018-01-02T14:30:00Z") from error
    return round(start.replace(tzinfo=start.tzinfo or UTC).timestamp() * 1_000)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a recording's laps go. Times in ms; ``length_ms`` is a lap's nominal length, whole hours."""

    shift_ms: int
    length_ms: int

    @classmethod
    def of(cls, spec: RecordingSpec, first_ms: int, last_ms: int) -> Placement:
        """The placement of a recording whose events lie between ``first_ms`` and ``last_ms``."""
        hour = first_ms - first_ms % HOUR_MS
        length = -(-(last_ms + 1 - hour) // HOUR_MS) * HOUR_MS
        return cls(0 if spec.start_ms is None else spec.start_ms - hour, length)

    def lap(self, events: Iterable[VendorTrade], number: int) -> Iterator[VendorTrade]:
        """``events`` moved, in place, to lap ``number`` (from 0); later laps get ids of their own."""
        shift = self.shift_ms + number * self.length_ms
        for event in events:
            event.t += shift
            if number and event.i != "":  # an event without one stays without
                event.i = f"{event.i}-{number}"
            if type(event) is StockTrade:
                event.trft += shift if event.trft else 0
            yield event


def crypto_first(events: Iterable[VendorTrade]) -> Iterator[VendorTrade]:
    """``events``, ascending in time, with crypto before stocks where the time is the same."""
    for _, group in groupby(events, key=attrgetter("t")):
        yield from sorted(group, key=is_stock)


def is_stock(event: VendorTrade) -> bool:
    """Whether ``event`` is of the stocks market; a sort key that puts crypto first."""
    return type(event) is StockTrade
