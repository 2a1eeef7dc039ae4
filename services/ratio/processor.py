"""One partition of trades.stocks to the same of ratios, with clocks, bands and BTC copies, and of marks and mids."""

from __future__ import annotations

from typing import Final

import msgspec

from marketdata.join import JoinMark, RatioJoin
from marketdata.marks import Marks, is_step, mark_of
from marketdata.mids import Mids, mid_of
from marketdata.records import UNREADABLE, Band, Clock, QuoteCopy, Ratio, Reference, Src, Trade, encode
from marketdata.rewind import Rewind
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from services.ratio import metrics
from streaming.emitter import Emitter
from streaming.processor import UnreadableError
from streaming.snapshots import Capture, Snapshot

_RATIO: Final = [("kind", b"ratio")]
_CLOCK: Final = [("kind", b"clock")]
_REFERENCE: Final = [("kind", b"reference")]
_BAND: Final = [("kind", b"band")]
decode: Final = msgspec.json.Decoder(Trade | Reference | Clock | Band | QuoteCopy).decode
"""A record of trades.stocks."""
_decode_mark = msgspec.json.Decoder(JoinMark).decode


class RatioProcessor:
    """Reads each record once and writes at most one, but for clocks.

    A clock that follows back-filled BTC changes ratios, and the first past each 250 ms makes the marks and mids that
    are due. Its state is in the trades and quotes of the horizon: a snapshot says where to read them again, no more.
    """

    def __init__(
        self, partition: int, emitter: Emitter, topics: Topics, join: RatioJoin, marks: Marks | None,
        *, mids: Mids | None = None,
    ) -> None:  # fmt: skip
        self._partition = partition
        self._emitter = emitter
        self._topic = topics.ratios
        self._mark_topic = topics.ratio_mark
        self._mid_topic = topics.ratio_mid
        self._join = join
        self._marks = marks
        self._mids = mids
        self._received_ts = 0
        self._null: dict[str, int] = {}
        self._rewind = Rewind(join.mark())
        self._noted = 0

    @property
    def clock(self) -> int:
        """See streaming.processor.Processor."""
        return self._join.intake.clock

    def process(self, offset: int, value: bytes, now: int) -> bool:
        """Take one record of trades.stocks; see streaming.processor.Processor."""
        try:
            record = decode(value)
        except UNREADABLE as error:
            raise UnreadableError(f"not a record of trades.stocks: {error}") from error
        src = (self._partition, offset, 0)
        if type(record) is Trade:
            if record.ts > self._rewind.newest:
                self._rewind.newest = record.ts
            self._stock(record, value, src, now)
        elif type(record) is Clock:
            return self._clock(record, value, src, now)
        elif type(record) is Reference:
            self._rewind.newest = max(self._rewind.newest, record.ts)
            if self._join.reference(record, offset):
                self._pass_on(record.symbol.encode(), value, src, _REFERENCE)
        elif type(record) is QuoteCopy:
            if self._mids is not None and self._join.intake.accept_word(record):
                self._rewind.newest = max(self._rewind.newest, record.ts)
                self._mids.quote(record)
        elif type(record) is Band and self._join.intake.accept_word(record):
            self._pass_on(record.symbol.encode(), value, src, _BAND)
        return False

    postponed: Final = False

    def finish(self, now: int) -> None:
        """Nothing is ever postponed."""

    def after_run(self, now: int) -> None:
        """Observe the latency of the run's last trade, and count those without a ratio."""
        if self._received_ts:
            metrics.RATIO_LATENCY.observe((now - self._received_ts) / SECOND_US)
            self._received_ts = 0
        for reason, count in self._null.items():
            metrics.NULL.labels(reason).inc(count)
        self._null.clear()

    def capture(self) -> Capture:
        """See streaming.processor.Processor."""
        mark = self._rewind.since(self._join.oldest)
        return Capture(mark.offset, mark.newest, encode(mark.state), {})

    def restore(self, snapshot: Snapshot) -> None:
        """See streaming.processor.Processor."""
        mark = _decode_mark(snapshot.mark)
        self._join.resume(mark)
        self._rewind = Rewind(mark, snapshot.begin, snapshot.newest)

    def restored(self) -> None:
        """See streaming.processor.Processor."""
        self._received_ts = 0

    def _clock(self, clock: Clock, value: bytes, src: Src, now: int) -> bool:
        partition, offset, _ = src
        before = self._join.intake.clock
        revised = self._join.clock(clock, src, now)
        if revised is None:
            return False
        for ratio in revised:
            metrics.REVISED.inc(self._emit(ratio))
        self._pass_on(None, value, (partition, offset, len(revised)), _CLOCK)
        if self._marks is not None and is_step(before, clock.ts):
            self._mark(self._marks, clock, src, now)
        if self._mids is not None and is_step(before, clock.ts):
            self._mid(self._mids, clock, src, now)
        if clock.ts - self._noted >= SECOND_US:
            self._noted = clock.ts
            self._rewind.note(offset + 1, self._join.mark())
        return True

    def _stock(self, trade: Trade, value: bytes, src: Src, now: int) -> None:
        ratio = self._join.stock(trade, value, src, now)
        if ratio is None:
            return
        if self._emit(ratio):
            self._received_ts = trade.received_ts
            if ratio.reason is not None:
                self._null[ratio.reason] = self._null.get(ratio.reason, 0) + 1
        if ratio.eligible and self._marks is not None and trade.ts >= self._join.intake.clock:
            self._marks.trade(trade)

    def _mark(self, marks: Marks, clock: Clock, src: Src, now: int) -> None:
        partition, offset, _ = src
        btc = self._join.last_before(clock.ts)
        due = marks.due(clock.ts, btc)
        if btc is None:
            return
        for n, trade in enumerate(due):
            src = (partition, offset, n)
            if self._emitter.wants(self._mark_topic, src):
                mark = mark_of(trade, btc, clock, src, now)
                self._emitter.emit(self._mark_topic, trade.symbol.encode(), encode(mark))

    def _mid(self, mids: Mids, clock: Clock, src: Src, now: int) -> None:
        partition, offset, _ = src
        btc, due = mids.due(clock.ts, self._join.last_before(clock.ts))
        for n, quote in enumerate(due):
            src = (partition, offset, n)
            if btc is not None and self._emitter.wants(self._mid_topic, src):
                mid = mid_of(quote, btc, clock, src, now)
                self._emitter.emit(self._mid_topic, quote.symbol.encode(), encode(mid))

    def _emit(self, ratio: Ratio) -> bool:
        if not self._emitter.wants(self._topic, ratio.src):
            return False
        self._emitter.emit(self._topic, ratio.symbol.encode(), encode(ratio), _RATIO)
        return True

    def _pass_on(self, key: bytes | None, value: bytes, src: Src, headers: list[tuple[str, bytes]]) -> None:
        """The record as it came, with ``src`` put in before its closing brace."""
        if self._emitter.wants(self._topic, src):
            with_src = b'%b,"src":[%d,%d,%d]}' % (value.rstrip()[:-1], *src)
            self._emitter.emit(self._topic, key, with_src, headers)
