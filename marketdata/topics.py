"""Names of the topics, and what each needs at its creation.

A namespace (``replay-7f3a.``) stands before every name, so that a replay never mixes with live data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARKETS: Final = ("stocks", "crypto")
DEFAULT_INTERVALS: Final = ("500ms", "1s", "5s", "15s", "1m")
FOREVER_MS: Final = -1
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its full name, whether it has P partitions or one, and its settings for the broker."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Topics:
    """All names of one namespace."""

    namespace: str = ""

    def trades(self, market: str) -> str:
        """Trades of a market (``stocks`` or ``crypto``) with clocks; for stocks also the BTC copies."""
        return f"{self.namespace}trades.{market}"

    @property
    def ratios(self) -> str:
        """Ratio records, with the clocks and BTC copies of trades.stocks passed on."""
        return f"{self.namespace}ratios"

    def candles(self, market: str, interval: str) -> str:
        """Final candles and their revisions, one topic a market and interval."""
        return f"{self.namespace}candles.{market}.{interval}"

    def progress(self, market: str) -> str:
        """How far each interval is complete, by partition."""
        return f"{self.namespace}candles.progress.{market}"

    def late(self, market: str) -> str:
        """Trades and corrections that came past the revision horizon."""
        return f"{self.namespace}trades.late.{market}"

    @property
    def gaps(self) -> str:
        """Stretches of the feed that were not received."""
        return f"{self.namespace}feed.gaps"

    def dead_letters(self, service: str) -> str:
        """What ``service`` could not read."""
        return f"{self.namespace}{service}.dlq"

    def specs(self, partitions: int, intervals: tuple[str, ...] = DEFAULT_INTERVALS) -> list[TopicSpec]:
        """All topics to create. Event times may be old, so nothing expires by record time in a replay."""
        keep = FOREVER_MS if self.namespace else 7 * DAY_MS
        by_symbol = [self.ratios]
        for market in MARKETS:
            by_symbol += [self.trades(market), self.late(market), self.progress(market)]
            by_symbol += [self.candles(market, interval) for interval in intervals]
        single = [self.gaps, *(self.dead_letters(s) for s in ("ingest", "ratio", "aggregator", "sink"))]
        config = {"retention.ms": str(keep), "message.timestamp.type": "LogAppendTime"}
        return [TopicSpec(name, partitions, config) for name in by_symbol] + [
            TopicSpec(name, 1, config) for name in single
        ]
