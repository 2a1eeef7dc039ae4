"""Metrics of the aggregator, beside those of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from marketdata.records import LateReason
from streaming.catalogue import Label, any_of, begin_at_zero, counter, histogram
from streaming.metrics import MARKET

INTERVAL: Final = Label("interval", "those of INTERVALS", 24)
REASONS: Final = get_args(LateReason)

CANDLE_LATENCY: Final = histogram(
    "candle_latency_seconds",
    "seconds",
    "From a candle's end to its publication, allowance included, of the last one of each interval and run",
    MARKET,
    INTERVAL,
)
CANDLES: Final = counter("candles_total", "candles", "Candles published for the first time", MARKET, INTERVAL)
REVISED: Final = counter("candles_revised_total", "candles", "Candles published again", MARKET, INTERVAL)
LATE: Final = counter(
    "trades_late_total", "trades", "Trades and corrections that no candle took", MARKET, any_of("reason", REASONS)
)
LIVE: Final = counter("candles_live_total", "records", "Records of candles under way", MARKET)
LIVE_DELAY: Final = histogram(
    "candles_live_delay_seconds",
    "seconds",
    "From the receipt of a partition's newest trade to the sending of candles under way, once each time",
    MARKET,
)


class OfCandles:
    """Counts what one partition of a market publishes, and reports it once a run. ``intervals``: level -> name."""

    def __init__(self, market: str, intervals: Mapping[int, str]) -> None:
        self._first = dict.fromkeys(intervals, 0)
        self._again = dict.fromkeys(intervals, 0)
        self._ends: dict[int, int] = {}
        self._news = False
        self._candles = {level: CANDLES.labels(market, name) for level, name in intervals.items()}
        self._revised = {level: REVISED.labels(market, name) for level, name in intervals.items()}
        self._latency = {level: CANDLE_LATENCY.labels(market, name) for level, name in intervals.items()}
        begin_at_zero(LATE, [market], REASONS)

    def closed(self, level: int, end: int, revision: int) -> None:
        """A candle was published; ``end`` in µs."""
        self._news = True
        if revision:
            self._again[level] += 1
        else:
            self._first[level] += 1
            self._ends[level] = end

    def report(self, now: int) -> None:
        """Hand all of it to the metrics; the latency is of the last candle of each interval. ``now`` in µs."""
        if not self._news:
            return
        self._news = False
        for level, end in self._ends.items():
            self._latency[level].observe((now - end) / 1e6)
        self._ends.clear()
        for counts, metrics in ((self._first, self._candles), (self._again, self._revised)):
            for level, count in counts.items():
                if count:
                    metrics[level].inc(count)
                    counts[level] = 0
