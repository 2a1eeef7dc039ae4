"""One view's part of a track's block of bytes: closes of the price, its trades, closes of the ratio."""

from __future__ import annotations

from math import isnan
from struct import Struct
from typing import Any, Final

from marketdata.features import closes, trades
from marketdata.features.bars import SIDE_SOURCES, FeatureBar
from marketdata.features.blocks import PriceFeatures, RatioFeatures
from marketdata.features.maths import NAN, known, quotient
from marketdata.features.microstructure import imbalance
from marketdata.features.rows import Row, scaled

_TRADES_AT: Final = closes.SIZE
_RATIO_AT: Final = closes.SIZE + trades.SIZE
SIZE: Final = _RATIO_AT + closes.SIZE
EMPTY: Final = closes.EMPTY + trades.EMPTY + closes.EMPTY
_POWERS: Final = closes.POWERS + trades.POWERS + closes.POWERS
_ALL: Final = Struct(f"<{len(_POWERS)}d")
Nulls = list[float | None]
_NULL: Final[Nulls] = [None] * 27


class Shared:
    """What the views of one candle share: its own trades, and windows, where those of both are the same."""

    __slots__ = ("of_trades", "own", "price", "price_bytes", "ratio", "ratio_bytes")

    def __init__(self, bar: FeatureBar, length_us: int) -> None:
        self.own = _own(bar, length_us)
        self.price_bytes = self.ratio_bytes = bytearray()
        self.price: closes.Windows
        self.ratio: closes.Windows
        self.of_trades: list[float | None]


def feed(block: bytearray, at: int, row: Row) -> None:
    """Take the next candle; a price or a ratio without a close counts for nothing."""
    if not isnan(row[6]):
        log_return = closes.feed(block, at, row[0], row[3:7])
        trades.feed(block, at + _TRADES_AT, row[2], row[7:11], log_return)
    if not isnan(row[14]):
        closes.feed(block, at + _RATIO_AT, row[0], row[11:])


def prices(block: bytearray, at: int, bar: FeatureBar, shared: Shared) -> PriceFeatures:
    """The price's features of ``bar``, which was fed last; of its own trades only where it has no close."""
    if bar.close is None:
        span = bar.high / bar.low if bar.high and bar.low else None
        return _published([*_NULL[:13], span, *_NULL[14:]], _NULL[:13], _NULL[:2], bar, shared.own)
    held = block[at + closes.WINDOWS_AT : at + _TRADES_AT + trades.WINDOWS_SIZE]
    if held != shared.price_bytes:
        shared.price_bytes, shared.price = held, closes.Windows(block, at)
        shared.of_trades = trades.of_windows(block, at + _TRADES_AT, shared.price)
    session = trades.of_session(block, at + _TRADES_AT, bar.close)
    return _published(closes.read(block, at, shared.price), shared.of_trades, session, bar, shared.own)


def ratios(block: bytearray, at: int, shared: Shared) -> RatioFeatures:
    """The ratio's features of the candle that was fed last."""
    at += _RATIO_AT
    held = block[at + closes.WINDOWS_AT : at + closes.SIZE]
    if held != shared.ratio_bytes:
        shared.ratio_bytes, shared.ratio = held, closes.Windows(block, at)
    return RatioFeatures(*closes.read(block, at, shared.ratio))


def _own(bar: FeatureBar, length_us: int) -> list[float | None]:
    """What the candle's trades alone tell: sides, their imbalance, trades a second, mean size, spreads of quotes."""
    buy, sell, count = bar.buy, bar.sell, bar.trade_count
    return known((
        buy, sell, buy - sell, imbalance(buy, sell), count * 1e6 / length_us, quotient(bar.volume, count),
        NAN if bar.quoted_spread is None else bar.quoted_spread,
        NAN if bar.effective_spread is None else bar.effective_spread,
    ))  # fmt: skip


def _published(moving: Nulls, of_trades: Nulls, session: Nulls, bar: FeatureBar, own: Nulls) -> PriceFeatures:
    """All values in the order of PriceFeatures."""
    values: list[Any] = [
        *moving[:11], *of_trades[:6], *session, *of_trades[6:11], *own[:4], SIDE_SOURCES[bar.side_source],
        *moving[11:17], *own[4:6], *of_trades[11:], *moving[17:19], *own[6:], *moving[19:],
    ]  # fmt: skip
    return PriceFeatures(*values)


def adjusted(block: bytes | bytearray, factor: float) -> bytes:
    """One view's part, with prices times ``factor`` and sizes divided by it."""
    return _ALL.pack(*scaled(_ALL.unpack(block), _POWERS, factor))
