"""Forming candles against what the engine would close: for any trades, cancels and clocks, in any order."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from marketdata.actions import ActionTable, parse_actions
from marketdata.bar import Tick
from marketdata.calendar import TradingHours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.forming import Forming
from marketdata.intervals import levels
from marketdata.records import FormingCandle

S = 1_000_000
DAY = 1_700_006_400 * S
OPENS, CLOSES = DAY + 52_200 * S, DAY + 57_600 * S
SESSIONS = TradingHours({DAY // (86_400 * S): (OPENS, CLOSES)}, (0, 1 << 40))
NIGHT = DAY + 18_000 * S  # midnight in New York, where one trading day ends
LEVELS = levels(("500ms", "1s", "5s", "15s", "45s", "1m", "15m", "24h", "1d"), SESSIONS)
SHOWN = [i for i, level in enumerate(LEVELS) if level.sessions is None or level.exchange_day]
HORIZON = 20 * S
SPLIT = parse_actions("kind,symbol,day,from,to\nsplit,A,2023-11-15,1,4\n")


class Market:
    """An engine with its features and its forming candles, and what it was given."""

    def __init__(self, actions: ActionTable) -> None:
        self.engine = CandleEngine(LEVELS, HORIZON)
        self.book = FeatureBook(
            self.engine, LEVELS, FeatureSettings(("1s", "15s", "1m"), ("all",), SESSIONS, actions)
        )
        self.forming = Forming(self.engine, LEVELS, self.book)
        self.taken: list[tuple[str, Tick]] = []

    def advance(self, clock: int) -> dict[tuple[str, str, int], Any]:
        """Everything the clock closes."""
        found = {}
        for closed in self.engine.advance(clock):
            views = self.book.take(closed)
            found[LEVELS[closed.level].key, closed.symbol, closed.start] = (
                closed,
                views.get("all", (None, None)),
            )
        return found

    def add(self, symbol: str, tick: Tick) -> None:
        if self.engine.add(symbol, tick, tick.ts):
            self.taken.append((symbol, tick))
            self.forming.changed(symbol, tick.ts)

    def cancel(self, number: int) -> None:
        symbol, tick = self.taken[number % len(self.taken)]
        if self.engine.cancel(symbol, replace(tick, ts=tick.ts + 1), tick.id, tick.ts, 10_000 + number):
            self.taken.remove((symbol, tick))
            self.forming.changed(symbol, 0)

    def revise(self, number: int) -> None:
        symbol, tick = self.taken[number % len(self.taken)]
        if self.engine.revise(symbol, changed := replace(tick, ratio=2e-5), tick.ts):
            self.taken[self.taken.index((symbol, tick))] = (symbol, changed)
            self.forming.changed(symbol, tick.ts)


def check(market: Market, symbol: str) -> None:
    """Each forming candle is the one that a copy of the engine closes when the clock jumps to its end."""
    found = market.forming.candles(symbol)
    if found is None:
        assert not market.engine.starts(symbol)
        return
    ts, candles = found
    last = max((tick.ts for s, tick in market.taken if s == symbol), default=0)
    newest = market.engine.starts(symbol)[-1]
    assert ts == last or not market.engine.trades(newest, symbol).ticks
    buckets = {LEVELS[i].key: LEVELS[i].bucket(newest) for i in SHOWN}
    wanted = {key: bucket for key, bucket in buckets.items() if bucket and bucket[1] > market.engine.clock}
    keys = {("1d/regular" if candle.interval == "1d" else candle.interval): candle for candle in candles}
    assert {key: (candle.start, candle.end) for key, candle in keys.items()} == wanted
    future = deepcopy(market)
    then: dict[tuple[str, str, int], Any] = {}
    for key, candle in sorted(keys.items(), key=lambda entry: entry[1].end):
        then |= future.advance(candle.end)
        compare(candle, *then[key, symbol, candle.start])


def compare(candle: FormingCandle, closed: Any, features: tuple[Any, Any]) -> None:
    price, ratio = closed.bar.price_block(), closed.bar.ratio_block(closed.end)
    assert (
        candle.open, candle.high, candle.low, candle.close, candle.volume, candle.vwap, candle.tick_count
    ) == (price.open, price.high, price.low, price.close, price.volume, price.vwap, price.tick_count)  # fmt: skip
    if candle.ratio is None:
        assert ratio.close is None
    else:
        assert (candle.ratio.open, candle.ratio.high, candle.ratio.low, candle.ratio.close) == (
            ratio.open, ratio.high, ratio.low, ratio.close
        )  # fmt: skip
    assert (candle.features, candle.ratio_features) == features, candle.interval


STEP = st.one_of(
    st.tuples(
        st.just("trade"), st.sampled_from("AB"), st.sampled_from((0, 3, 60, 400, 1_500, 20_000)),
        st.sampled_from((0, 0, 0, 0, 5, 700, 4_000, 19_000)), st.integers(1, 400), st.integers(1, 500),
        st.tuples(st.booleans(), st.booleans(), st.booleans()), st.booleans(),
    ),
    st.tuples(st.just("clock"), st.sampled_from((0, 50, 250, 300, 1_000))),
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("revise"), st.integers(0, 50)),
)  # fmt: skip


def play(market: Market, begin: int, steps: list[tuple[Any, ...]], checked: list[bool]) -> int:
    """Run the steps, and look at the forming candles after some of them; how often."""
    now, looks = begin, 0
    for i, (what, *how) in enumerate(steps):
        if what == "trade":
            symbol, passed, late, cents, size, (high_low, open_close, volume), joined = how
            now += passed * 1_000
            tick = Tick(now - late * 1_000, 0, 1, str(i), 0, cents / 100, size / 1_000, high_low,
                        open_close and high_low, volume, cents / 9e6 if joined else None)  # fmt: skip
            market.add(symbol, tick)
        elif what == "clock":
            now += 50_000
            clock = now // 50_000 * 50_000 - how[0] * 1_000
            if clock > market.engine.clock:
                market.advance(clock)
        elif market.taken:
            market.cancel(how[0]) if what == "cancel" else market.revise(how[0])
        if checked[i % len(checked)]:
            looks += 1
            for symbol in "AB":
                check(market, symbol)
    return looks


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((OPENS - 30 * S, NIGHT - 20 * S, CLOSES - 20 * S)), st.lists(STEP, min_size=5, max_size=50),
    st.lists(st.booleans(), min_size=1, max_size=7), st.sampled_from((ActionTable(), SPLIT)),
)  # fmt: skip
def test_a_forming_candle_is_what_would_close_now(
    begin: int, steps: list[tuple[Any, ...]], checked: list[bool], actions: ActionTable
) -> None:
    market = Market(actions)
    market.advance(begin - 60 * S)
    play(market, begin, steps, checked)
    for symbol in "AB":
        check(market, symbol)


def test_looking_changes_nothing_that_is_published() -> None:
    """The same steps with and without a look after each: all that clocks close is equal."""
    flags = (True, True, True)
    steps: list[tuple[Any, ...]] = [
        ("trade", "AB"[n % 3 == 0], (7 * n) % 900, (0, 0, 0, 600, 16_000)[n % 5], 90 + n % 7, 5, flags, True)
        if n % 4
        else ("clock", 250)
        for n in range(300)
    ]
    ends = []
    for checked in ([True, False, False], [False]):
        market = Market(SPLIT)
        market.advance(NIGHT - 100 * S)
        looks = play(market, NIGHT - 60 * S, steps, checked)
        assert bool(looks) == any(checked)
        ends.append(
            {key: (c.revision, c.bar.price_block(), f) for key, (c, f) in market.advance(NIGHT + 90_000 * S).items()}
        )
    assert ends[0] == ends[1]
