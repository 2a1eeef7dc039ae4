"""What stocks and crypto pairs have in common: trades into the engine, clocks to the publisher, and snapshots."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Final

import msgspec

from marketdata.bar import Tick
from marketdata.candle_state import EngineMark, SymbolState, decode_state, encode_state
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook
from marketdata.records import LateReason, LateTrade, Ratio, Src, Trade, encode
from marketdata.rewind import Rewind
from marketdata.units import SECOND_US
from services.aggregator.live import LiveSender
from services.aggregator.publisher import Publisher
from streaming.snapshots import Capture, Snapshot


class ReaderMark(msgspec.Struct, frozen=True):
    """What the reader of an input knew where re-reading begins: the clock, and the epoch or the last src accepted.

    ``oldest``: trades with an event time before it are in the symbols' states.
    """

    clock: int = 0
    epoch: int = 0
    src: Src | None = None
    oldest: int = 0


WARMED_A_CLOCK: Final = 20
"""Histories of features made at each clock after a restart: 400 a second, so that none holds up the others."""
_decode_mark = msgspec.json.Decoder(ReaderMark).decode


class CandleProcessor:
    """One partition's candles; the input's own reading is in the two classes made from this one."""

    def __init__(
        self,
        partition: int,
        engine: CandleEngine,
        book: FeatureBook,
        publisher: Publisher,
        *,
        live: LiveSender | None = None,
    ) -> None:
        self._partition = partition
        self._engine = engine
        self._book = book
        self._publisher = publisher
        self._live = live
        self._rewind = Rewind(ReaderMark())
        self._noted = 0
        self._closing: Generator[None, int] | None = None

    def reader_mark(self) -> ReaderMark:
        """What the reader knows here."""
        raise NotImplementedError

    def resume_reader(self, mark: ReaderMark) -> None:
        """Begin where ``mark`` was taken."""
        raise NotImplementedError

    @property
    def clock(self) -> int:
        """See streaming.processor.Processor."""
        return self._engine.clock

    def after_run(self, now: int) -> None:
        """See streaming.processor.Processor."""
        self._publisher.after_run(now)
        if self._live is not None:
            self._live.send(now)

    def capture(self) -> Capture:
        """See streaming.processor.Processor."""
        oldest = self._engine.oldest
        mark = self._rewind.since(oldest)
        bands = self._publisher.bands
        captured = self._engine.capture(self._book.take_adjusted() | bands.take_changed())
        states: dict[str, bytes | None] = {}
        for symbol, features in self._book.states(captured):
            state = captured[symbol]
            held = bands.state(symbol)
            if features or held:
                state = msgspec.structs.replace(state or SymbolState(), features=features, bands=held)
            states[symbol] = None if state is None else encode_state(state)
        reader = msgspec.structs.replace(mark.state, oldest=oldest)
        return Capture(mark.offset, mark.newest, encode(reader), states)

    def restore(self, snapshot: Snapshot) -> None:
        """See streaming.processor.Processor."""
        mark = _decode_mark(snapshot.mark)
        self._rewind = Rewind(mark, snapshot.begin, snapshot.newest)
        self.resume_reader(mark)
        states = {symbol: decode_state(state) for symbol, state in snapshot.states.items()}
        self._engine.restore(EngineMark(mark.clock, mark.oldest), states)
        self._book.restore({symbol: state.features for symbol, state in states.items() if state.features})
        self._publisher.bands.restore((symbol, state.bands) for symbol, state in states.items())

    def restored(self) -> None:
        """See streaming.processor.Processor."""
        self._engine.restored()
        self._book.restored()
        if self._live is not None:
            self._live.begin()

    @property
    def postponed(self) -> bool:
        """See streaming.processor.Processor: when the last clock closed candles, all but those of up to a second."""
        return self._closing is not None

    def finish(self, now: int) -> None:
        """See streaming.processor.Processor."""
        closing, self._closing = self._closing, None
        if closing is not None:
            with suppress(StopIteration):
                closing.send(now)

    def _clock(self, clock: int, offset: int, now: int) -> bool:
        closing = self._advance(clock, offset, now)
        with suppress(StopIteration):
            next(closing)
            self._closing = closing
        return True

    def _advance(self, clock: int, offset: int, now: int) -> Generator[None, int]:
        if self._engine.refilling:
            self._engine.skip(clock)
        else:
            yield from self._publisher.advance(self._engine, offset, clock, now)
            self._book.warm(WARMED_A_CLOCK)
        if clock - self._noted >= SECOND_US:
            self._noted = clock
            self._rewind.note(offset + 1, self.reader_mark())

    def _trade(self, record: Trade | Ratio, tick: Tick, offset: int) -> None:
        """Let the candles take the trade of ``record``."""
        ts, rewind = tick.ts, self._rewind
        if ts > rewind.newest:
            rewind.newest = ts
        if not self._engine.add(record.symbol, tick, record.received_ts):
            self._late(record, "past_horizon", offset)
        elif self._live is not None:
            self._live.changed(record.symbol, ts, record.received_ts)

    def _changed(self, symbol: str, ts: int, received_ts: int) -> None:
        """Trades of ``symbol`` are others now; ``ts`` as LiveSender.changed takes it."""
        if self._live is not None:
            self._live.changed(symbol, ts, received_ts)

    def _late(self, record: Trade | Ratio, reason: LateReason, offset: int) -> None:
        """Publish that no candle took ``record``."""
        price, size = (
            (record.stock_price, record.stock_size) if isinstance(record, Ratio) else (record.price, record.size)
        )
        self._publisher.late(
            LateTrade(
                symbol=record.symbol,
                ts=record.ts,
                received_ts=record.received_ts,
                price=price,
                size=size,
                exchange=record.exchange,
                id=record.id,
                reason=reason,
                src=(self._partition, offset, 0),
                trf=record.trf,
                sequence=record.sequence,
                correction=record.correction,
            )
        )
