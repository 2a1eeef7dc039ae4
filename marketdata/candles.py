"""Candles of all intervals of one partition: one pass, moved by clock records alone.

A trade goes into a 500 ms bucket and nowhere else. When a clock passes a bucket's end, the bucket becomes a bar, is
published, and is handed to the longer buckets that hold it. A late trade, a cancel or a correction opens its bucket
again; the next clock then takes the same way and publishes each candle it touches with the next revision.

Trades inside the revision horizon are never stored: after a restart they are read again, between ``restore`` and
``restored``. What they cannot tell is in the symbols' states.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from marketdata.bar import Bar, Flow, Tick, bar_of, order_of, roll_up, take_sides
from marketdata.buckets import Bucket, Trades
from marketdata.calendar import TradingHours
from marketdata.candle_state import (
    BucketState,
    CancelState,
    EngineMark,
    RevisedState,
    SymbolState,
    pack_bar,
    pack_cancel,
    unpack_bar,
)
from marketdata.carry import CarriedCloses
from marketdata.intervals import Interval, children_of
from marketdata.trade_window import Place, TradeWindow
from marketdata.units import SECOND_US, floor_to, forget_every

RECENT_US: Final = 30 * SECOND_US
"""Nearly all late trades belong to candles that were over so long ago at most: these are not made anew for them."""
K = TypeVar("K")
V = TypeVar("V")


class Closed(NamedTuple):
    """One candle to publish. ``late_received_ts`` is the receive time in µs of what caused a revision, else None."""

    level: int
    symbol: str
    start: int
    end: int
    revision: int
    bar: Bar
    has_ratio: bool
    late_received_ts: int | None
    carried: Bar | None = None

    @property
    def shown(self) -> Bar:
        """The bar as it is published: with the last close where it has none, if closes are carried."""
        return self.bar if self.carried is None else self.carried


class CandleEngine:
    """The buckets of one partition. ``levels`` from marketdata.intervals; ``horizon_us`` the revision horizon.

    Kept are the trades of the horizon, and of the longer buckets only those that are not over or have just ended, or
    in which ``oldest`` stands now or later: trades with an event time before that are gone. Any other is made from
    trades when needed.
    With ``carry_in``, the exchange's calendar, candles without trades are closed too, in its regular sessions.
    While it is ``refilling`` trades are read again. ``before_leaving`` is told whose trades are about to go.
    """

    def __init__(self, levels: tuple[Interval, ...], horizon_us: int, carry_in: TradingHours | None = None) -> None:
        self._levels = levels
        self._horizon = horizon_us
        self._base = levels[0].length
        self._window = TradeWindow(self._base)
        self._trades = self._window.buckets
        self._carried = CarriedCloses(levels, carry_in, self._window)
        self._prune_step = self._base * -(-forget_every(horizon_us) // self._base)
        self._recent = min(RECENT_US, horizon_us // 4)
        self._swept = 0
        self._children = children_of(levels)
        self._buckets: list[dict[int, dict[str, Bucket]]] = [{} for _ in levels]  # none at the base
        self._open: dict[tuple[int, int], dict[str, Trades | Bucket]] = {}
        self._due: list[tuple[int, int]] = []
        self._revised: dict[str, dict[tuple[int, int], int]] = {}
        self._cancels: dict[str, dict[int, CancelState]] = {}
        self._changed: set[str] = set()
        self.refilling = False
        self._advances = 0
        self.before_leaving: Callable[[set[str]], None] | None = None
        self.clock = 0

    @property
    def oldest(self) -> int:
        """The event time in µs before which trades are gone."""
        return self._window.oldest

    def add(self, symbol: str, tick: Tick, received_ts: int) -> bool:
        """Take a trade; False where it is past the revision horizon."""
        ts = tick.ts
        if ts < self.clock - self._horizon:
            return False
        if ts < self._window.oldest:
            return True  # read again after a restart: its bar is in the symbol's state
        start = ts - ts % self._base
        symbols = self._trades.get(start)
        trades = None if symbols is None else symbols.get(symbol)
        if trades is None:
            trades = self._begin(symbol, start)
        trades.ticks.append(tick)
        if tick.ratio is not None:
            trades.has_ratio = True
        if not trades.open or start + self._base <= self.clock:
            self._reopen(0, start, symbol, trades, received_ts)
        return True

    def revise(self, symbol: str, tick: Tick, received_ts: int) -> bool:
        """Put ``tick`` in the place of the trade of the same identity; False where none is within the horizon."""
        if tick.ts < self.clock - self._horizon:
            return False
        place = self._window.place_of(symbol, order_of(tick))
        if place is None:
            return False
        start, trades, at = place
        trades.ticks[at] = tick
        trades.recount()
        trades.has_ratio |= tick.ratio is not None
        self._reopen(0, start, symbol, trades, received_ts)
        return True

    def cancel(self, symbol: str, record: Tick, trade_id: str, received_ts: int, offset: int) -> bool:
        """Take the trade that ``record`` cancels out again; False where it is not within the horizon.

        The original is named by exchange, TRF and id, else it is the nearest earlier one of that exchange, price
        and size. ``offset`` is the record's place in the log.
        """
        if self.refilling:
            place = self._recall(symbol, offset)
        else:
            place = self._window.original_of(symbol, record, trade_id, self.clock - self._horizon)
        if place is None:
            return False
        start, trades, at = place
        tick = trades.ticks.pop(at)
        trades.recount()
        if not self.refilling:
            self._cancels.setdefault(symbol, {})[offset] = pack_cancel(offset, order_of(tick))
            self._changed.add(symbol)
        self._reopen(0, start, symbol, trades, received_ts)
        return True

    def advance(self, clock: int) -> Iterator[Closed]:
        """Move the clock and yield every candle it closes that is published, by (end, interval, symbol)."""
        carried = self._plan_carried(clock)
        due = self._due
        while due and due[0][0] <= clock:
            key = heapq.heappop(due)
            end, level = key
            start, published = self._levels[level].start(end), self._levels[level].published
            opened = self._open.pop(key)
            for symbol in sorted({*opened, *self._carried.since} if key in carried else opened):
                if symbol in opened:
                    closed = self._close(level, symbol, start, end, opened[symbol])
                    if published:
                        yield closed
                else:
                    shown = self._carried.shown(symbol, start, Bar())
                    yield Closed(level, symbol, start, end, 0, Bar(), True, None, shown)
        self._changed |= self._carried.begin(clock)
        self.clock = clock
        self._advances += 1
        if clock - self._swept >= SECOND_US:
            self._sweep(clock)
        oldest = floor_to(max(clock - self._horizon, 0), self._prune_step)
        if oldest > self.oldest:
            self._prune(oldest)

    def skip(self, clock: int) -> None:
        """Move the clock while trades are read again: what it closes was published."""
        self.clock = clock

    def complete(self, before: int, clock: int) -> Iterator[tuple[str, int]]:
        """(interval, end) of each interval that became complete as the clock went from ``before`` to ``clock``."""
        for level in self._levels:
            if level.exchange_day:
                bucket = level.bucket(before)
                if bucket is not None and bucket[1] <= clock:
                    yield level.name, bucket[1]
            elif level.published and level.sessions is None and (end := floor_to(clock, level.length)) > before:
                yield level.name, end

    def published(self, level: int, symbol: str) -> Iterator[tuple[int, Bar]]:
        """(start, bar) of the candles of one symbol that were published and can still be revised, by start."""
        interval = self._levels[level]
        buckets = (interval.bucket(start) for start in self._window.starts(symbol))
        starts = {bucket[0] for bucket in buckets if bucket is not None}
        if (straddling := self._straddling(level, self.oldest)) is not None:
            starts.add(straddling)
        for start in sorted(starts):
            if interval.end(start) <= self.clock and (bar := self._published_bar(level, start, symbol)) is not None:
                yield start, bar

    def symbols(self) -> list[str]:
        """Those that have trades inside the revision horizon, or a candle that began before it."""
        buckets = (symbols for starts in self._buckets for symbols in starts.values())
        return sorted({*self._window.symbols(), *(symbol for symbols in buckets for symbol in symbols)})

    # --- what is under way -----------------------------------------------------------------------------------------

    def starts(self, symbol: str) -> list[int]:
        """The starts of the symbol's base buckets, ascending; not to be changed."""
        return self._window.starts(symbol)

    def trades(self, start: int, symbol: str) -> Trades:
        """The base bucket at ``start``, one of ``starts``."""
        return self._trades[start][symbol]

    def pending(self, symbol: str) -> list[tuple[int, int]]:
        """(level, start) of the buckets that later clocks publish, for the first time or again, in that order.

        After a late trade that is its base bucket alone, until this closes.
        """
        opened = [key for key, symbols in self._open.items() if symbol in symbols]
        return sorted((level, self._levels[level].start(end)) for end, level in opened)

    def parts(self, level: int, start: int, symbol: str) -> dict[int, Bar]:
        """The bars of the longer bucket at ``start``, by their start, as they were published last."""
        bucket = self._buckets[level].get(start, {}).get(symbol)
        if bucket is None:
            self._add_parts(level, start, symbol, bucket := Bucket())
        return bucket.parts

    def with_sides(self, symbol: str) -> dict[int, Bar]:
        """The bars of the base buckets that the next clocks publish, by start; also of those whose sides change."""
        return self._window.with_sides(symbol, {start for level, start in self.pending(symbol) if not level})

    # --- buckets ---------------------------------------------------------------------------------------------------

    def _begin(self, symbol: str, start: int) -> Trades:
        """A new base bucket; one that is read again was there before all that comes."""
        trades = self._window.begin(symbol, start, -1 if self.refilling else self._advances)
        if self._was_carried(symbol, start, start + self._base):
            trades.revision = 0
        return trades

    def _bucket(self, level: int, start: int, symbol: str) -> Bucket:
        starts = self._buckets[level]
        symbols = starts.get(start)
        if symbols is None:
            symbols = starts[start] = {}
        bucket = symbols.get(symbol)
        if bucket is None:
            bucket = symbols[symbol] = Bucket()
            self._add_parts(level, start, symbol, bucket)
            bucket.known = bool(bucket.parts)
            end = self._levels[level].end(start)
            if (bucket.known and end <= self.clock) or self._was_carried(symbol, start, end):
                bucket.revision = self._revised.get(symbol, {}).get((level, start), 0)
        return bucket

    def _add_parts(self, level: int, start: int, symbol: str, bucket: Bucket) -> None:
        """The parts that were over at the last clock, from trades, or from the part that began before them."""
        child = self._children[level]
        step = self._levels[child].length
        begin, until = self._levels[level].clip(start, self._levels[level].end(start))
        end = min(until, floor_to(self.clock, step))
        for part in self._window.parts(symbol, max(begin, floor_to(self.oldest, step)), end, step):
            kept = self._buckets[child].get(part, {}).get(symbol) if child and part < self.oldest else None
            if kept is not None and kept.known:
                bucket.parts[part] = roll_up(kept.parts[s] for s in sorted(kept.parts))
                bucket.has_ratio |= kept.has_ratio
            elif held := self._held(symbol, max(part, begin), min(part + step, until)):
                bucket.parts[part] = _bar_of_all(held)
                bucket.has_ratio |= any(trades.has_ratio for trades in held)

    def _published_bar(self, level: int, start: int, symbol: str) -> Bar | None:
        if not level:
            held = self._held(symbol, start, start + self._base)
            return _bar_of_all(held) if held else None
        bucket = self._buckets[level].get(start, {}).get(symbol)
        if bucket is None:
            self._add_parts(level, start, symbol, bucket := Bucket())
        return roll_up(bucket.parts[part] for part in sorted(bucket.parts)) if bucket.parts else None

    def _held(self, symbol: str, start: int, end: int) -> list[Trades]:
        """The base buckets of a span that were published by the last clock."""
        found = [self._trades[at][symbol] for at in self._window.within(symbol, start, end)]
        return [trades for trades in found if trades.born < self._advances]

    def _reopen(self, level: int, start: int, symbol: str, bucket: Trades | Bucket, received_ts: int | None) -> None:
        """Have the next clock that passes the bucket's end publish it."""
        if self.refilling:
            return
        key = (self._levels[level].end(start), level)
        if received_ts is not None and key[0] <= self.clock:
            bucket.late_received_ts = received_ts
        opened = self._open.get(key)
        if opened is None:
            opened = self._open[key] = {}
            heapq.heappush(self._due, key)
        opened[symbol] = bucket
        bucket.open = True

    def _close(self, level: int, symbol: str, start: int, end: int, bucket: Trades | Bucket) -> Closed:
        bucket.open = False
        late, bucket.late_received_ts = bucket.late_received_ts, None
        if isinstance(bucket, Trades):
            bar = self._base_bar(symbol, start, bucket, late)
        else:
            bar = roll_up(bucket.parts[part] for part in sorted(bucket.parts))
        bucket.revision += 1
        if bucket.revision:
            self._revised.setdefault(symbol, {})[level, start] = bucket.revision
            self._changed.add(symbol)
        for up in self._levels[level].parents:
            parent_start = self._parent_start(level, up, start)
            if parent_start is not None:
                parent = self._bucket(up, parent_start, symbol)
                parent.parts[start] = bar
                parent.has_ratio |= bucket.has_ratio
                self._reopen(up, parent_start, symbol, parent, late)
        if isinstance(bucket, Bucket):
            bucket.known = True  # only now: to a parent just made this is nothing that was published before
        if not self._carried.covers(start, end):
            return Closed(level, symbol, start, end, bucket.revision, bar, bucket.has_ratio, late)
        shown = self._carried.shown(symbol, start, bar)
        return Closed(level, symbol, start, end, bucket.revision, bar, True, late, shown)

    def _parent_start(self, level: int, up: int, start: int) -> int | None:
        """Where the bucket of level ``up`` begins that holds the one of ``level`` at ``start``."""
        parent = self._levels[up]
        if parent.sessions is None:
            return start - start % parent.length
        if self._levels[level].sessions is None and not parent.sessions.is_regular(start):
            return None
        bucket = parent.bucket(start)
        return bucket[0] if bucket else None

    def _plan_carried(self, clock: int) -> set[tuple[int, int]]:
        """Have every candle of a regular session be closed; gives which (end, level) they are."""
        planned = self._carried.ends(self.clock, clock)
        for key in planned:
            if key not in self._open:
                self._open[key] = {}
                heapq.heappush(self._due, key)
        return planned

    def _was_carried(self, symbol: str, start: int, end: int) -> bool:
        """Whether the candle was published empty."""
        return not self.refilling and self._carried.was_published(symbol, start, end, self.clock)

    def _base_bar(self, symbol: str, start: int, trades: Trades, late: int | None) -> Bar:
        """The bar to publish, split into sides; opens the next bucket again if its sides are others now."""
        self._carried.changed(symbol)
        bar = trades.take_bar()
        after = take_sides(bar, trades.ticks, self._window.flow_before(symbol, start))
        trades.bought, trades.sold = bar.bought, bar.sold
        if after != trades.flow:
            trades.flow = after
            if (following := self._window.pass_flow_on(symbol, start, after)) is not None:
                self._reopen(0, following[0], symbol, following[1], late)
        return bar

    # --- forgetting ------------------------------------------------------------------------------------------------

    def _prune(self, oldest: int) -> None:
        """Forget the trades that no record within the horizon can reach any more, and the buckets that end before."""
        leaving = self._window.leaving(oldest)
        symbols = {symbol for symbols in leaving.values() for symbol in symbols}
        if self.before_leaving is not None:
            self.before_leaving({*self._ending(oldest), *symbols})
        self._keep_longer(leaving, oldest)
        self._carried.keep(symbols, oldest)
        self._changed |= symbols
        for level, starts_of in zip(self._levels[1:], self._buckets[1:], strict=True):
            for start in [s for s in starts_of if level.end(s) <= oldest]:
                self._changed.update(starts_of.pop(start))  # what it was part of must be stored with it
        self._window.forget(leaving, oldest)
        _forget(self._revised, lambda key, _: self._levels[key[0]].end(key[1]) <= oldest)
        _forget(self._cancels, lambda _, cancel: cancel.ts < oldest)

    def _ending(self, oldest: int) -> Iterator[str]:
        """The symbols of longer buckets that end before ``oldest``."""
        for level, starts in zip(self._levels[1:], self._buckets[1:], strict=True):
            for start, symbols in starts.items():
                if level.end(start) <= oldest:
                    yield from symbols

    def _sweep(self, clock: int) -> None:
        """Drop longer buckets that were over a while ago, but for those that the next clock publishes again."""
        self._swept = clock
        for number, (level, starts) in enumerate(zip(self._levels[1:], self._buckets[1:], strict=True), 1):
            for start in list(starts):
                end = level.end(start)
                is_past = end <= clock - self._recent and (end, number) not in self._open
                if is_past and not self._needed_later(start, end):
                    del starts[start]

    def _needed_later(self, start: int, end: int) -> bool:
        """Whether ``oldest`` stands inside the bucket or will: made anew then, it would take all its trades again."""
        return start < self.oldest or floor_to(end - 1, self._prune_step) > start

    def _keep_longer(self, leaving: Mapping[int, Iterable[str]], oldest: int) -> None:
        """Before trades go: make those longer buckets they are in that later trades may still change."""
        for level in range(1, len(self._levels)):
            start = self._straddling(level, oldest)
            if start is not None:
                begin, end = self._levels[level].clip(start, oldest)
                held = {s for left, symbols in leaving.items() if begin <= left < end for s in symbols}
                for symbol in sorted(held):
                    self._bucket(level, start, symbol)

    def _straddling(self, level: int, ts: int) -> int | None:
        """The start of the bucket of a level that began before ``ts`` and ends after it."""
        bucket = self._levels[level].bucket(ts)
        return bucket[0] if bucket is not None and bucket[0] < ts else None

    # --- snapshots -------------------------------------------------------------------------------------------------

    def capture(self, also: Iterable[str] = ()) -> dict[str, SymbolState | None]:
        """The states that changed since the last capture, None for a symbol without any; call it after a clock.

        Those of ``also`` are given too: they changed elsewhere.
        """
        changed, self._changed = self._changed.union(also), set()
        return {symbol: self._state(symbol) for symbol in sorted(changed)}

    def restore(self, mark: EngineMark, states: Mapping[str, SymbolState]) -> None:
        """Begin where re-reading begins; until :meth:`restored` nothing is closed."""
        self.clock, self._window.oldest = mark
        self.refilling = True
        index = {level.key: i for i, level in enumerate(self._levels)}
        for symbol, state in states.items():
            self._restore_buckets(symbol, state, index)
            revised = {(index[r.level], r.start): r.revision for r in state.revised if r.level in index}
            if revised:
                self._revised[symbol] = revised
            if state.carried is not None:
                self._carried.restore(symbol, state.carried)
            if state.flow is not None:
                self._window.flows[symbol] = Flow(*state.flow)
            if state.cancels:
                self._cancels[symbol] = {cancel.offset: cancel for cancel in state.cancels}

    def restored(self) -> None:
        """The trades are read again, up to the clock record after which the states were captured."""
        self.refilling = False
        for start in sorted(self._trades):
            symbols = self._trades[start]
            closed = start + self._base <= self.clock
            for symbol, trades in symbols.items():
                if closed:
                    trades.revision = self._revised.get(symbol, {}).get((0, start), 0)
                    self._base_bar(symbol, start, trades, None)
                else:
                    self._reopen(0, start, symbol, trades, None)
        for level in range(1, len(self._levels)):
            self._restore_level(level)

    def _state(self, symbol: str) -> SymbolState | None:
        buckets = []
        for i, level in enumerate(self._levels[1:], 1):
            start = self._straddling(i, self.oldest)
            bucket = self._buckets[i].get(start, {}).get(symbol) if start is not None else None
            if start is not None and bucket is not None:
                child = self._levels[self._children[i]].length
                parts = tuple(
                    (s, pack_bar(bar)) for s, bar in sorted(bucket.parts.items()) if s + child <= self.oldest
                )
                buckets.append(BucketState(level.key, start, bucket.revision, bucket.has_ratio, parts))
        stored = {(bucket.level, bucket.start) for bucket in buckets}
        revised = tuple(
            RevisedState(self._levels[i].key, start, revision)
            for (i, start), revision in sorted(self._revised.get(symbol, {}).items())
            if (self._levels[i].key, start) not in stored
        )
        cancels = tuple(self._cancels.get(symbol, {}).values())
        flow, carried = self._window.flows.get(symbol), self._carried.state(symbol)
        if not (buckets or revised or cancels or flow or carried):
            return None
        return SymbolState(tuple(buckets), revised, cancels, flow, carried=carried)

    def _restore_buckets(self, symbol: str, state: SymbolState, index: Mapping[str, int]) -> None:
        for stored in state.buckets:
            level = index.get(stored.level)
            if level is None or self._levels[level].end(stored.start) <= self.oldest:
                continue
            bucket = self._buckets[level].setdefault(stored.start, {})[symbol] = Bucket()
            bucket.revision, bucket.has_ratio = stored.revision, stored.has_ratio
            bucket.parts = {start: unpack_bar(bar) for start, bar in stored.parts}
            bucket.known = True

    def _restore_level(self, level: int) -> None:
        """Complete the stored buckets of a level, and make the one that is not over yet; shorter levels are done."""
        for start, symbols in self._buckets[level].items():
            for symbol, bucket in symbols.items():
                self._add_parts(level, start, symbol, bucket)
                ended = self._levels[level].end(start) <= self.clock
                bucket.revision = max(bucket.revision, 0 if ended else -1)
        current = self._straddling(level, self.clock)
        if current is None:
            return
        begin, end = self._levels[level].clip(
            current, floor_to(self.clock, self._levels[self._children[level]].length)
        )
        found = {s for start, some in self._trades.items() if begin <= start < end for s in some}
        found.update(s for s, bucket in self._buckets[level].get(current, {}).items() if bucket.parts)
        for symbol in sorted(found):
            self._reopen(level, current, symbol, self._bucket(level, current, symbol), None)

    def _recall(self, symbol: str, offset: int) -> Place | None:
        """Where the trade is that the cancel at ``offset`` took out when it was first read."""
        cancel = self._cancels.get(symbol, {}).get(offset)
        return None if cancel is None else self._window.place_of(symbol, cancel.key)


def _bar_of_all(held: list[Trades]) -> Bar:
    """The bar of neighbouring base buckets, each split into sides as it was published."""
    bar = bar_of([tick for trades in held for tick in trades.ticks])
    bar.bought = sum(trades.bought for trades in held)
    bar.sold = sum(trades.sold for trades in held)
    return bar


def _forget(held: dict[str, dict[K, V]], is_old: Callable[[K, V], bool]) -> None:
    """Drop the entries that are old, and the symbols that have none left."""
    for symbol, entries in list(held.items()):
        for key in [k for k, v in entries.items() if is_old(k, v)]:
            del entries[key]
        if not entries:
            del held[symbol]
