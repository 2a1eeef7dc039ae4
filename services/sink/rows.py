"""One record as one line of COPY text; what a column could not hold is refused here, before the database sees it."""

from __future__ import annotations

from typing import Final

from marketdata.records import Candle, Ratio, RatioBlock, Src
from services.sink.copytext import NULL, flag, number, optional_text, optional_timestamp, text, timestamp

PROMISED_SYMBOL: Final = 10  # VARCHAR(10), promised to users
LONGEST_KEY: Final = 64  # of a text in a key: an index entry has room for 2,700 bytes
LONGEST_TEXT: Final = 1_000
EARLIEST_US: Final = 631_152_000_000_000  # 1990: every day seen becomes a partition, so nonsense stops here
LATEST_US: Final = 4_102_444_800_000_000  # 2100
INT_MAX: Final = 2**31 - 1
BIGINT_MAX: Final = 2**63 - 1


class BadRowError(ValueError):
    """A readable record whose values do not fit the table; the message says which."""


def tick_line(r: Ratio) -> str:
    """The row of ratio_ticks_live; columns as in ``tables.TICKS``.

    Raises:
        ValueError: a value does not fit its column.
    """
    _promised_symbol(r.symbol)
    _within("id", len(r.id), LONGEST_KEY)
    _times(r.ts, r.received_ts, r.timestamp_out, r.ts if r.btc_ts is None else r.btc_ts)
    _within("exchange, trf or revision", max(r.exchange, r.trf, r.revision), INT_MAX)
    _positive("exchange, trf or revision", min(r.exchange, r.trf, r.revision))
    _within("volume, sequence or age", max(abs(r.stock_volume), abs(r.sequence), abs(r.btc_age_us or 0)), BIGINT_MAX)
    _within("reason or reference", max(len(r.reason or ""), len(r.reference or "")), LONGEST_TEXT)
    src = r.src
    return (
        f"{timestamp(r.ts)}\t{text(r.symbol)}\t{number(r.btc_price)}\t{r.stock_price!r}\t{number(r.ratio)}\t"
        f"{number(r.btc_volume)}\t{r.stock_volume}\t{r.exchange}\t{r.trf}\t{text(r.id)}\t{r.sequence}\t"
        f"{r.stock_size!r}\t{flag(r.eligible)}\t{flag(r.updates_open_close)}\t{flag(r.updates_volume)}\t"
        f"{number(r.inverse_ratio)}\t{optional_text(r.reason)}\t{optional_text(r.reference)}\t"
        f"{optional_timestamp(r.btc_ts)}\t{number(r.btc_age_us)}\t{timestamp(r.received_ts)}\t"
        f"{timestamp(r.timestamp_out)}\t{r.revision}\t{src[0]}\t{src[1]}\t{src[2]}\n"
    )


def aggregate_line(c: Candle, ratio: RatioBlock) -> str:
    """The row of ratio_aggregates_500ms; columns as in ``tables.AGGREGATES``.

    Raises:
        ValueError: a value does not fit its column.
    """
    _promised_symbol(c.symbol)
    src = c.src
    return (
        f"{timestamp(c.timestamp_in)}\t{text(c.symbol)}\t{number(ratio.open)}\t{number(ratio.high)}\t"
        f"{number(ratio.low)}\t{number(ratio.close)}\t{number(ratio.avg)}\t{ratio.tick_count}\t{number(ratio.twap)}\t"
        f"{c.revision}\t{timestamp(c.timestamp_out)}\t{src[0]}\t{src[1]}\t{src[2]}\n"
    )


def candle_line(c: Candle, market: str) -> str:
    """The row of candles; columns as in ``tables.CANDLES``.

    Raises:
        ValueError: a value does not fit its column.
    """
    p, src = c.price, c.src
    _within("symbol, interval or hours", max(len(c.symbol), len(c.interval), len(c.hours)), LONGEST_KEY)
    _times(c.timestamp_in, c.end, c.timestamp_out)
    counts = (p.tick_count, p.trade_count, c.revision, c.ratio.tick_count if c.ratio else 0)
    _within("count or revision", max(counts), INT_MAX)
    _positive("count or revision", min(counts))
    return (
        f"{text(c.symbol)}\t{text(c.interval)}\t{text(c.hours)}\t{timestamp(c.timestamp_in)}\t{timestamp(c.end)}\t"
        f"{text(market)}\t{number(p.open)}\t{number(p.high)}\t{number(p.low)}\t{number(p.close)}\t{number(p.avg)}\t"
        f"{number(p.vwap)}\t{p.volume!r}\t{p.tick_count}\t{p.trade_count}\t{_ratio(c.ratio)}\t{c.revision}\t"
        f"{timestamp(c.timestamp_out)}\t{c.latency_ms!r}\t{src[0]}\t{src[1]}\t{src[2]}\n"
    )


def _ratio(r: RatioBlock | None) -> str:
    if r is None:
        return "\t".join([NULL] * 7)
    return (
        f"{number(r.open)}\t{number(r.high)}\t{number(r.low)}\t{number(r.close)}\t{number(r.avg)}\t{number(r.twap)}\t"
        f"{r.tick_count}"
    )


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
