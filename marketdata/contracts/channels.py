"""Every topic as a reader needs to know it; the AsyncAPI document and docs/topics.md are made from this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marketdata.records import (
    Band,
    Candle,
    Clock,
    DeadLetter,
    Gap,
    LateTrade,
    Lease,
    LiveCandles,
    Progress,
    Quote,
    QuoteCopy,
    Ratio,
    RatioMark,
    RatioMid,
    Record,
    Reference,
    Trade,
)
from marketdata.topics import MARKETS, Topics

_NAMES: Final = Topics("{namespace}")
_SYMBOL: Final = "symbol"
HEADERED: Final = (Clock, Trade, Reference, Band, QuoteCopy, Ratio)
"""The records that stand on a topic of several kinds: their ``kind`` is in a header too."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic, or one for each interval or service.

    ``address`` is the name with {namespace} and other parameters; ``key`` names the field that keys its records
    (a clock has no key); ``source`` is the address of the topic it is derived from, if it is, and ``src`` what the
    source offset and n stand for.
    """

    name: str
    address: str
    records: tuple[type[Record], ...]
    key: str
    writer: str
    summary: str
    by_symbol: bool = True
    source: str | None = None
    src: str | None = None


_TRADES: Final[dict[str, tuple[type[Record], ...]]] = {
    "stocks": (Trade, Clock, Reference, Band, QuoteCopy), "crypto": (Trade, Clock)
}  # fmt: skip


def _market(market: str) -> tuple[Channel, ...]:
    stocks = market == "stocks"
    label = market.capitalize()
    source = _NAMES.ratios if stocks else _NAMES.trades(market)
    return (
        Channel(
            f"trades{label}", _NAMES.trades(market), _TRADES[market], _SYMBOL,
            "ingest",
            "Every trade with the clocks; BTC-USD trades copied into every partition, as references; price bands "
            "and copies of quotes where they are subscribed." if stocks
            else "Every trade of the crypto pairs, with the clocks.",
        ),
        Channel(
            f"quotes{label}", _NAMES.quotes(market), (Quote,), _SYMBOL, "ingest",
            "Every quote as it came, where quotes are subscribed; what was missed is never filled in.",
        ),
        Channel(
            f"candles{label}", _NAMES.candles(market, "{interval}"), (Candle,), _SYMBOL, "aggregator",
            "Finished candles and their revisions" + (", price and ratio in one record." if stocks else "."),
            source=source, src="the clock that published it; n counts that clock's candles of the interval",
        ),
        Channel(
            f"candlesLive{label}", _NAMES.live(market), (LiveCandles,), _SYMBOL, "aggregator",
            "Candles under way, for screens: all intervals of a symbol, at most every 50 ms, kept for 10 minutes.",
        ),
        Channel(
            f"candlesProgress{label}", _NAMES.progress(market), (Progress,), "interval", "aggregator",
            "Up to where each interval is complete, in each partition.",
            source=source, src="the clock that completed it; n counts the intervals",
        ),
        Channel(
            f"tradesLate{label}", _NAMES.late(market), (LateTrade,), _SYMBOL, "aggregator",
            "Trades, cancels and corrections that no open candle can take.",
            source=source, src="the trade; n is 0",
        ),
        Channel(
            f"candlesRebuilt{label}", _NAMES.rebuilt(market), (Candle,), _SYMBOL, "market rebuild",
            "Revisions of candles past the revision horizon, made by hand.",
            source=source, src="the rebuild, its offset being the time in µs at which it began; n counts its candles",
        ),
    )  # fmt: skip


CHANNELS: Final[tuple[Channel, ...]] = (
    *(channel for market in MARKETS for channel in _market(market)),
    Channel(
        "ratios", _NAMES.ratios, (Ratio, Clock, Reference, Band), _SYMBOL, "ratio",
        "Each stock trade joined with the last BTC trade at or before it; clocks, references and bands passed on.",
        source=_NAMES.trades("stocks"),
        src="the record of trades.stocks; a clock: n counts ratios that filled-in BTC changed, then itself",
    ),
    Channel(
        "ratioMark", _NAMES.ratio_mark, (RatioMark,), _SYMBOL, "ratio",
        "While BTC moves and a stock does not: its last price against the newest BTC price, at most 4 a second.",
        source=_NAMES.trades("stocks"),
        src="the clock that made it, the first at or past a multiple of 250 ms; n counts symbols in their order",
    ),
    Channel(
        "ratioMid", _NAMES.ratio_mid, (RatioMid,), _SYMBOL, "ratio",
        "The middle of a stock's quote against BTC's, where quotes are subscribed, at most 4 a second a symbol.",
        source=_NAMES.trades("stocks"),
        src="the clock that made it, the first at or past a multiple of 250 ms; n counts symbols in their order",
    ),
    Channel(
        "feedGaps", _NAMES.gaps, (Gap,), "cluster", "ingest",
        "Stretches of the feed that were not received, again with each new status.", by_symbol=False,
    ),
    Channel(
        "deadLetters", _NAMES.dead_letters("{service}"), (DeadLetter,), "that of the unreadable record, if any",
        "the service named", "What a service could not read. A restart may write one again: topic, partition and "
        "offset tell which.", by_symbol=False,
    ),
    Channel(
        "ingestLease", _NAMES.lease, (Lease,), "holder", "ingest",
        "Which ingest writes, said twice a second; the newest epoch holds it.", by_symbol=False,
    ),
)  # fmt: skip
