"""Metrics of the ratio service, beside those of every stage."""

from __future__ import annotations

from typing import Final, get_args

from marketdata.records import RatioReason
from streaming.catalogue import any_of, begin_at_zero, counter, histogram

REASONS: Final = get_args(RatioReason)

RATIO_LATENCY: Final = histogram(
    "trade_to_ratio_seconds",
    "seconds",
    "From a trade's receipt in ingest to its ratio record, of the last trade of each run",
)
NULL: Final = counter(
    "ratio_null_total", "records", "Ratio records without a ratio, by what is missing", any_of("reason", REASONS)
)
REVISED: Final = counter(
    "ratio_revised_total", "records", "Ratio records published again because BTC trades were filled in"
)
begin_at_zero(NULL, REASONS)
