"""Settings of the sink."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from marketdata.intervals import intervals_of
from marketdata.topics import DEFAULT_INTERVALS, MARKETS
from streaming.settings import CommaList, FetchWait, ServiceSettings


class SinkSettings(ServiceSettings):
    """Where rows go and how they are batched; a replay sets DATABASE_SCHEMA to a schema of its own."""

    postgres_dsn: str = "postgresql://postgres@127.0.0.1:5432/market"
    database_schema: str = Field("public", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    consumer_group: str = Field("sink", min_length=1, description="after NAMESPACE: the group lag displays show")
    metrics_port: int = Field(9104, ge=0, le=65535)
    fetch_wait_ms: FetchWait = 50
    batch_rows: int = Field(10_000, ge=1, le=1_000_000, description="rows in one transaction at most")
    batch_ms: float = Field(
        100, ge=1, le=60_000, description="least time between the starts of two transactions, unless one is full"
    )
    intervals: CommaList = DEFAULT_INTERVALS
    quotes: bool = Field(False, description="whether quotes are stored, which ingest subscribes")
    retention: Literal["on", "off"] = Field("on", description="drop old days; never done in a namespace")
    stall_seconds: float = Field(30, gt=0, description="unhealthy when behind and unmoved for this long")

    @property
    def group_id(self) -> str:
        """The consumer group in this namespace."""
        return self.group(self.consumer_group)

    @property
    def drops_old_days(self) -> bool:
        """Whether days past their age are dropped: never where a replay writes days of long ago."""
        return self.retention == "on" and not self.namespace

    @property
    def candle_topics(self) -> dict[str, tuple[str, str]]:
        """Topic name -> (market, interval)."""
        return {
            self.topics.candles(market, interval): (market, interval)
            for market in MARKETS
            for interval in intervals_of(market, self.intervals)
        }
