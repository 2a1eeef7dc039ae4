"""One partition of trades.crypto to candles of crypto pairs."""

from __future__ import annotations

import msgspec

from marketdata.bar import Tick
from marketdata.candles import CandleEngine
from marketdata.intake import Intake
from marketdata.order import id_key
from marketdata.records import UNREADABLE, Clock, LateTrade, Trade
from services.aggregator.publisher import Publisher
from streaming.stage import UnreadableError

_decode = msgspec.json.Decoder(Trade | Clock).decode


class CryptoProcessor:
    """Reads raw trades and clocks; every crypto trade forms prices and counts towards volume."""

    def __init__(self, partition: int, intake: Intake, engine: CandleEngine, publisher: Publisher) -> None:
        self._partition = partition
        self._intake = intake
        self._engine = engine
        self._publisher = publisher

    def process(self, offset: int, value: bytes, now: int) -> None:
        """Take one record of trades.crypto; see streaming.stage.Processor."""
        try:
            record = _decode(value)
        except UNREADABLE as error:
            raise UnreadableError(f"not a record of trades.crypto: {error}") from error
        if type(record) is Clock:
            if self._intake.accept_clock(record):
                self._publisher.advance(self._engine, offset, record.ts, now)
        elif type(record) is Trade and self._intake.accept_trade(record):
            self._trade(record, offset)

    def after_run(self, now: int) -> None:
        """See streaming.stage.Processor."""
        self._publisher.after_run(now)

    def _trade(self, trade: Trade, offset: int) -> None:
        tick = Tick(
            trade.ts, trade.sequence, trade.exchange, id_key(trade.id), trade.trf, trade.price, trade.size,
            high_low=True, open_close=True, volume=True, ratio=None,
        )  # fmt: skip
        if not self._engine.add(trade.symbol, tick, trade.received_ts):
            self._publisher.late(_late(trade, (self._partition, offset, 0)))


def _late(trade: Trade, src: tuple[int, int, int]) -> LateTrade:
    return LateTrade(
        symbol=trade.symbol,
        ts=trade.ts,
        received_ts=trade.received_ts,
        price=trade.price,
        size=trade.size,
        exchange=trade.exchange,
        id=trade.id,
        reason="past_horizon",
        src=src,
        trf=trade.trf,
        sequence=trade.sequence,
        correction=trade.correction,
    )
