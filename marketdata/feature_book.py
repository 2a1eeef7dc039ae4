"""The features of all symbols of one partition: a history for each symbol and interval that has features.

A history that is missing is made from the candles inside the revision horizon, so a restart stores no more than what
they cannot tell: each history as it stood before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from marketdata.actions import ActionTable
from marketdata.bar import UNIT, Bar
from marketdata.calendar import TradingHours, trading_day
from marketdata.candles import CandleEngine, Closed
from marketdata.features import FeatureBar, FeatureTrack, PriceFeatures, RatioFeatures
from marketdata.hours import ALL, REGULAR
from marketdata.intervals import Interval, is_whole
from marketdata.sessions import exchange_day
from marketdata.units import DAY_US, floor_to

_UNKNOWN, _TICK_RULE, _QUOTE_RULE, _FEED = range(4)

Features = tuple[PriceFeatures | None, RatioFeatures | None]
Views = dict[str, Features]
"""The features of one candle by hours; what is not asked for is missing."""
StoredFeatures = tuple[tuple[str, bytes], ...]
"""One symbol's histories before the revision horizon, by the key of their level."""


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which intervals have features, for which hours; ``sessions`` is None for a market without a calendar."""

    intervals: tuple[str, ...] = ("15s", "1m")
    hours: tuple[str, ...] = (ALL, REGULAR)
    sessions: TradingHours | None = None
    actions: ActionTable = field(default_factory=ActionTable)


class FeatureBook:
    """Takes what the engine closed, in the engine's order."""

    def __init__(self, engine: CandleEngine, levels: tuple[Interval, ...], settings: FeatureSettings) -> None:
        self._engine = engine
        self._levels = levels
        self._settings = settings
        self._views = {i: self._views_of(level) for i, level in enumerate(levels) if level.name in settings.intervals}
        self._tracks: dict[str, dict[int, FeatureTrack]] = {}
        self._stored: dict[str, StoredFeatures] = {}
        self._days: dict[str, int] = {}
        self._adjusted: set[str] = set()
        self._waiting: list[str] = []  # after a restart: histories that are not made yet
        engine.before_leaving = self._make

    def take(self, closed: Closed) -> Views:
        """The features of ``closed``, which from now on is part of its history."""
        views = self._views.get(closed.level)
        if not views or not (closed.revision or closed.bar.trades or closed.bar.ticks):
            return {}  # an empty candle that only carries the last close has no part in any history
        if self._settings.actions and not closed.revision:
            self._act(closed.symbol, closed.start)
        return self._track(closed.level, closed.symbol, closed.start).close(
            self._row(closed.level, closed.start, closed.bar)
        )

    def has_features(self, level: int) -> bool:
        """Whether candles of ``level`` have features."""
        return bool(self._views.get(level))

    def peek(self, level: int, symbol: str, bars: Sequence[tuple[int, Bar]]) -> Views:
        """The features of the last of ``bars``, (start, bar) by start, if they all closed now; nothing changes."""
        track, day, actions = self._track(level, symbol, None), self._days.get(symbol, 0), self._settings.actions
        views: Views = {}
        if len(bars) == 1 and (not actions or trading_day(bars[0][0]) <= day):
            views = track.peek(self._row(level, *bars[0]))
        else:
            track = deepcopy(track)
            for start, bar in bars:
                if actions and trading_day(start) > day:
                    day = trading_day(start)
                    self._bring_over(track, symbol, day)
                views = track.close(self._row(level, start, bar))
        last = bars[-1][1]
        return views if last.trades or last.ticks else {}

    def take_adjusted(self) -> set[str]:
        """The symbols whose histories a corporate action changed since the last call."""
        adjusted, self._adjusted = self._adjusted, set()
        return adjusted

    def states(self, symbols: Iterable[str]) -> Iterator[tuple[str, StoredFeatures]]:
        """What must be stored of ``symbols``: their histories up to the revision horizon."""
        for symbol in symbols:
            self._make((symbol,))
            tracks = self._tracks.get(symbol, {})
            for track in tracks.values():
                track.forget(self._engine.oldest)
            bases = ((self._levels[level].key, track.state()) for level, track in sorted(tracks.items()))
            yield symbol, tuple((key, base) for key, base in bases if base is not None)

    def warm(self, symbols: int) -> None:
        """After a restart: make the histories of so many symbols, before their next candles or their trades' end."""
        for _ in range(min(symbols, len(self._waiting))):
            self._make((self._waiting.pop(),))

    def restored(self) -> None:
        """The engine has its trades again."""
        self._waiting = sorted({*self._engine.symbols(), *self._stored})

    def restore(self, stored: dict[str, StoredFeatures]) -> None:
        """Begin with what was stored; the rest is made when the engine is restored and a symbol needs it."""
        self._stored = dict(stored)

    def _make(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            for level in self._views:
                self._track(level, symbol, None)

    def _track(self, level: int, symbol: str, start: int | None) -> FeatureTrack:
        """The history of one symbol and level; a new one is made from what was published, but for ``start``."""
        tracks = self._tracks.setdefault(symbol, {})
        track = tracks.get(level)
        if track is None:
            rows = [self._row(level, at, bar) for at, bar in self._engine.published(level, symbol) if at != start]
            base = dict(self._stored.get(symbol, ())).get(self._levels[level].key)
            length = self._levels[level].length
            track = tracks[level] = FeatureTrack.restore(length, self._views[level], base, rows)
        return track

    def _act(self, symbol: str, start: int) -> None:
        """Once a day: bring the histories of ``symbol`` over splits and changes of symbol since they ended."""
        day = trading_day(start)
        if day <= self._days.get(symbol, 0):
            return
        self._days[symbol] = day
        for level in self._views:
            if self._bring_over(self._track(level, symbol, start), symbol, day):
                self._adjusted.add(symbol)

    def _bring_over(self, track: FeatureTrack, symbol: str, day: int) -> bool:
        """Bring one history to ``day``; True where that changed it."""
        actions, last = self._settings.actions, trading_day(track.newest)
        if track.newest < 0 or last >= day:
            return False
        factor = actions.factor(symbol, last, day)
        anew = actions.starts_anew(symbol, last, day)
        if not anew and factor == 1:
            return False
        track.forget(self._engine.oldest)
        if anew:
            track.reset()
        else:
            track.adjust(float(factor))
        return True

    def _row(self, level: int, start: int, bar: Bar) -> FeatureBar:
        session, regular = self._session(level, start)
        quoted, source = bar.quoted, _UNKNOWN
        if bar.bought or bar.sold:
            source = _TICK_RULE if quoted is None or not quoted.sides else _QUOTE_RULE
            source = _FEED if self._settings.sessions is None else source
        return FeatureBar(
            start, session, regular, bar.open, bar.high, bar.low, bar.close, bar.volume / UNIT, bar.trades,
            bar.price_weight / (UNIT * UNIT), bar.priced_size / UNIT, bar.bought / UNIT, bar.sold / UNIT, source,
            bar.ratio_open, bar.ratio_high, bar.ratio_low, bar.ratio_close,
            None if quoted is None else quoted.spread / (quoted.ticks * UNIT),
            None if quoted is None else quoted.effective / (quoted.ticks * UNIT),
        )  # fmt: skip

    def _session(self, level: int, start: int) -> tuple[int, bool]:
        """(start of the session that the candle at ``start`` lies in, whether it is a regular one's)."""
        hours = self._settings.sessions
        if hours is None:
            return floor_to(start, DAY_US), False
        interval = self._levels[level]
        if interval.sessions is not None:
            return hours.session(start)[0], True
        day = exchange_day(trading_day(start), hours)
        if day is None or not day.starts <= start < day.ends:
            return 0, False
        if day.opens <= start < day.closes:
            return day.opens, is_whole(interval.length)
        return day.starts if start < day.opens else day.closes, False

    def _views_of(self, level: Interval) -> tuple[str, ...]:
        if level.sessions is not None:
            views: tuple[str, ...] = (REGULAR,)
        elif self._settings.sessions is not None and is_whole(level.length):
            views = (ALL, REGULAR)
        else:
            views = (ALL,)
        return tuple(view for view in views if view in self._settings.hours)
