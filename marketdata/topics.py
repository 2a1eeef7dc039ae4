"""Names of the topics, and what each needs at its creation.

A namespace (``replay-7f3a.``) stands before every name, so that a replay never mixes with live data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marketdata.intervals import intervals_of

MARKETS: Final = ("stocks", "crypto")
DEFAULT_INTERVALS: Final = (
    "500ms", "1s", "5s", "15s", "30s", "45s", "1m", "5m", "15m", "1h", "4h", "24h", "1d",
)  # fmt: skip
FOREVER_MS: Final = -1
DAY_MS: Final = 86_400_000
SERVICES: Final = ("ingest", "ratio", "aggregator", "sink")
AGENTS: Final = ("ratio", "stocks", "crypto")
LEASE_KEPT_MS: Final = 3_600_000
LIVE_CONFIG: Final = {
    "cleanup.policy": "compact,delete",
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": "600000",
    "segment.ms": "60000",
}
STATE_CONFIG: Final = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "min.compaction.lag.ms": str(
        DAY_MS // 4
    ),  # a snapshot is written in several records: none may go before it is whole
    "segment.ms": str(DAY_MS),
}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its full name, whether it has P partitions or one, and its settings for the broker.

    One that is not ``public`` serves a service's own ends and may change without notice.
    """

    name: str
    partitions: int
    config: dict[str, str]
    public: bool = True


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

    @property
    def ratio_mark(self) -> str:
        """Ratios of stocks that do not trade while BTC moves, at most four a second a symbol."""
        return f"{self.namespace}ratio_mark"

    @property
    def ratio_mid(self) -> str:
        """Ratios of the middles of quotes, where quotes are subscribed, at most four a second a symbol."""
        return f"{self.namespace}ratio_mid"

    def quotes(self, market: str) -> str:
        """Quotes of a market, where they are subscribed."""
        return f"{self.namespace}quotes.{market}"

    def candles(self, market: str, interval: str) -> str:
        """Final candles and their revisions, one topic a market and interval."""
        return f"{self.namespace}candles.{market}.{interval}"

    def live(self, market: str) -> str:
        """Candles under way, for screens: the newest record of a symbol is all that counts."""
        return f"{self.namespace}candles.live.{market}"

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

    def retry(self, service: str) -> str:
        """Dead letters that an operator sends through ``service`` once more, after a fix."""
        return f"{self.namespace}{service}.retry"

    def rebuilt(self, market: str) -> str:
        """Revisions of candles past the revision horizon, made by ``market rebuild``."""
        return f"{self.namespace}candles.rebuilt.{market}"

    def state(self, agent: str) -> str:
        """Snapshots of an agent's state (``ratio``, ``stocks``, ``crypto``); compacted, for that agent alone."""
        return f"{self.namespace}{agent}.state"

    @property
    def lease(self) -> str:
        """Which ingest writes: its holder says so twice a second, the others wait."""
        return f"{self.namespace}ingest.lease"

    def specs(self, partitions: int, intervals: tuple[str, ...] = DEFAULT_INTERVALS) -> list[TopicSpec]:
        """All topics to create. Event times may be old, so nothing expires by record time in a replay."""
        keep = FOREVER_MS if self.namespace else 7 * DAY_MS
        by_symbol = [self.ratios, self.ratio_mark, self.ratio_mid, *map(self.quotes, MARKETS)]
        for market in MARKETS:
            by_symbol += [self.trades(market), self.late(market), self.progress(market), self.rebuilt(market)]
            by_symbol += [self.candles(market, interval) for interval in intervals_of(market, intervals)]
        single = [self.gaps, *map(self.dead_letters, SERVICES)]
        config = {"retention.ms": str(keep), "message.timestamp.type": "LogAppendTime"}
        lease = config | {"retention.ms": str(LEASE_KEPT_MS), "segment.ms": str(LEASE_KEPT_MS)}
        return [
            *(TopicSpec(name, partitions, config) for name in by_symbol),
            *(TopicSpec(self.live(market), partitions, LIVE_CONFIG) for market in MARKETS),
            *(TopicSpec(name, 1, config) for name in single),
            *(TopicSpec(self.retry(service), 1, config, public=False) for service in ("ingest", "sink")),
            *(TopicSpec(self.state(agent), partitions, STATE_CONFIG, public=False) for agent in AGENTS),
            TopicSpec(self.lease, 1, lease),
        ]
