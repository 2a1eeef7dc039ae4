"""Settings of the ratio service."""

from __future__ import annotations

from pydantic import Field

from marketdata.join import JoinSettings
from marketdata.units import SECOND_US
from streaming.settings import CommaList, ServiceSettings


class RatioSettings(ServiceSettings):
    """What the as-of join is told. The ratio is against the first of ``reference_symbols``."""

    metrics_port: int = Field(9102, ge=0, le=65535)
    reference_symbols: CommaList = ("BTC-USD",)
    max_btc_age_s: int = Field(120, gt=0, description="an older BTC price gives no ratio")
    revision_horizon_s: int = Field(900, gt=0, description="how late a trade may come and still count")

    @property
    def join(self) -> JoinSettings:
        """The same in µs."""
        return JoinSettings(self.max_btc_age_s * SECOND_US, self.revision_horizon_s * SECOND_US)
