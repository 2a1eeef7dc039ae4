"""Records as the ticks that candles are made of."""

from __future__ import annotations

from marketdata.bar import Tick
from marketdata.records import Ratio, Trade


def tick_of_ratio(record: Ratio) -> Tick:
    """The stock trade of a ratio record, with its ratio."""
    quote = None if record.bid is None else _quote(record.bid, record.ask)
    return Tick(
        record.ts, record.sequence, record.exchange, record.id, record.trf, record.stock_price,
        record.stock_size, record.eligible, record.updates_open_close, record.updates_volume, record.ratio, 0, quote,
    )  # fmt: skip


def tick_of_trade(trade: Trade) -> Tick:
    """A trade of a crypto pair: each forms prices and counts towards volume."""
    return Tick(
        trade.ts, trade.sequence, trade.exchange, trade.id, trade.trf, trade.price, trade.size,
        high_low=True, open_close=True, volume=True, ratio=None, side=trade.side,
        quote=None if trade.bid is None else _quote(trade.bid, trade.ask),
    )  # fmt: skip


def _quote(bid: float, ask: float | None) -> tuple[float, float] | None:
    """Bid and ask; a crossed quote tells nothing."""
    return None if ask is None or ask < bid else (bid, ask)
