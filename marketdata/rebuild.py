"""One symbol's candles of one day, made anew from everything that is known of it now.

The same engine as the aggregator's, but with a horizon without end: what came too late for a revision counts here.
Nothing is read or written here; ``market rebuild`` does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from marketdata.bar import Tick
from marketdata.calendar import TradingHours
from marketdata.candles import CandleEngine, Closed
from marketdata.hours import hours_of
from marketdata.intervals import Interval
from marketdata.join import CORRECTION_RECORDS
from marketdata.records import Candle, PriceBlock, Ratio, RatioBlock, Trade
from marketdata.ticks import tick_of_ratio, tick_of_trade
from marketdata.units import DAY_US, SECOND_US

MARGIN_US: Final = 6 * 3_600 * SECOND_US
"""Trades this much before and after the day are looked at too: a cancel beside midnight may mean one of them."""
_MINUTE_US: Final = 60 * SECOND_US
_Identity = tuple[int, int, str, int, int]
Key = tuple[str, str, int]
"""(interval, hours, start in µs): one candle of the symbol."""


class DayRebuild:
    """Takes one symbol's records in the order of the log: ratio records, or trades of a crypto pair.

    A cancel is applied where it stands in the log, as the aggregator does; one whose original comes only later in
    the log, or is only to be found without a horizon, is applied as well.
    """

    def __init__(
        self,
        symbol: str,
        day_start: int,
        levels: tuple[Interval, ...],
        sessions: TradingHours | None,
        *,
        carry: bool = False,
    ) -> None:
        self._symbol = symbol
        self._sessions = sessions
        self._day = day_start
        self._levels = levels
        self._engine = CandleEngine(levels, horizon_us=1 << 62, carry_in=sessions if carry else None)
        self._seen: set[_Identity] = set()
        self._unmatched: list[tuple[Tick, str, int]] = []
        self.trades = 0
        self.cancels = 0

    def take(self, record: Ratio | Trade, offset: int) -> None:
        """Take the next record; those of other symbols and days are passed by. ``offset``: its place in the log."""
        if record.symbol != self._symbol or not self._near(record.ts):
            return
        tick = tick_of_ratio(record) if isinstance(record, Ratio) else tick_of_trade(record)
        if isinstance(record, Ratio) and record.revision:
            self._engine.revise(self._symbol, tick, record.received_ts)
        elif self._is_new(record):
            self._add(record, tick, offset)

    def candles(self) -> Iterator[tuple[Key, Closed]]:
        """Every candle of the day in its last state; call it once, when all records are taken."""
        for record, trade_id, offset in self._unmatched:
            if self._engine.cancel(self._symbol, record, trade_id, record.ts, offset):
                self.cancels += 1
        self._unmatched.clear()
        for closed in self._engine.advance(self._day + DAY_US + MARGIN_US + DAY_US):
            if not self._day <= closed.start < self._day + DAY_US:
                continue
            level = self._levels[closed.level]
            for hours in hours_of(level, closed.start, self._sessions):
                yield (level.name, hours, closed.start), closed

    def _add(self, record: Ratio | Trade, tick: Tick, offset: int) -> None:
        if record.correction in CORRECTION_RECORDS:
            if self._engine.cancel(self._symbol, tick, record.id, record.received_ts, offset):
                self.cancels += 1
            else:
                self._unmatched.append((tick, record.id, offset))
            return
        self._engine.add(self._symbol, tick, record.received_ts)
        self.trades += self._day <= record.ts < self._day + DAY_US

    def _near(self, ts: int) -> bool:
        return self._day - MARGIN_US <= ts < self._day + DAY_US + MARGIN_US

    def _is_new(self, record: Ratio | Trade) -> bool:
        """Past the horizon nobody has dropped repeats before us."""
        identity = (record.exchange, record.trf, record.id, record.correction, record.ts // _MINUTE_US)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True


def changed(
    candles: Iterable[tuple[Key, Closed]], newest: Mapping[Key, Candle], until: int
) -> Iterator[tuple[Key, Closed, Candle | None]]:
    """The candles that end at or before ``until`` µs and are not what was published last, beside that (None: never).

    An empty candle that was never published stays so.
    """
    for key, closed in candles:
        if closed.end > until:
            continue
        old = newest.get(key)
        if old is None:
            if closed.bar.ticks or closed.bar.trades:
                yield key, closed, None
        elif not _same(old, *blocks(closed)):
            yield key, closed, old


def _same(old: Candle, price: PriceBlock, ratio: RatioBlock | None) -> bool:
    """Whether the blocks are what was published; a last close that was carried counts for no difference."""
    return _same_price(old.price, price) and _same_ratio(old.ratio, ratio)


def _same_price(old: PriceBlock, new: PriceBlock) -> bool:
    if old.tick_count or new.tick_count:
        return old == new
    return (old.volume, old.trade_count) == (new.volume, new.trade_count)


def _same_ratio(old: RatioBlock | None, new: RatioBlock | None) -> bool:
    if (old is not None and old.tick_count) or (new is not None and new.tick_count):
        return old == new
    return True


def blocks(closed: Closed) -> tuple[PriceBlock, RatioBlock | None]:
    """The price and the ratio block as they are published."""
    return closed.shown.price_block(), closed.shown.ratio_block(closed.end) if closed.has_ratio else None
