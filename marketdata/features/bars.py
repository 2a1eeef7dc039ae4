"""What a feature history takes in: one candle of one symbol, interval and day."""

from __future__ import annotations

from typing import Final, NamedTuple

SIDE_SOURCES: Final = ("unknown", "tick", "quote", "feed")
"""Names of FeatureBar.side_source, by its number."""


class FeatureBar(NamedTuple):
    """A candle. Times are µs since the epoch; ``session`` is the start of its session, 0 where it is in none.

    A bar with a close has open, high and low too, all above 0; so has its ratio. ``weight`` is the sum of price *
    size and ``priced_size`` the sum of size over price-forming trades; ``side_source`` indexes SIDE_SOURCES.
    """

    start: int
    session: int
    regular: bool
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float
    trade_count: int
    weight: float
    priced_size: float
    buy: float
    sell: float
    side_source: int
    ratio_open: float | None
    ratio_high: float | None
    ratio_low: float | None
    ratio_close: float | None
    quoted_spread: float | None = None
    effective_spread: float | None = None
