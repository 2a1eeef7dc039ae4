"""Records as the ticks that candles are made of."""

from __future__ import annotations

from marketdata.bar import Tick
from marketdata.order import id_key
from marketdata.records import Ratio, Trade


def tick_of_ratio(record: Ratio) -> Tick:
    """The stock trade of a ratio record, with its ratio."""
    return Tick(
        record.ts, record.sequence, record.exchange, id_key(record.id), record.trf, record.stock_price,
        record.stock_size, record.eligible, record.updates_open_close, record.updates_volume, record.ratio,
    )  # fmt: skip


def tick_of_trade(trade: Trade) -> Tick:
    """A trade of a crypto pair: each forms prices and counts towards volume."""
    return Tick(
        trade.ts, trade.sequence, trade.exchange, id_key(trade.id), trade.trf, trade.price, trade.size,
        high_low=True, open_close=True, volume=True, ratio=None, side=trade.side,
    )  # fmt: skip
