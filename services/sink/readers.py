"""What each topic's records become: rows of one table or of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from marketdata.records import (
    Band,
    Candle,
    Clock,
    DeadLetter,
    Gap,
    LateTrade,
    Quote,
    Ratio,
    RatioBlock,
    Record,
    Reference,
    Src,
    Trade,
)
from marketdata.topics import MARKETS, SERVICES
from marketdata.units import DAY_US
from services.sink import rows
from services.sink.batch import Batch
from services.sink.settings import SinkSettings
from services.sink.tables import AGGREGATES, CANDLES, DEAD_LETTERS, FEATURES, GAPS, LATE, QUOTES, TICKS
from streaming.places import Place
from streaming.reader import SrcRule

NOT_TRADES: Final = frozenset({10, 11, 12})  # correction records: no tick of their own
RATIO_BEGINS: Final = b'{"kind":"ratio",'
"""A ratio as we write it: its header, which costs as much as a third of its decoding, need not be asked for."""


Reader = Callable[[Any, Place, int, SrcRule | None, Batch], None]
"""Puts a record's rows into the batch: given the message, its partition and offset, or where it stood at first if it
is sent again, and the rule of its partition; None in place of that: to be taken whatever came before it.

Raises ValueError where it cannot be read or fits no row, RecursionError where it is nested without end.
"""


class Readers:
    """One reader a topic."""

    def __init__(self, settings: SinkSettings) -> None:
        topics = settings.topics
        self._candles = settings.candle_topics
        self._markets = {topics.late(m): m for m in MARKETS} | {topics.rebuilt(m): m for m in MARKETS}
        self._ratio: Callable[[bytes], Record] = msgspec.json.Decoder(Ratio).decode
        self._any_ratio = msgspec.json.Decoder(Ratio | Clock | Reference | Trade | Band).decode
        self._candle = msgspec.json.Decoder(Candle)
        self._quotes = {topics.quotes(m): m for m in MARKETS} if settings.quotes else {}
        self._quote = msgspec.json.Decoder(Quote)
        self._late = msgspec.json.Decoder(LateTrade)
        self._gap = msgspec.json.Decoder(Gap)
        self._letter = msgspec.json.Decoder(DeadLetter)
        self._by_topic: dict[str, Reader] = {
            topics.ratios: self._take_ratio,
            **dict.fromkeys(self._candles, self._take_candle),
            **{topics.rebuilt(m): self._take_rebuilt for m in MARKETS},
            **dict.fromkeys(self._quotes, self._take_quote),
            **{topics.late(m): self._take_late for m in MARKETS},
            topics.gaps: self._take_gap,
            **{topics.dead_letters(service): self._take_letter for service in SERVICES},
        }

    @property
    def topics(self) -> list[str]:
        """The topics that have a reader."""
        return list(self._by_topic)

    def of(self, topic: str) -> Reader:
        """What reads ``topic``. Raises ValueError where nothing does."""
        reader = self._by_topic.get(topic)
        if reader is None:
            raise rows.BadRowError(f"no topic of the sink: {topic[:200]!r}")
        return reader

    def _take_ratio(self, message: Any, _place: Place, _offset: int, rule: SrcRule | None, batch: Batch) -> None:
        value, decode = message.value() or b"", self._ratio
        if not value.startswith(RATIO_BEGINS):
            kind = _kind(message)
            if kind is None:
                decode = self._any_ratio
            elif kind != b"ratio":
                return  # clocks, bands and BTC copies are not worth decoding
        record = decode(value)
        if type(record) is not Ratio or not _new(rule, record.src):
            return
        if record.correction not in NOT_TRADES:
            batch.add(TICKS, rows.tick_line(record), record.revision, record.timestamp_out)
            batch.days.add((TICKS.name, record.ts // DAY_US))

    def _take_candle(self, message: Any, place: Place, _offset: int, rule: SrcRule | None, batch: Batch) -> None:
        candle = self._candle.decode(message.value() or b"")
        market, interval = self._candles[place[0]]
        if candle.interval != interval:
            raise rows.BadRowError(f"interval {candle.interval} on the topic of {interval}")
        if _new(rule, candle.src):
            _add_candle(candle, market, batch)

    def _take_rebuilt(self, message: Any, place: Place, _offset: int, rule: SrcRule | None, batch: Batch) -> None:
        candle = self._candle.decode(message.value() or b"")
        if _new(rule, candle.src):
            _add_candle(candle, self._markets[place[0]], batch)

    def _take_quote(self, message: Any, place: Place, offset: int, _rule: SrcRule | None, batch: Batch) -> None:
        quote = self._quote.decode(message.value() or b"")
        batch.add(QUOTES, rows.quote_line(quote, self._quotes[place[0]], place[1], offset))
        batch.days.add((QUOTES.name, quote.ts // DAY_US))

    def _take_late(self, message: Any, place: Place, _offset: int, rule: SrcRule | None, batch: Batch) -> None:
        trade = self._late.decode(message.value() or b"")
        if _new(rule, trade.src):
            batch.add(LATE, rows.late_line(trade, self._markets[place[0]]))

    def _take_gap(self, message: Any, _place: Place, offset: int, _rule: SrcRule | None, batch: Batch) -> None:
        gap = self._gap.decode(message.value() or b"")
        batch.add(GAPS, rows.gap_line(gap, offset), revision=1)  # told again with each status

    def _take_letter(self, message: Any, place: Place, offset: int, _rule: SrcRule | None, batch: Batch) -> None:
        letter = self._letter.decode(message.value() or b"")
        batch.add(DEAD_LETTERS, rows.letter_line(letter, *place, offset))


def _add_candle(candle: Candle, market: str, batch: Batch) -> None:
    line = rows.candle_line(candle, market)
    if candle.interval == "500ms" and market == "stocks" and candle.hours == "all" and candle.ratio is not None:
        _add_aggregate(candle, candle.ratio, batch)
    batch.add(CANDLES, line, candle.revision, candle.timestamp_out)
    if candle.features is not None or candle.ratio_features is not None:
        batch.add(FEATURES, rows.feature_line(candle, market), candle.revision)


def _add_aggregate(candle: Candle, ratio: RatioBlock, batch: Batch) -> None:
    batch.add(AGGREGATES, rows.aggregate_line(candle, ratio), candle.revision, candle.timestamp_out)
    batch.days.add((AGGREGATES.name, candle.timestamp_in // DAY_US))


def _new(rule: SrcRule | None, src: Src) -> bool:
    rows.check_src(src)  # before the rule: one absurd src would make it drop all that follows
    return rule is None or rule.accept(src)


def _kind(message: Any) -> bytes | None:
    for name, value in message.headers() or ():
        if name == "kind":
            return bytes(value or b"")
    return None
