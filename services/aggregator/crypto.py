"""One partition of trades.crypto to candles of crypto pairs."""

from __future__ import annotations

import msgspec

from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook
from marketdata.intake import Intake
from marketdata.join import CORRECTION_RECORDS
from marketdata.records import UNREADABLE, Clock, Trade
from marketdata.ticks import tick_of_trade
from services.aggregator.live import LiveSender
from services.aggregator.processor import CandleProcessor, ReaderMark
from services.aggregator.publisher import Publisher
from streaming.processor import UnreadableError

_decode = msgspec.json.Decoder(Trade | Clock).decode


class CryptoProcessor(CandleProcessor):
    """Reads raw trades and clocks."""

    def __init__(
        self,
        partition: int,
        intake: Intake,
        engine: CandleEngine,
        book: FeatureBook,
        publisher: Publisher,
        *,
        live: LiveSender | None = None,
    ) -> None:
        super().__init__(partition, engine, book, publisher, live=live)
        self._intake = intake

    def reader_mark(self) -> ReaderMark:
        """The clock and the epoch."""
        return ReaderMark(self._intake.clock, self._intake.epoch)

    def resume_reader(self, mark: ReaderMark) -> None:
        """Begin with that clock and epoch; identities come with the trades."""
        self._intake.resume(mark.clock, mark.epoch)

    def process(self, offset: int, value: bytes, now: int) -> bool:
        """Take one record of trades.crypto; see streaming.processor.Processor."""
        try:
            record = _decode(value)
        except UNREADABLE as error:
            raise UnreadableError(f"not a record of trades.crypto: {error}") from error
        if type(record) is Clock:
            return self._intake.accept_clock(record) and self._clock(record.ts, offset, now)
        if type(record) is Trade and self._intake.accept_trade(record):
            self._take(record, offset)
        return False

    def _take(self, trade: Trade, offset: int) -> None:
        tick = tick_of_trade(trade)
        if trade.correction in CORRECTION_RECORDS:
            if self._engine.cancel(trade.symbol, tick, trade.id, trade.received_ts, offset):
                self._changed(trade.symbol, 0, trade.received_ts)
            else:
                self._late(trade, "no_original", offset)
        else:
            self._trade(trade, tick, offset)
