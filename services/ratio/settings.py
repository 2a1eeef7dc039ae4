"""Settings of the ratio service."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from marketdata.join import JoinSettings
from marketdata.marks import MarkSettings
from marketdata.units import SECOND_US
from streaming.settings import CommaList, ServiceSettings


class RatioSettings(ServiceSettings):
    """What the as-of join and the marks are told. Ratios are against the first of ``reference_symbols``."""

    metrics_port: int = Field(9102, ge=0, le=65535)
    reference_symbols: CommaList = ("BTC-USD",)
    max_btc_age_s: int = Field(120, gt=0, description="an older BTC price gives no ratio")
    revision_horizon_s: int = Field(900, gt=0, description="how late a trade may come and still count")
    ratio_mark: bool = Field(True, description="whether stocks that do not trade are marked while BTC moves")
    quotes: bool = Field(False, description="whether ratio_mid is made, of the quotes that ingest subscribes")
    ratio_mark_max_age_s: int = Field(900, gt=0, description="an older stock price gives no mark")

    @model_validator(mode="after")
    def _marks_can_be_restored(self) -> Self:
        if "ratio_mark_max_age_s" in self.model_fields_set and self.ratio_mark_max_age_s > self.revision_horizon_s:
            raise ValueError(
                f"RATIO_MARK_MAX_AGE_S {self.ratio_mark_max_age_s} is more than REVISION_HORIZON_S "
                f"{self.revision_horizon_s}: a restart reads no more than that again"
            )
        return self

    @property
    def join(self) -> JoinSettings:
        """The same in µs."""
        return JoinSettings(self.max_btc_age_s * SECOND_US, self.revision_horizon_s * SECOND_US)

    @property
    def marks(self) -> MarkSettings:
        """The same in µs; where the age is not set, a shorter horizon bounds it."""
        age = min(self.ratio_mark_max_age_s, self.revision_horizon_s)
        return MarkSettings(self.max_btc_age_s * SECOND_US, age * SECOND_US)
