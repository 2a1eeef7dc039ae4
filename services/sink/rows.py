"""One record as one row for COPY; what a column could not hold is refused here, before the database sees it."""

from __future__ import annotations

import hashlib
from typing import Final, NoReturn

import msgspec

from marketdata.features import PriceFeatures, RatioFeatures
from marketdata.records import Candle, DeadLetter, Gap, LateTrade, Luld, Quote, Ratio, RatioBlock, Src
from services.sink.copytext import Value, is_plain, line, plain_line, timestamp

PROMISED_SYMBOL: Final = 10  # VARCHAR(10), promised to users
LONGEST_KEY: Final = 64  # of a text in a key: an index entry has room for 2,700 bytes
LONGEST_NAME: Final = 249  # of a topic: Kafka allows no more
LONGEST_TEXT: Final = 1_000
EARLIEST_US: Final = 631_152_000_000_000  # 1990: every day seen becomes a partition, so nonsense stops here
LATEST_US: Final = 4_102_444_800_000_000  # 2100
INT_MAX: Final = 2**31 - 1
BIGINT_MAX: Final = 2**63 - 1
_NO_PRICE: Final = (None,) * len(PriceFeatures.__struct_fields__)
_NO_RATIO: Final = (None,) * len(RatioFeatures.__struct_fields__)
_NO_LULD: Final = (None,) * 4


class BadRowError(ValueError):
    """A readable record whose values do not fit the table; the message says which."""


def tick_line(r: Ratio) -> bytes:
    """The row of ratio_ticks_live; columns as in ``tables.TICKS``.

    Raises:
        ValueError: a value does not fit its column.
    """
    if not _tick_fits(r):
        _explain_tick(r)
    return (plain_line if _is_plain_tick(r) else line)((
        timestamp(r.ts), r.symbol, r.btc_price, r.stock_price, r.ratio, r.btc_volume, r.stock_volume, r.exchange,
        r.trf, r.id, r.sequence, r.stock_size, r.eligible, r.updates_open_close, r.updates_volume, r.inverse_ratio,
        r.reason, r.reference, None if r.btc_ts is None else timestamp(r.btc_ts), r.btc_age_us,
        timestamp(r.received_ts), timestamp(r.timestamp_out), r.revision, *r.src,
    ))  # fmt: skip


def _is_plain_tick(r: Ratio) -> bool:
    plain_id = r.id.isalnum() and r.id != "null"  # each is another one: no place for a cache
    return plain_id and is_plain(r.symbol) and (r.reference is None or is_plain(r.reference))


def _tick_fits(r: Ratio) -> bool:
    """All of ``_explain_tick`` in one expression: it stands in the way of every row."""
    return (
        len(r.symbol) <= PROMISED_SYMBOL
        and len(r.id) <= LONGEST_KEY
        and EARLIEST_US <= r.ts < LATEST_US
        and EARLIEST_US <= r.received_ts < LATEST_US
        and EARLIEST_US <= r.timestamp_out < LATEST_US
        and (r.btc_ts is None or EARLIEST_US <= r.btc_ts < LATEST_US)
        and 0 <= r.exchange <= INT_MAX
        and 0 <= r.trf <= INT_MAX
        and 0 <= r.revision <= INT_MAX
        and -BIGINT_MAX <= r.stock_volume <= BIGINT_MAX
        and -BIGINT_MAX <= r.sequence <= BIGINT_MAX
        and (r.btc_age_us is None or -BIGINT_MAX <= r.btc_age_us <= BIGINT_MAX)
        and (r.reference is None or len(r.reference) <= LONGEST_TEXT)
    )


def _explain_tick(r: Ratio) -> NoReturn:
    _promised_symbol(r.symbol)
    _within("id", len(r.id), LONGEST_KEY)
    _times(r.ts, r.received_ts, r.timestamp_out, r.ts if r.btc_ts is None else r.btc_ts)
    _within("exchange, trf or revision", max(r.exchange, r.trf, r.revision), INT_MAX)
    _positive("exchange, trf or revision", min(r.exchange, r.trf, r.revision))
    raise BadRowError("stock_volume, sequence, btc_age_us or reference does not fit its column")


def aggregate_line(c: Candle, ratio: RatioBlock) -> bytes:
    """The row of ratio_aggregates_500ms, of a candle that ``candle_line`` took; columns as in ``tables.AGGREGATES``.

    Raises:
        ValueError: a value does not fit its column.
    """
    _promised_symbol(c.symbol)
    return (plain_line if is_plain(c.symbol) else line)((
        timestamp(c.timestamp_in), c.symbol, ratio.open, ratio.high, ratio.low, ratio.close, ratio.avg,
        ratio.tick_count, ratio.twap, c.revision, timestamp(c.timestamp_out), *c.src,
    ))  # fmt: skip


def candle_line(c: Candle, market: str) -> bytes:
    """The row of candles; columns as in ``tables.CANDLES``.

    Raises:
        ValueError: a value does not fit its column.
    """
    if not _candle_fits(c):
        _explain_candle(c)
    p = c.price
    return (plain_line if is_plain(c.symbol) and is_plain(c.interval) else line)((
        c.symbol, c.interval, c.hours, timestamp(c.timestamp_in), timestamp(c.end), market,
        p.open, p.high, p.low, p.close, p.avg, p.vwap, p.volume, p.tick_count, p.trade_count, *_ratio(c.ratio),
        c.session, *(_NO_LULD if c.luld is None else _luld(c.luld)), c.revision, timestamp(c.timestamp_out),
        c.latency_ms, *c.src,
    ))  # fmt: skip


def _candle_fits(c: Candle) -> bool:
    """All of ``_explain_candle`` in one expression, as for a tick."""
    return (
        len(c.symbol) <= LONGEST_KEY
        and len(c.interval) <= LONGEST_KEY
        and EARLIEST_US <= c.timestamp_in < LATEST_US
        and EARLIEST_US <= c.end < LATEST_US
        and EARLIEST_US <= c.timestamp_out < LATEST_US
        and 0 <= c.price.tick_count <= INT_MAX
        and 0 <= c.price.trade_count <= INT_MAX
        and 0 <= c.revision <= INT_MAX
        and (c.ratio is None or 0 <= c.ratio.tick_count <= INT_MAX)
    )


def _explain_candle(c: Candle) -> NoReturn:
    _within("symbol or interval", max(len(c.symbol), len(c.interval)), LONGEST_KEY)
    _times(c.timestamp_in, c.end, c.timestamp_out)
    counts = (c.price.tick_count, c.price.trade_count, c.revision, c.ratio.tick_count if c.ratio else 0)
    _within("count or revision", max(counts), INT_MAX)
    _positive("count or revision", min(counts))
    raise AssertionError("a candle that fits and does not")


def _luld(bands: Luld) -> tuple[Value, ...]:
    _times(bands.since)
    return (bands.limit_up, bands.limit_down, bands.state, timestamp(bands.since))


def feature_line(c: Candle, market: str) -> bytes:
    """The row of features, of a candle that ``candle_line`` took and that has some; as in ``tables.FEATURES``."""
    return (plain_line if is_plain(c.symbol) and is_plain(c.interval) else line)((
        c.symbol, c.interval, c.hours, timestamp(c.timestamp_in), market, c.revision,
        timestamp(c.timestamp_out),
        *(_NO_PRICE if c.features is None else msgspec.structs.astuple(c.features)),
        *(_NO_RATIO if c.ratio_features is None else msgspec.structs.astuple(c.ratio_features)),
    ))  # fmt: skip


def _ratio(r: RatioBlock | None) -> tuple[Value, ...]:
    if r is None:
        return (None,) * 7
    return (r.open, r.high, r.low, r.close, r.avg, r.twap, r.tick_count)


def late_line(t: LateTrade, market: str) -> bytes:
    """The row of late_trades; columns as in ``tables.LATE``.

    Raises:
        ValueError: a value does not fit its column.
    """
    _within("symbol or id", max(len(t.symbol), len(t.id)), LONGEST_KEY)
    _times(t.ts, t.received_ts)
    small = (t.exchange, t.trf, t.correction)
    _within("exchange, trf or correction", max(small), INT_MAX)
    _positive("exchange, trf or correction", min(small))
    _within("sequence", abs(t.sequence), BIGINT_MAX)
    return line((
        timestamp(t.ts), t.symbol, market, t.price, t.size, t.exchange, t.trf, t.id, t.sequence, t.correction,
        t.reason, timestamp(t.received_ts), *t.src,
    ))  # fmt: skip


def quote_line(q: Quote, market: str, partition: int, offset: int) -> bytes:
    """The row of quotes, of one that stands at ``offset`` of its topic; columns as in ``tables.QUOTES``.

    Raises:
        ValueError: a value does not fit its column.
    """
    _within("symbol", len(q.symbol), LONGEST_KEY)
    _times(q.ts, q.received_ts)
    small = (q.bid_exchange, q.ask_exchange, q.tape, *q.conditions, *q.indicators)
    _within("exchange, condition, indicator or tape", max(small), INT_MAX)
    _positive("exchange, condition, indicator or tape", min(small))
    _within("conditions or indicators", max(len(q.conditions), len(q.indicators)), LONGEST_TEXT)
    _within("sequence", abs(q.sequence), BIGINT_MAX)
    return line((
        timestamp(q.ts), q.symbol, market, q.bid, q.bid_size, q.ask, q.ask_size, q.bid_exchange, q.ask_exchange,
        _array(q.conditions), _array(q.indicators), q.sequence, q.tape, timestamp(q.received_ts), partition, offset,
    ))  # fmt: skip


def _array(numbers: tuple[int, ...]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def gap_line(g: Gap, offset: int) -> bytes:
    """The row of feed_gaps, told at ``offset`` of its topic; columns as in ``tables.GAPS``.

    Raises:
        ValueError: a value does not fit its column.
    """
    _within("cluster", len(g.cluster), LONGEST_KEY)
    _times(g.start, g.start if g.end is None else g.end)
    _within("trades or epoch", max(g.trades, g.epoch), BIGINT_MAX)
    _positive("trades or epoch", min(g.trades, g.epoch))
    return line((g.cluster, timestamp(g.start), None if g.end is None else timestamp(g.end), g.status, g.trades,
                 g.epoch, offset))  # fmt: skip


def letter_line(d: DeadLetter, topic: str, partition: int, offset: int) -> bytes:
    """The row of dead_letters, for a letter that stands at ``offset`` of its own topic.

    A letter that does not say where the unreadable bytes stood (a frame of the feed stood nowhere) is told by its own
    place. The digest keeps a letter of a log made anew apart from the one that stood at the same place before.

    Raises:
        ValueError: a value does not fit its column.
    """
    placed = (d.topic, d.partition, d.offset)
    place = (topic, partition, offset) if None in placed else placed
    _within("service or topic", max(len(d.service), len(str(place[0]))), LONGEST_NAME)
    _within("partition", abs(place[1] or 0), INT_MAX)
    _within("offset", abs(place[2] or 0), BIGINT_MAX)
    _times(d.ts)
    reason = d.reason[:LONGEST_TEXT].replace("\0", "\ufffd")
    digest = hashlib.sha256(d.raw).hexdigest()[:16]
    return line((d.service, *place, digest, reason, "\\x" + d.raw.hex(), timestamp(d.ts), offset))


def check_src(src: Src) -> None:
    """Raise BadRowError unless ``src`` fits its three columns."""
    partition, offset, n = src
    if not (0 <= partition <= INT_MAX and 0 <= offset <= BIGINT_MAX and 0 <= n <= INT_MAX):
        raise BadRowError(f"src {src} is out of range")


def _promised_symbol(symbol: str) -> None:
    if len(symbol) > PROMISED_SYMBOL:
        raise BadRowError(f"symbol of {len(symbol)} characters, the promised column holds {PROMISED_SYMBOL}")


def _times(*times: int) -> None:
    if min(times) < EARLIEST_US or max(times) >= LATEST_US:
        raise BadRowError("a time outside the years 1990 to 2099: times are microseconds since the epoch")


def _within(what: str, value: int, limit: int) -> None:
    if value > limit:
        raise BadRowError(f"{what} of {value}, the column holds {limit}")


def _positive(what: str, value: int) -> None:
    if value < 0:
        raise BadRowError(f"{what} below 0")
