"""One view's part of a track's block of bytes: closes of the price, its trades, closes of the ratio."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from marketdata.features import closes, trades
from marketdata.features.bars import SIDE_SOURCES, FeatureBar
from marketdata.features.blocks import PriceFeatures, RatioFeatures
from marketdata.features.maths import NAN, known
from marketdata.features.microstructure import imbalance
from marketdata.features.rows import Row, scaled

_TRADES_AT: Final = closes.SIZE
_RATIO_AT: Final = closes.SIZE + trades.SIZE
SIZE: Final = _RATIO_AT + closes.SIZE
EMPTY: Final = closes.EMPTY + trades.EMPTY + closes.EMPTY
_POWERS: Final = closes.POWERS + trades.POWERS + closes.POWERS
_ALL: Final = Struct(f"<{len(_POWERS)}d")
_NULL: Final = (NAN,) * 28


class Shared:
    """Windows of the view read last, with what they gave: another view may have the same."""

    __slots__ = ("of_trades", "price", "price_bytes", "ratio", "ratio_bytes")

    def __init__(self) -> None:
        self.price_bytes = self.ratio_bytes = bytearray()
        self.price: closes.Windows
        self.ratio: closes.Windows
        self.of_trades: tuple[float, ...]


def feed(block: bytearray, at: int, row: Row) -> None:
    """Take the next candle; a price or a ratio without a close counts for nothing."""
    start, _, session, first, high, low, close, *sizes, ratio_first, ratio_high, ratio_low, ratio_close = row
    if close == close:  # not NaN
        closes.feed(block, at, start, first, high, low, close)
        trades.feed(block, at + _TRADES_AT, session, sizes)
    if ratio_close == ratio_close:
        closes.feed(block, at + _RATIO_AT, start, ratio_first, ratio_high, ratio_low, ratio_close)


def prices(block: bytearray, at: int, bar: FeatureBar, length_us: int, shared: Shared) -> PriceFeatures:
    """The price's features of ``bar``, which was fed last; of its own trades only where it has no close."""
    if bar.close is None:
        moving, own = _NULL[:27], bar.high / bar.low if bar.high and bar.low else NAN
        return _published((*moving[:13], own, *moving[14:]), _NULL[:13], (NAN, NAN), bar, length_us)
    held = block[at + closes.WINDOWS_AT : at + _TRADES_AT + trades.WINDOWS_SIZE]
    if held != shared.price_bytes:
        shared.price_bytes, shared.price = held, closes.Windows(block, at)
        shared.of_trades = trades.of_windows(block, at + _TRADES_AT, shared.price)
    moving = closes.read(block, at, shared.price)
    session = trades.of_session(block, at + _TRADES_AT, bar.close)
    return _published(moving, shared.of_trades, session, bar, length_us)


def ratios(block: bytearray, at: int, shared: Shared) -> RatioFeatures:
    """The ratio's features of the candle that was fed last."""
    at += _RATIO_AT
    held = block[at + closes.WINDOWS_AT : at + closes.SIZE]
    if held != shared.ratio_bytes:
        shared.ratio_bytes, shared.ratio = held, closes.Windows(block, at)
    return RatioFeatures(*known(closes.read(block, at, shared.ratio)))


def _published(
    moving: tuple[float, ...], of_trades: tuple[float, ...], session: tuple[float, float], bar: FeatureBar, length: int
) -> PriceFeatures:
    """All values in the order of PriceFeatures."""
    buy, sell, count = bar.buy, bar.sell, bar.trade_count
    before = (*moving[:11], *of_trades[:6], *session, *of_trades[6:11], buy, sell, buy - sell, imbalance(buy, sell))
    size = bar.volume / count if count else NAN
    after = (*moving[11:17], count * 1e6 / length, size, *of_trades[11:], *moving[17:19],
             NAN if bar.quoted_spread is None else bar.quoted_spread,
             NAN if bar.effective_spread is None else bar.effective_spread, *moving[19:])  # fmt: skip
    return PriceFeatures(*known(before), SIDE_SOURCES[bar.side_source], *known(after))  # type: ignore[arg-type]


def adjusted(block: bytes | bytearray, factor: float) -> bytes:
    """One view's part, with prices times ``factor`` and sizes divided by it."""
    return _ALL.pack(*scaled(_ALL.unpack(block), _POWERS, factor))
