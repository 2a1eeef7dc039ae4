"""What a predecessor left to do about gaps, by the newest word on each that stands on feed.gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from marketdata.records import Gap
from services.ingest.restmerge import Span


def is_open(gap: Gap) -> bool:
    """Whether nothing says where it ended: it is open, or was given up while the feed was still away."""
    return gap.status == "open" or (gap.status == "given_up" and gap.end is None)


def open_starts(words: Iterable[Gap]) -> dict[str, int]:
    """Where the first open gap of each market began."""
    starts: dict[str, int] = {}
    for gap in words:
        if is_open(gap):
            starts[gap.cluster] = min(gap.start, starts.get(gap.cluster, gap.start))
    return starts


@dataclass(frozen=True, slots=True)
class Left:
    """``starts``: from where on trades may be missing, by market: there a gap begins. ``words``: one for each gap."""

    starts: Mapping[str, int] = field(default_factory=dict)
    words: tuple[Gap, ...] = ()

    def inside(self, market: str) -> tuple[int, ...]:
        """Where other gaps began that are not filled and lie within the one that is begun: they end with it."""
        start = self.starts.get(market)
        mine = (gap.start for gap in self.words if gap.cluster == market and gap.status != "filled")
        return tuple(sorted(at for at in mine if start is not None and at > start))

    def given_up(self, market: str, since: int) -> list[Span]:
        """What was given up, ended at or after ``since`` (µs), and lies before the gap that is begun."""
        start = self.starts.get(market)
        return [span for span in self._ended(market, "given_up", since) if start is None or span[0] < start]

    def filled(self, market: str, since: int) -> list[Span]:
        """What was filled and ended at or after ``since`` (µs)."""
        return self._ended(market, "filled", since)

    def _ended(self, market: str, status: str, since: int) -> list[Span]:
        mine = (gap for gap in self.words if (gap.cluster, gap.status) == (market, status))
        return sorted((gap.start, gap.end) for gap in mine if gap.end is not None and gap.end >= since)
