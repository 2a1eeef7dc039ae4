"""One partition of ratios to candles of stocks: price and ratio in one record."""

from __future__ import annotations

from typing import Final

import msgspec

from marketdata.bar import Tick
from marketdata.candles import CandleEngine
from marketdata.join import CORRECTION_RECORDS
from marketdata.order import id_key
from marketdata.records import UNREADABLE, Clock, LateReason, LateTrade, Ratio
from services.aggregator.publisher import Publisher
from streaming.reader import SrcFilter
from streaming.stage import UnreadableError

_REFERENCE: Final = b'{"kind":"reference"'
_decode = msgspec.json.Decoder(Ratio | Clock).decode


class StocksProcessor:
    """Reads ratio records and clocks under the reader's rule; the BTC copies among them are for others."""

    def __init__(self, topic: str, partition: int, engine: CandleEngine, publisher: Publisher) -> None:
        self._topic = topic
        self._partition = partition
        self._engine = engine
        self._publisher = publisher
        self._rule = SrcFilter()

    def process(self, offset: int, value: bytes, now: int) -> None:
        """Take one record of ratios; see streaming.stage.Processor."""
        if value is not None and value.startswith(_REFERENCE):
            return
        try:
            record = _decode(value)
        except UNREADABLE as error:
            raise UnreadableError(f"not a record of ratios: {error}") from error
        if record.src is None:
            raise UnreadableError("a record of ratios without src")
        if not self._rule.accept(self._topic, self._partition, record.src):
            return
        if type(record) is Ratio:
            self._ratio(record, offset)
        else:
            self._publisher.advance(self._engine, offset, record.ts, now)

    def after_run(self, now: int) -> None:
        """See streaming.stage.Processor."""
        self._publisher.after_run(now)

    def _ratio(self, record: Ratio, offset: int) -> None:
        tick = Tick(
            record.ts, record.sequence, record.exchange, id_key(record.id), record.trf, record.stock_price,
            record.stock_size, record.eligible, record.updates_open_close, record.updates_volume, record.ratio,
        )  # fmt: skip
        if record.correction in CORRECTION_RECORDS:
            taken = self._engine.cancel(record.symbol, tick, record.id, record.received_ts)
            reason: LateReason = "no_original"
        else:
            taken = self._engine.add(record.symbol, tick, record.received_ts)
            reason = "past_horizon"
        if not taken:
            self._publisher.late(_late(record, reason, (self._partition, offset, 0)))


def _late(record: Ratio, reason: LateReason, src: tuple[int, int, int]) -> LateTrade:
    return LateTrade(
        symbol=record.symbol,
        ts=record.ts,
        received_ts=record.received_ts,
        price=record.stock_price,
        size=record.stock_size,
        exchange=record.exchange,
        id=record.id,
        reason=reason,
        src=src,
        trf=record.trf,
        sequence=record.sequence,
        correction=record.correction,
    )
