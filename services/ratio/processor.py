"""One partition of trades.stocks to the same of ratios: ratio records, with clocks and BTC copies passed on."""

from __future__ import annotations

from typing import Final

import msgspec

from marketdata.join import RatioJoin
from marketdata.records import UNREADABLE, Clock, Reference, Src, Trade, encode
from marketdata.units import SECOND_US
from streaming import metrics
from streaming.emitter import Emitter
from streaming.stage import UnreadableError

_RATIO: Final = [("kind", b"ratio")]
_CLOCK: Final = [("kind", b"clock")]
_REFERENCE: Final = [("kind", b"reference")]
_decode = msgspec.json.Decoder(Trade | Reference | Clock).decode


class RatioProcessor:
    """Reads each record once and writes at most one: so n in ``src`` is always 0."""

    def __init__(self, partition: int, emitter: Emitter, topic: str, join: RatioJoin) -> None:
        self._partition = partition
        self._emitter = emitter
        self._topic = topic
        self._join = join
        self._received_ts = 0

    def process(self, offset: int, value: bytes, now: int) -> None:
        """Take one record of trades.stocks; see streaming.stage.Processor."""
        try:
            record = _decode(value)
        except UNREADABLE as error:
            raise UnreadableError(f"not a record of trades.stocks: {error}") from error
        src = (self._partition, offset, 0)
        if type(record) is Trade:
            self._stock(record, src, now)
        elif type(record) is Clock:
            if self._join.intake.accept_clock(record):
                self._pass_on(None, value, src, _CLOCK)
        elif self._join.reference(record):
            self._pass_on(record.symbol.encode(), value, src, _REFERENCE)

    def after_run(self, now: int) -> None:
        """Observe the latency of the run's last trade."""
        if self._received_ts:
            metrics.RATIO_LATENCY.observe((now - self._received_ts) / SECOND_US)
            self._received_ts = 0

    def _stock(self, trade: Trade, src: Src, now: int) -> None:
        ratio = self._join.stock(trade, src, now)
        if ratio is not None and self._emitter.wants(self._topic, src):
            self._emitter.emit(self._topic, trade.symbol.encode(), encode(ratio), _RATIO)
            self._received_ts = trade.received_ts

    def _pass_on(self, key: bytes | None, value: bytes, src: Src, headers: list[tuple[str, bytes]]) -> None:
        """The record as it came, with ``src`` put in before its closing brace."""
        if self._emitter.wants(self._topic, src):
            with_src = b'%b,"src":[%d,%d,%d]}' % (value.rstrip()[:-1], *src)
            self._emitter.emit(self._topic, key, with_src, headers)
