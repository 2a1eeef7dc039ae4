"""Settings of the aggregator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from marketdata.hours import ALL, REGULAR
from marketdata.topics import DEFAULT_INTERVALS
from streaming.settings import CommaList, ServiceSettings


class AggregatorSettings(ServiceSettings):
    """Which candles are made, and of which markets."""

    metrics_port: int = Field(9103, ge=0, le=65535)
    markets: CommaList = ("stocks", "crypto")
    intervals: CommaList = DEFAULT_INTERVALS
    hours: CommaList = (ALL, REGULAR)
    gap_policy: Literal["none", "carry"] = "none"
    feature_intervals: CommaList = ("15s", "1m")
    revision_horizon_s: int = Field(900, gt=0, description="how late a trade may come and still count")
    corporate_actions: Path | None = Field(None, description="CSV file of splits and changes of symbol")
