"""GAP_POLICY=carry: in regular sessions a candle without trades is published too, with the last close."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from marketdata.bar import Bar
from marketdata.calendar import CLOSED, TradingHours
from marketdata.intervals import Interval
from marketdata.trade_window import TradeWindow
from marketdata.units import DAY_US, floor_to

CarriedState = tuple[int, float | None, float | None]
"""The clock in µs since which a symbol's empty candles are published, and its last closes of trades that are gone."""


class _Closes(NamedTuple):
    """The last close of the price and of the ratio, None where there was none."""

    price: float | None
    ratio: float | None


_NONE: Final = _Closes(None, None)


class CarriedCloses:
    """Whose closes are carried, since when, and what they are.

    ``sessions`` is the exchange's calendar; with None nothing is carried, and what was is kept. ``window`` holds the
    trades.
    """

    def __init__(self, levels: tuple[Interval, ...], sessions: TradingHours | None, window: TradeWindow) -> None:
        self._levels = levels
        self._sessions = sessions
        self._window = window
        self._gone: dict[str, _Closes] = {}  # the last ones of trades that are gone
        self._known: dict[str, tuple[int, _Closes]] = {}  # the last ones up to a bucket, as they were asked for
        self.since: dict[str, int] = {}

    def ends(self, before: int, clock: int) -> set[tuple[int, int]]:
        """(end, level) of every candle that is published without trades too, as the clock goes from ``before`` on.

        None at the first clock, before which it was 0.
        """
        if self._sessions is None or not before:
            return set()
        return set(carried_ends(self._levels, self._sessions, before, clock))

    def begin(self, clock: int) -> set[str]:
        """From ``clock`` on carry the closes of symbols that are new: these."""
        traded = self._window.symbols()
        if self._sessions is None or len(traded) == len(self.since.keys() & traded):
            return set()
        new = traded - self.since.keys()
        self.since.update(dict.fromkeys(new, clock))
        return new

    def covers(self, start: int, end: int) -> bool:
        """Whether the candle of [start, end) is published without trades too."""
        return self._sessions is not None and overlaps(self._sessions, start, end)

    def was_published(self, symbol: str, start: int, end: int, clock: int) -> bool:
        """Whether ``symbol``'s candle of [start, end) was published empty by ``clock``, if it had no trades."""
        if self._sessions is None:
            return False
        since = self.since.get(symbol)
        return since is not None and since < end <= clock and overlaps(self._sessions, start, end)

    def shown(self, symbol: str, start: int, bar: Bar) -> Bar:
        """``bar`` of the candle at ``start``, with the last closes published before it where it has none."""
        if bar.ticks and bar.ratio_ticks:
            return bar
        starts = self._window.starts(symbol)
        at = bisect_left(starts, start)
        last = starts[at - 1] if at else -1
        known, closes = self._known.get(symbol, (None, None))
        if closes is None or known != last:
            closes = self._last_closes(symbol, starts[:at])
            self._known[symbol] = last, closes
        return bar.carrying(closes.price, closes.ratio)

    def changed(self, symbol: str) -> None:
        """A bar of ``symbol`` is about to be published."""
        self._known.pop(symbol, None)

    def keep(self, symbols: Iterable[str], oldest: int) -> None:
        """The trades of ``symbols`` before ``oldest`` are about to go."""
        if self._sessions is None:
            return
        for symbol in symbols:
            starts = self._window.starts(symbol)
            self._gone[symbol] = self._last_closes(symbol, starts[: bisect_left(starts, oldest)])
            self._known.pop(symbol, None)

    def state(self, symbol: str) -> CarriedState | None:
        """What must be stored of ``symbol``."""
        since = self.since.get(symbol)
        return None if since is None else (since, *self._gone.get(symbol, _NONE))

    def restore(self, symbol: str, state: CarriedState) -> None:
        """Take up what was stored of ``symbol``."""
        since, price, ratio = state
        self.since[symbol] = since
        self._gone[symbol] = _Closes(price, ratio)

    def _last_closes(self, symbol: str, starts: list[int]) -> _Closes:
        """The last closes of the buckets at ``starts`` that were published, and of trades before them."""
        price = ratio = None
        for start in reversed(starts):
            trades = self._window.at(start, symbol)
            if trades.flow is None or (price is not None and ratio is not None):
                continue
            bar = trades.take_bar()
            price = bar.close if price is None else price
            ratio = bar.ratio_close if ratio is None else ratio
        gone = self._gone.get(symbol, _NONE)
        return _Closes(gone.price if price is None else price, gone.ratio if ratio is None else ratio)


def carried_ends(
    levels: tuple[Interval, ...], sessions: TradingHours, before: int, clock: int
) -> Iterator[tuple[int, int]]:
    """(end, level) of each published candle that overlaps a regular session.

    They end after ``before`` and up to ``clock`` µs.
    """
    for day in range(before // DAY_US, clock // DAY_US + 1):
        opens, closes = sessions.session(day * DAY_US)
        if (opens, closes) == CLOSED:
            continue
        for i, level in enumerate(levels):
            if not level.published:
                continue
            if level.exchange_day:
                if before < closes <= clock:
                    yield closes, i
                continue
            length = level.length
            first = max(floor_to(opens, length), floor_to(before, length)) + length
            last = min(floor_to(closes - 1, length) + length, clock)
            for end in range(first, last + 1, length):
                yield end, i


def overlaps(sessions: TradingHours, start: int, end: int) -> bool:
    """Whether [start, end), which lies within one UTC day, overlaps the regular session of that day."""
    opens, closes = sessions.session(start)
    return start < closes and opens < end
