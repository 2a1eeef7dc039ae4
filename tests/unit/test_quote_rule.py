"""Sides and spreads of trades that met a quote."""

from __future__ import annotations

import msgspec
import pytest

from marketdata.bar import BUY, SELL, UNIT, Bar, Flow, Tick, bar_of, quote_side, roll_up, take_sides
from marketdata.calendar import TradingHours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.intervals import levels
from marketdata.records import Ratio, Trade
from marketdata.ticks import tick_of_ratio, tick_of_trade

S = 1_000_000
T0 = 1_700_006_400 * S
Quote = tuple[float, float] | None


def tick(n: int, price: float, quote: Quote = None, *, side: int = 0, volume: bool = True) -> Tick:
    return Tick(T0 + n * S, 0, 1, str(n), 0, price, 1.0, True, True, volume, None, side, quote)


def sides(*ticks: Tick) -> str:
    """B, S or - for each tick."""
    found, flow = "", Flow()
    for each in ticks:
        bar = Bar()
        flow = take_sides(bar, [each], flow)
        found += "B" if bar.bought else "S" if bar.sold else "-"
    return found


@pytest.mark.parametrize(
    ("price", "quote", "side"),
    [(10.03, (10.0, 10.05), BUY), (10.02, (10.0, 10.05), SELL), (10.025, (10.0, 10.05), 0), (0.3, (0.1, 0.5), 0),
     (10.0, (10.0, 10.0), 0), (9.99, (10.0, 10.0), SELL), (10.1, (10.0, 10.05), BUY)],
)  # fmt: skip
def test_the_side_is_that_of_the_middle(price: float, quote: tuple[float, float], side: int) -> None:
    assert quote_side(price, quote) == side


def test_the_tick_rule_decides_at_the_middle_and_without_a_quote() -> None:
    assert sides(tick(0, 10.0), tick(1, 10.1), tick(2, 10.05)) == "-BS"
    assert sides(tick(0, 10.0), tick(1, 10.1, (10.0, 10.2)), tick(2, 10.05)) == "-BS"
    assert sides(tick(0, 10.0), tick(1, 10.1, (10.1, 10.2)), tick(2, 10.1)) == "-SB", "up from 10.0, whoever it was"
    assert sides(tick(0, 10.0, (9.0, 10.0))) == "B", "no other price is needed"


def test_a_side_that_the_feed_names_counts_before_the_quote() -> None:
    assert sides(tick(0, 10.0, (9.0, 10.0), side=SELL)) == "S"
    assert bar_of([tick(0, 10.0, (9.0, 10.0), side=SELL)]).quoted == (1, UNIT, UNIT, 0)


def test_spreads_are_of_price_forming_trades_with_a_quote() -> None:
    odd = msgspec.structs.replace(tick(3, 99.0, (1.0, 2.0)), high_low=False)
    bar = bar_of([tick(0, 10.0, (9.9, 10.0)), tick(1, 10.0, (9.8, 10.2), volume=False), tick(2, 5.0), odd])
    assert bar.quoted is not None
    assert (bar.quoted.ticks, bar.quoted.spread / UNIT, bar.quoted.effective / UNIT) == (2, 0.5, 0.1)
    assert bar.quoted.sides == 1
    assert roll_up((bar, bar_of([tick(9, 1.0)]), bar)).quoted == bar.quoted.plus(bar.quoted)
    assert bar_of([tick(2, 5.0)]).quoted is None


def features(*ticks: Tick, sessions: TradingHours | None) -> tuple[str, float | None, float | None]:
    """Source of sides, quoted and effective spread of the candle."""
    made = levels(("500ms", "15s"))
    engine = CandleEngine(made, 900 * S)
    book = FeatureBook(engine, made, FeatureSettings(sessions=sessions))
    for each in ticks:
        engine.add("A", each, each.ts)
    views = [book.take(closed) for closed in engine.advance(T0 + 15 * S)]
    price, _ = views[-1]["all"]
    assert price is not None
    return price.side_source, price.quoted_spread, price.effective_spread


OPEN = TradingHours({}, (0, 1 << 60))


def test_the_source_of_sides_is_the_quote_where_it_told_any() -> None:
    first, second = tick(0, 10.0), tick(1, 10.1)
    assert features(first, sessions=OPEN) == ("unknown", None, None)
    assert features(first, second, sessions=OPEN) == ("tick", None, None)
    quoted = tick(2, 10.0, (10.0, 10.5))
    assert features(first, second, quoted, sessions=OPEN) == ("quote", 0.5, 0.5)
    middle = tick(2, 10.25, (10.0, 10.5))
    assert features(first, second, middle, sessions=OPEN) == ("tick", 0.5, 0.0)
    assert features(tick(0, 10.0, (10.0, 10.5), side=SELL), sessions=None) == ("feed", 0.5, 0.5)


def ratio(bid: float | None, ask: float | None) -> Ratio:
    return Ratio("MARA", T0, T0, 1, "1", 1, 10.0, 1.0, 1, True, True, True, (0, 0, 0), T0, None, None, None, None,
                 None, None, None, "no_reference", bid=bid, ask=ask)  # fmt: skip


@pytest.mark.parametrize(
    ("bid", "ask", "quote"),
    [(None, None, None), (9.0, None, None), (9.0, 9.5, (9.0, 9.5)), (9.0, 9.0, (9.0, 9.0)), (9.5, 9.0, None)],
)
def test_a_crossed_or_one_sided_quote_is_none(bid: float | None, ask: float | None, quote: Quote) -> None:
    assert tick_of_ratio(ratio(bid, ask)).quote == quote
    trade = Trade(symbol="BTC-USD", ts=T0, received_ts=T0, price=9.2, size=1, exchange=1, id="1", epoch=1, bid=bid,
                  ask=ask)  # fmt: skip
    assert tick_of_trade(trade).quote == quote


def test_a_trade_that_is_taken_twice_is_counted_twice() -> None:
    """No reader hands one over twice; if one did, the order of trades must not be what fails."""
    engine = CandleEngine(levels(("500ms",), TradingHours({}, (0, 0))), 900 * S)
    for _ in range(2):
        engine.add("A", tick(0, 10.0), 0)
    (closed,) = engine.advance(T0 + S)
    assert closed.bar.ticks == 2
