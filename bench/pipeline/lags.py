"""How many trades lie between the stages, second by second, and whether they become more; without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.stats import fit

MOST_GROWTH: Final = 0.01
"""A lag that grows by more than this share of the rate is not kept up with."""
SOURCE: Final = 0.99
"""A feed that sends less than this share of what it was asked for has not tested it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Where everything stood at ``at`` seconds: trades since the feed was let go, and records in all."""

    at: float
    sent: int
    """Trades that the feed has sent."""
    written: int
    """Trades that ingest has given to Kafka."""
    stocks: int
    """Records of trades.stocks: trades, clocks and copies of BTC trades; ``ratios`` holds as many."""
    crypto: int
    """Records of trades.crypto."""
    ratios: int
    """Records of ratios."""
    processed: int
    """Records of ratios and of trades.crypto that the aggregator has processed, at its last half second's end."""
    stored: int
    """Records of ratios that the sink has stored."""
    candles: int
    """Records of all topics of finished candles."""
    candles_stored: int
    """Those of them that the sink has stored."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One lag over the window: its mean and by how much it grew a second, both in trades (or in candles)."""

    mean: float
    slope: float


Lags = dict[str, Growth]
TO_ROWS: Final = "sent to rows"
TO_CANDLES: Final = "sent to candles"
CANDLE_ROWS: Final = "candles to rows"


def lags(samples: Sequence[Sample]) -> Lags:
    """Both ways through the whole, by rows and by candles, and each stage; candles that wait for the sink in candles.

    Raises:
        TooShortError: fewer than two samples.
    """
    first, last = samples[0], samples[-1]
    records = last.stocks + last.crypto - first.stocks - first.crypto
    share = (last.written - first.written) / records if records else 0.0  # of trades among the log's records
    stages = {
        TO_ROWS: [s.sent - s.written + (s.stocks - s.stored) * share for s in samples],
        TO_CANDLES: [s.sent - s.written + (s.stocks + s.crypto - s.processed) * share for s in samples],
        "sent to log": [float(s.sent - s.written) for s in samples],
        "log to ratios": [(s.stocks - s.ratios) * share for s in samples],
        "ratios to candles": [(s.ratios + s.crypto - s.processed) * share for s in samples],
        "ratios to rows": [(s.ratios - s.stored) * share for s in samples],
        CANDLE_ROWS: [float(s.candles - s.candles_stored) for s in samples],
    }
    return {name: _growth([s.at for s in samples], values) for name, values in stages.items()}


def _growth(times: Sequence[float], values: Sequence[float]) -> Growth:
    return Growth(sum(values) / len(values), fit(list(zip(times, values, strict=True))).slope)


def per_second(samples: Sequence[Sample], name: str) -> float:
    """By how much the count ``name`` of a sample rose a second."""
    first, last = samples[0], samples[-1]
    return float((getattr(last, name) - getattr(first, name)) / (last.at - first.at))


def not_kept_up(rate: int, source: float, candles: float, found: Lags) -> list[str]:
    """Why ``rate`` trades a second were not sustained; empty if they were.

    ``source`` is what the feed really sent, ``candles`` how many candles were finished, both a second.
    """
    reasons = []
    if source < SOURCE * rate:
        reasons.append(f"the feed itself sent only {source:,.0f} trades/s: no more can be said of {rate:,}")
    for name, of in ((TO_ROWS, float(rate)), (TO_CANDLES, float(rate)), (CANDLE_ROWS, candles)):
        if found[name].slope > MOST_GROWTH * of:
            reasons.append(f"the lag of {name} grew by {found[name].slope / of:.1%} of the rate")
    return reasons


def shares(rate: int, candles: float, found: Lags) -> dict[str, dict[str, Any]]:
    """For the report: means, and slopes in % of the rate."""
    of = {name: candles if name == CANDLE_ROWS else float(rate) for name in found}
    return {
        name: {
            "mean": round(growth.mean),
            "slope_percent_of_rate": round(100 * growth.slope / of[name], 3) if of[name] else None,
        }
        for name, growth in found.items()
    }
