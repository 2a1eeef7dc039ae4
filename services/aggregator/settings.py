"""Settings of the aggregator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from marketdata.hours import ALL, REGULAR
from marketdata.intervals import EXCHANGE_DAY
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
    candles_live: bool = Field(True, description="whether candles under way are sent")
    candles_live_features: bool = Field(False, description="whether those carry features")
    revision_horizon_s: int = Field(900, gt=0, description="how late a trade may come and still count")
    corporate_actions: Path | None = Field(None, description="CSV file of splits and changes of symbol")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if not self.hours or set(self.hours) - {ALL, REGULAR}:
            raise ValueError(f"HOURS names {list(self.hours)}; it can hold {ALL} and {REGULAR}")
        wrong = set(self.feature_intervals) - set(self.intervals) | {EXCHANGE_DAY} & set(self.feature_intervals)
        if wrong and "feature_intervals" in self.model_fields_set:
            raise ValueError(f"FEATURE_INTERVALS names {sorted(wrong)}; it can hold INTERVALS but for {EXCHANGE_DAY}")
        return self
