"""The trades that candles can still be revised by, in base buckets by start and symbol."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, KeysView
from typing import NamedTuple

from marketdata.bar import Bar, Flow, Tick, order_of, roll_up, take_sides
from marketdata.buckets import Trades
from marketdata.order import IdKey, OrderKey, id_key
from marketdata.units import floor_to


class Place(NamedTuple):
    """Where a trade is held: its base bucket, that one's start in µs, and the trade's index in it."""

    start: int
    trades: Trades
    at: int


class TradeWindow:
    """The base buckets, each of ``base`` µs, of one partition's trades.

    Trades with an event time before ``oldest`` are gone; of them stands what the tick rule knew after them.
    """

    def __init__(self, base: int) -> None:
        self.buckets: dict[int, dict[str, Trades]] = {}
        self.flows: dict[str, Flow] = {}
        self.oldest = 0
        self._base = base
        self._starts: dict[str, list[int]] = {}

    def symbols(self) -> KeysView[str]:
        """The symbols that have trades here."""
        return self._starts.keys()

    def starts(self, symbol: str) -> list[int]:
        """The starts of the symbol's base buckets, ascending; not to be changed."""
        return self._starts.get(symbol, [])

    def at(self, start: int, symbol: str) -> Trades:
        """The base bucket at ``start``, one of ``starts``."""
        return self.buckets[start][symbol]

    def begin(self, symbol: str, start: int, born: int) -> Trades:
        """A new base bucket, at a start that the symbol has none at."""
        starts = self._starts.setdefault(symbol, [])
        if starts and start < starts[-1]:
            insort(starts, start)
        else:
            starts.append(start)
        trades = self.buckets.setdefault(start, {})[symbol] = Trades(born)
        return trades

    def within(self, symbol: str, start: int, end: int) -> list[int]:
        """The starts of the symbol's base buckets in [start, end)."""
        starts = self.starts(symbol)
        return starts[bisect_left(starts, start) : bisect_left(starts, end)]

    def parts(self, symbol: str, start: int, end: int, step: int) -> list[int]:
        """The parts of [start, end) that can hold something: those with trades, and one that began before ``oldest``.

        ``step``: their length.
        """
        found = {floor_to(s, step) for s in self.within(symbol, start, end)}
        if start < min(self.oldest, end):
            found.add(start)
        return sorted(found)

    def place_of(self, symbol: str, key: OrderKey) -> Place | None:
        """Where the trade with this place in the order of trades is."""
        start = floor_to(key[0], self._base)
        trades = self.buckets.get(start, {}).get(symbol)
        if trades is not None:
            for at, tick in enumerate(trades.ticks):
                if order_of(tick) == key:
                    return Place(start, trades, at)
        return None

    def original_of(self, symbol: str, record: Tick, trade_id: str, since: int) -> Place | None:
        """The trade that a cancel or correction ``record`` means, with an event time from ``since`` on.

        It is named by exchange, TRF and id, else it is the nearest earlier one of that exchange, price and size.
        """
        key: IdKey = id_key(trade_id)
        by_value: tuple[int, Trades, Tick] | None = None
        for start in reversed(self.starts(symbol)):
            trades = self.buckets[start][symbol]
            for tick in sorted(trades.ticks, key=order_of, reverse=True):
                if tick.exchange != record.exchange or tick.ts < since:
                    continue
                if tick.trf == record.trf and id_key(tick.id) == key:
                    return Place(start, trades, trades.ticks.index(tick))
                same = tick.price == record.price and tick.size == record.size and order_of(tick) <= order_of(record)
                if same and by_value is None:
                    by_value = start, trades, tick
        if by_value is None:
            return None
        start, trades, tick = by_value
        return Place(start, trades, trades.ticks.index(tick))

    def leaving(self, oldest: int) -> dict[int, dict[str, Trades]]:
        """The buckets before ``oldest``, by start."""
        return {start: symbols for start, symbols in self.buckets.items() if start < oldest}

    def forget(self, leaving: Iterable[int], oldest: int) -> None:
        """Let the buckets at ``leaving`` go, which are all those before ``oldest``."""
        symbols: set[str] = set()
        for start in sorted(leaving):
            for symbol, trades in self.buckets.pop(start).items():
                symbols.add(symbol)
                if trades.flow is not None:
                    self.flows[symbol] = trades.flow
        for symbol in symbols:
            starts = self._starts[symbol]
            del starts[: bisect_left(starts, oldest)]
            if not starts:
                del self._starts[symbol]
        self.oldest = oldest

    # --- sides -----------------------------------------------------------------------------------------------------

    def flow_before(self, symbol: str, start: int) -> Flow:
        """What the tick rule knew before the bucket at ``start``."""
        starts = self._starts[symbol]
        for at in range(bisect_left(starts, start) - 1, -1, -1):
            flow = self.buckets[starts[at]][symbol].flow
            if flow is not None:
                return flow
        return self.flows.get(symbol, Flow())

    def pass_flow_on(self, symbol: str, start: int, flow: Flow) -> tuple[int, Trades] | None:
        """The next published bucket whose sides are others where ``flow`` is known after the one at ``start``."""
        starts = self._starts[symbol]
        for at in range(bisect_right(starts, start), len(starts)):
            trades = self.buckets[starts[at]][symbol]
            if trades.flow is None:
                return None  # not published yet: it will look back itself
            probe = Bar()
            flow = take_sides(probe, trades.ticks, flow)
            if (probe.bought, probe.sold) != (trades.bought, trades.sold):
                return starts[at], trades
            if flow == trades.flow:
                return None
            trades.flow = flow
        return None

    def with_sides(self, symbol: str, pending: set[int]) -> dict[int, Bar]:
        """The bars of the base buckets at ``pending`` as they would be published now, by start.

        Those after them whose sides would change by it are given too.
        """
        found: dict[int, Bar] = {}
        flow: Flow | None = None
        starts = self.starts(symbol)
        for start in starts[bisect_left(starts, min(pending)) :] if pending else ():
            if start not in pending and flow is None:
                continue
            trades = self.buckets[start][symbol]
            bar, sides = trades.bar(), Bar()
            after = take_sides(sides, trades.ticks, self.flow_before(symbol, start) if flow is None else flow)
            if start in pending or (sides.bought, sides.sold) != (trades.bought, trades.sold):
                found[start] = roll_up((bar, sides))
            flow = None if after == trades.flow else after
        return found
