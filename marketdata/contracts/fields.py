"""What the fields of records mean to a reader, where the struct's own docstring does not say it.

``Record.field`` goes before that docstring, ``field`` after it, for every record.
"""

from __future__ import annotations

from typing import Final

from marketdata.features.table import FEATURES

_TIME: Final = "in µs since the epoch, UTC"
_SRC: Final = (
    "[partition, offset, n]: the source record it was derived from, and which of that record's outputs here it is."
)

FIELDS: Final[dict[str, str]] = {
    "kind": "Which kind of record this is.",
    "symbol": "The stock's ticker, or the crypto pair (BTC-USD).",
    "ts": f"When it happened, {_TIME}.",
    "Clock.ts": f"The event time up to which, itself excluded, all trades stand above; a multiple of 50 ms, {_TIME}.",
    "Trade.ts": f"The feed's SIP time at its millisecond, {_TIME}.",
    "DeadLetter.ts": f"When the service met it, by its wall clock, {_TIME}.",
    "received_ts": f"When ingest received it, {_TIME}; from files the same as ts.",
    "timestamp_in": f"Start of the candle, included, {_TIME}.",
    "timestamp_out": f"When the record was made, by the wall clock, {_TIME}; another run gives another one.",
    "start": f"Start of the stretch, included, {_TIME}.",
    "end": f"End, not included, {_TIME}.",
    "Gap.end": f"End of the stretch, not included, {_TIME}; null while it is open.",
    "Gap.trades": "How many of its trades were fetched afterwards and were new.",
    "holder": "The host, process and start that hold the lease.",
    "Lease.ts": f"When it was said, by the holder's wall clock, {_TIME}.",
    "released": "Whether the holder gives the lease back.",
    "epoch": "Which writer wrote it; a newer writer has a greater number.",
    "src": f"{_SRC} In each partition accept only strictly increasing ones.",
    "Clock.src": f"On ratios only. {_SRC}",
    "Reference.src": f"On ratios only. {_SRC}",
    "exchange": "The vendor's number of the exchange.",
    "id": "The trade's id, unique within symbol, exchange, trf and trading day.",
    "price": "Price in US dollars.",
    "size": "Shares or coins, fractions included.",
    "Trade.ts_ns": "REST's time in ns since the epoch, where it is known; too large for a double to hold exactly.",
    "Candle.price": "Prices and volume.",
    "Candle.features": "Features of price and volume, see docs/features.md; only on intervals that have them.",
    "Candle.ratio_features": "Features of the ratio, see docs/features.md; null where the candle has no ratio.",
    "conditions": "The vendor's numbers of the sale conditions.",
    "sequence": "The feed's sequence number, 0 where it has none; it may repeat and run backwards.",
    "trf": "The vendor's number of the trade reporting facility; 0 for none.",
    "trf_ts": f"The trade reporting facility's time, {_TIME}; 0 for none.",
    "tape": "1, 2 or 3; 0 for none.",
    "correction": "The vendor's code: 0 a regular trade, 10 to 12 a record about another trade.",
    "backfilled": "Whether it was fetched after a gap of the feed.",
    "stock_price": "Price of the stock trade in US dollars.",
    "Ratio.stock_size": "Shares, fractions included.",
    "Ratio.stock_volume": "Whole shares: stock_size without its fraction.",
    "reference": "The symbol whose trade was matched; null where none was.",
    "btc_price": "Price of the matched BTC trade in US dollars; null where none was.",
    "btc_ts": f"When the matched BTC trade happened, {_TIME}; null where none was.",
    "btc_age_us": "ts - btc_ts, in µs; null where no BTC trade was matched.",
    "btc_volume": "Size of the matched BTC trade in coins; null where none was.",
    "inverse_ratio": "btc_price / stock_price; null where ratio is.",
    "Ratio.ratio": "stock_price / btc_price, per share; null with a reason where there is no answer.",
    "Ratio.revision": "0 at first; greater where a back-filled BTC trade changed the answer; the greatest counts.",
    "Ratio.updates_open_close": "By the sale conditions the trade may form open and close.",
    "Ratio.updates_volume": "By the sale conditions the trade counts towards volume.",
    "Ratio.reason": "no_reference, stale_reference, past_horizon or correction_record; null where there is a ratio.",
    "DeadLetter.reason": "Why the service could not read it.",
    "revision": "0 at first, and greater each time it is published again; the greatest one counts.",
    "interval": "Length of the candle: a number and ms, s, m or h (500ms, 15s).",
    "hours": "Which trades it holds: all, or regular for those in the exchange's regular hours.",
    "open": "The first; null where there is none.",
    "high": "The highest; null where there is none.",
    "low": "The lowest; null where there is none.",
    "close": "The last; null where there is none.",
    "avg": "The arithmetic mean; null where there is none.",
    "PriceBlock.avg": "The arithmetic mean over tick_count trades; null where there is none.",
    "PriceBlock.vwap": "The mean weighted by size; null where there is none.",
    "PriceBlock.trade_count": "Counts the trades that count towards volume.",
    "RatioBlock.twap": "Each ratio weighed by the time it stood, from the first to the end of the candle.",
    "RatioBlock.tick_count": "Counts the trades whose ratios these are.",
    "LateTrade.reason": "Why no candle took it, in words.",
    "cluster": "The connection of the feed that missed it.",
    "service": "The service that could not read it.",
    "raw": "The bytes as they came, in base64.",
    "topic": "The topic it stood on, where it came from one.",
    "partition": "The partition it stood on, where it came from one.",
    "offset": "The offset it stood at, where it came from one.",
} | {name: f"{feature.formula}; docs/features.md" for feature in FEATURES for name in feature.names}
