"""One partition of ratios to candles of stocks: price and ratio in one record."""

from __future__ import annotations

from typing import Final

import msgspec

from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook
from marketdata.join import CORRECTION_RECORDS
from marketdata.records import UNREADABLE, Band, Clock, Ratio
from marketdata.ticks import tick_of_ratio
from services.aggregator.live import LiveSender
from services.aggregator.processor import CandleProcessor, ReaderMark
from services.aggregator.publisher import Publisher
from streaming.processor import UnreadableError
from streaming.reader import SrcRule

_REFERENCE: Final = b'{"kind":"reference"'
_decode = msgspec.json.Decoder(Ratio | Clock | Band).decode


class StocksProcessor(CandleProcessor):
    """Reads ratio records, clocks and price bands under the reader's rule; the BTC copies are for others."""

    def __init__(
        self,
        partition: int,
        engine: CandleEngine,
        book: FeatureBook,
        publisher: Publisher,
        *,
        live: LiveSender | None = None,
    ) -> None:
        super().__init__(partition, engine, book, publisher, live=live)
        self._rule = SrcRule()

    def reader_mark(self) -> ReaderMark:
        """The clock and the last src accepted."""
        return ReaderMark(self._engine.clock, src=self._rule.last)

    def resume_reader(self, mark: ReaderMark) -> None:
        """Begin after that src."""
        self._rule = SrcRule(mark.src)

    def process(self, offset: int, value: bytes, now: int) -> bool:
        """Take one record of ratios; see streaming.processor.Processor."""
        if value is not None and value.startswith(_REFERENCE):
            return False
        try:
            record = _decode(value)
        except UNREADABLE as error:
            raise UnreadableError(f"not a record of ratios: {error}") from error
        if record.src is None:
            raise UnreadableError("a record of ratios without src")
        if not self._rule.accept(record.src):
            return False
        if type(record) is Ratio:
            if record.correction or record.revision:
                self._change(record, offset)
            else:
                self._trade(record, tick_of_ratio(record), offset)
        elif type(record) is Clock:
            return self._clock(record.ts, offset, now)
        elif type(record) is Band and not self._engine.refilling:  # those read again are in the snapshot
            self._publisher.bands.add(record, self._engine.oldest)
        return False

    def _change(self, record: Ratio, offset: int) -> None:
        tick = tick_of_ratio(record)
        if record.revision:  # of a trade that may have been cancelled meanwhile
            if self._engine.revise(record.symbol, tick, record.timestamp_out):
                self._changed(record.symbol, tick.ts, record.timestamp_out)
        elif record.correction in CORRECTION_RECORDS:
            if self._engine.cancel(record.symbol, tick, record.id, record.received_ts, offset):
                self._changed(record.symbol, 0, record.received_ts)
            else:
                self._late(record, "no_original", offset)
        else:
            self._trade(record, tick, offset)
