"""Every record that stands on a topic: the one source of the contracts in contracts/.

A record is one JSON object, told apart by ``kind``. Times are integers, microseconds since the epoch, UTC.
``src`` = (source partition, source offset, n) is carried by every derived record: n is its ordinal among that
source record's outputs to that topic. Fields at their default are left out of the JSON.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from marketdata.features import PriceFeatures, RatioFeatures

Src = tuple[int, int, int]
Price = Annotated[float, msgspec.Meta(gt=0, lt=1e12)]
Size = Annotated[float, msgspec.Meta(ge=0, lt=1e15)]
Quotient = Annotated[float, msgspec.Meta(gt=0, lt=1e24)]
"""Of two prices. Sums are exact: a number without bounds, which only a foreign writer can send, would break them."""
Micros = Annotated[int, msgspec.Meta(ge=0, lt=4_102_444_800_000_000)]
"""From 1970 to 2099: a time that no calendar chokes on."""
RatioReason = Literal["no_reference", "stale_reference", "past_horizon", "correction_record"]
"""Why a trade has no ratio: no BTC trade before it, the last one too old, too late, or not a trade itself."""

BandState = Literal["normal", "limit", "paused"]
"""Trading within the bands; a quote standing at one of them; trading paused or halted."""

LateReason = Literal["past_horizon", "no_original"]
"""Why no candle took it: later than the revision horizon, or a cancel whose original is not within it."""


class Record(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", kw_only=True):
    """Base of all records; ``kind`` names the type."""


class Clock(Record, tag="clock", frozen=True, gc=False):
    """All trades with an event time before ``ts`` stand above this record; what comes later is late.

    ``ts`` is a multiple of 50 ms. ``epoch`` names the writer: a reader drops what an older epoch wrote.
    """

    ts: Micros
    epoch: int
    src: Src | None = None


class Trade(Record, tag="trade", frozen=True, gc=False):
    """One trade as the feed reported it.

    ``ts`` is the feed's SIP time at its millisecond; ``size`` is shares or coins, fractions included; ``side``
    is the crypto taker's side (0 unknown, 1 sell, 2 buy); ``correction`` is the vendor's REST code (0 regular,
    10 a cancel record); ``ts_ns`` is REST's nanosecond time where it is known. ``bid`` and ``ask`` are the last quote
    at or before it that ingest had received by then, where quotes are subscribed (QUOTES) and both sides were there.
    """

    symbol: str
    ts: Micros
    received_ts: Micros
    price: Price
    size: Size
    exchange: int
    id: str
    epoch: int
    conditions: tuple[int, ...] = ()
    sequence: int = 0
    trf: int = 0
    trf_ts: int = 0
    tape: int = 0
    side: int = 0
    correction: int = 0
    backfilled: bool = False
    ts_ns: int | None = None
    bid: Price | None = None
    ask: Price | None = None


class Reference(Trade, tag="reference", frozen=True, gc=False):
    """A copy of a reference symbol's trade (BTC-USD), written into every partition of trades.stocks."""

    src: Src | None = None


class Band(Record, tag="band", frozen=True, gc=False):
    """One limit-up limit-down (LULD) event of a stock, as the feed reported it.

    The prices are US dollars, null where none is in force; ``indicators`` are the vendor's numbers, see
    marketdata/bands.py for what each does. ``ts`` is the event's time, its nanoseconds cut off.
    """

    symbol: str
    ts: Micros
    received_ts: Micros
    epoch: int
    limit_up: Price | None
    limit_down: Price | None
    indicators: tuple[int, ...] = ()
    sequence: int = 0
    tape: int = 0
    src: Src | None = None


class Quote(Record, tag="quote", frozen=True, gc=False):
    """The best bid and ask as the feed reported them; a side's price is null where nobody quotes it.

    Sizes are in the vendor's unit. A crossed quote (ask below bid) stands here as it came.
    """

    symbol: str
    ts: Micros
    received_ts: Micros
    bid: Price | None
    bid_size: Size
    ask: Price | None
    ask_size: Size
    epoch: int
    bid_exchange: int = 0
    ask_exchange: int = 0
    conditions: tuple[int, ...] = ()
    indicators: tuple[int, ...] = ()
    sequence: int = 0
    tape: int = 0


class QuoteCopy(Quote, tag="quote_copy", frozen=True, gc=False):
    """A copy of a symbol's last quote before the clock below it, at most one in 250 ms; BTC's in every partition."""


# Not by keyword only: one is made for each trade, and keywords would cost four times as much.
class Ratio(Record, tag="ratio", frozen=True, gc=False, kw_only=False):
    """A stock trade joined with the last BTC trade at or before it.

    ``ratio`` = stock_price / btc_price, per share; null with a ``reason`` where there is no answer.
    ``stock_volume`` is whole shares, ``stock_size`` exact. ``eligible``: the trade forms prices (high, low,
    averages); ``updates_open_close`` and ``updates_volume`` are the other two columns of the sale conditions.
    ``revision`` grows when a back-filled BTC trade changes the answer. ``bid`` and ``ask`` are those of the trade.
    """

    symbol: str
    ts: Micros
    received_ts: Micros
    exchange: int
    id: str
    epoch: int
    stock_price: Price
    stock_size: Size
    stock_volume: int
    eligible: bool
    updates_open_close: bool
    updates_volume: bool
    src: Src
    timestamp_out: Micros
    reference: str | None
    btc_price: Price | None
    btc_ts: int | None
    btc_age_us: int | None
    btc_volume: float | None
    ratio: Quotient | None
    inverse_ratio: Quotient | None
    reason: RatioReason | None
    sequence: int = 0
    trf: int = 0
    correction: int = 0
    revision: int = 0
    bid: Price | None = None
    ask: Price | None = None


# Not by keyword only, as Ratio.
class RatioMark(Record, tag="ratio_mark", frozen=True, gc=False, kw_only=False):
    """What a stock that does not trade is worth while BTC moves: its last price against the newest BTC price.

    As of the clock ``ts``, of price-forming trades before it; ``stock_ts`` and ``btc_ts`` say how old each price is,
    ``ratio`` = stock_price / btc_price. Made at most every 250 ms; ``epoch`` is the clock's.
    """

    symbol: str
    ts: Micros
    epoch: int
    stock_price: Price
    stock_ts: Micros
    reference: str
    btc_price: Price
    btc_ts: Micros
    ratio: Quotient
    inverse_ratio: Quotient
    src: Src
    timestamp_out: Micros


# Not by keyword only, as Ratio.
class RatioMid(Record, tag="ratio_mid", frozen=True, gc=False, kw_only=False):
    """The middle of a stock's quote against BTC's, whether or not either trades.

    As of the clock ``ts``, of quotes before it; ``quote_ts`` and ``btc_ts`` say how old each is. ``btc_mid`` is the
    middle of BTC's quote, or the price of its last trade where it has no quote: ``btc_source`` says which. ``ratio``
    = stock_mid / btc_mid. Made at most every 250 ms; ``epoch`` is the clock's.
    """

    symbol: str
    ts: Micros
    epoch: int
    stock_bid: Price
    stock_ask: Price
    stock_mid: Price
    quote_ts: Micros
    reference: str
    btc_mid: Price
    btc_ts: Micros
    btc_source: Literal["quote", "trade"]
    ratio: Quotient
    inverse_ratio: Quotient
    src: Src
    timestamp_out: Micros


class PriceBlock(msgspec.Struct, frozen=True, gc=False):
    """Prices and volume of one candle; prices are null where no trade formed them.

    ``volume`` is shares or coins; ``tick_count`` counts price-forming trades, ``trade_count`` those that
    count towards volume; ``avg`` is the arithmetic mean, ``vwap`` the mean weighted by size.
    """

    open: float | None
    high: float | None
    low: float | None
    close: float | None
    avg: float | None
    vwap: float | None
    volume: float
    tick_count: int
    trade_count: int


class RatioBlock(msgspec.Struct, frozen=True, gc=False):
    """Stock/BTC ratio of one candle, from price-forming trades that have a ratio.

    ``twap`` weighs each ratio by the time it stood, from the first tick to the end of the candle.
    """

    open: float | None
    high: float | None
    low: float | None
    close: float | None
    avg: float | None
    twap: float | None
    tick_count: int


class Luld(msgspec.Struct, frozen=True, gc=False):
    """The price bands in force at a candle's end, in US dollars, null where none is; ``state`` began at ``since``."""

    limit_up: float | None
    limit_down: float | None
    state: BandState
    since: int


class Candle(Record, tag="candle", frozen=True, gc=False):
    """One candle of [timestamp_in, end); published once, and again with the next ``revision`` after late trades.

    ``latency_ms`` = timestamp_out - end (of a revision: minus the late trade's received_ts). ``ratio`` is null
    where the candle holds no ratio (crypto, or no BTC price). ``hours`` regular holds regular hours alone;
    ``session`` is the part of the exchange's day, up to 15 m. Features: see docs/features.md. ``luld`` is left out
    where no band is known: bands are not subscribed (LULD), or none came since the trading day began.
    """

    symbol: str
    interval: str
    hours: Literal["all", "regular"]
    timestamp_in: int
    end: int
    timestamp_out: int
    latency_ms: float
    revision: int
    price: PriceBlock
    ratio: RatioBlock | None
    src: Src
    session: Literal["pre", "regular", "post"] | None = None
    features: PriceFeatures | None = None
    ratio_features: RatioFeatures | None = None
    luld: Luld | None = None


class FormingRatio(msgspec.Struct, frozen=True, gc=False):
    """The stock/BTC ratio of a candle under way."""

    open: float
    high: float
    low: float
    close: float


# Not by keyword only: one of each interval is made for each record.
class FormingCandle(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A candle of [start, end) under way, as it would be if it closed now; ``vwap`` is the mean weighted by size."""

    interval: str
    start: int
    end: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float
    vwap: float | None
    tick_count: int
    ratio: FormingRatio | None = None
    features: PriceFeatures | None = None
    ratio_features: RatioFeatures | None = None


class LiveCandles(Record, tag="live", frozen=True, gc=False):
    """One symbol's candles under way, of each interval the one that its newest trade, of ``ts``, lies in.

    For screens: sent as trades come, at most every 50 ms. A newer record stands for all older ones, and a restart may
    repeat or leave out some.
    """

    symbol: str
    ts: int
    timestamp_out: int
    candles: tuple[FormingCandle, ...]


class Progress(Record, tag="progress", frozen=True, gc=False):
    """Every candle of this partition and interval that ends at or before ``end`` is out."""

    interval: str
    end: int
    src: Src


class LateTrade(Record, tag="late_trade", frozen=True, gc=False):
    """A trade, cancel or correction that no open candle can take; ``reason`` says why."""

    symbol: str
    ts: int
    received_ts: int
    price: Price
    size: Size
    exchange: int
    id: str
    reason: LateReason
    src: Src
    trf: int = 0
    sequence: int = 0
    correction: int = 0


class Gap(Record, tag="gap", frozen=True, gc=False):
    """A stretch of one cluster's feed that was not received; ``status`` is open, filled or given_up.

    ``trades`` counts those that were fetched afterwards and were new.
    """

    cluster: str
    start: int
    end: int | None
    status: Literal["open", "filled", "given_up"]
    epoch: int
    trades: int = 0


class Lease(Record, tag="lease", frozen=True, gc=False):
    """The word of the ingest that writes; a newer ``epoch`` takes over, ``released`` gives it back at a clean end."""

    holder: str
    epoch: int
    ts: int
    released: bool = False


class DeadLetter(Record, tag="dead_letter", frozen=True, gc=False):
    """What a service could not read: why, the bytes as they came (base64 in JSON), and where they stood."""

    service: str
    reason: str
    raw: bytes
    ts: int
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


RECORDS: Final[tuple[type[Record], ...]] = (
    Clock, Trade, Reference, Band, Quote, QuoteCopy, Ratio, RatioMark, RatioMid, Candle, LiveCandles, Progress,
    LateTrade, Gap, Lease, DeadLetter,
)  # fmt: skip

encode: Final = msgspec.json.Encoder().encode
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)
"""What decoding raises for bytes that are no record: bad JSON, bad UTF-8, nesting without end, no bytes at all."""
