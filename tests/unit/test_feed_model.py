from collections import Counter
from itertools import pairwise
from math import log
from random import Random
from statistics import correlation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.events import CryptoTrade, Event, StockTrade
from feed.listing import Listing
from feed.model import BTC_LIMIT, MarketModel
from feed.symbols import DEFAULT_SYMBOLS, symbol_list

SUNDAY = 1_709_478_000_000  # 2024-03-03T15:00:00Z


def symbols(count: int = 10) -> list[str]:
    return symbol_list(list(DEFAULT_SYMBOLS), count)


@pytest.fixture(scope="module")
def minute() -> list[Event]:
    """All trades of one minute of 200 symbols at 1,000 trades a second, however late they are sent."""
    model = MarketModel(symbols(200), seed=3, rate=1000, start_ms=SUNDAY)
    return [event for _ in range(6000) for event in model.step()]


def identity(event: Event) -> tuple[str, str]:
    assert event.trade is not None
    return event.symbol, event.trade.i


def stamp(event: Event) -> int:
    assert event.trade is not None
    return event.trade.t


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate=st.integers(1, 3000),
    count=st.integers(10, 300),
    chops=st.lists(st.integers(0, 1500), min_size=1, max_size=6),
)
def test_stream_depends_on_the_seed_and_not_on_how_it_is_asked_for(
    seed: int, rate: int, count: int, chops: list[int]
) -> None:
    once = MarketModel(symbols(count), seed, rate, SUNDAY)
    often = MarketModel(symbols(count), seed, rate, SUNDAY)
    now, pieces = SUNDAY, []
    for chop in chops:
        now += chop
        piece = often.advance(now)
        assert all(event.send_ms <= now for event in piece)
        pieces += piece
    whole = once.advance(now)
    assert pieces == whole
    sends = [event.send_ms for event in whole]
    assert sends == sorted(sends)
    assert all(SUNDAY <= stamp(event) <= event.send_ms for event in whole)


def test_every_trade_is_sent_once_however_late() -> None:
    happened = [e for model in [MarketModel(symbols(), 6, 100, SUNDAY)] for _ in range(1000) for e in model.step()]
    sent = [e for e in MarketModel(symbols(), 6, 100, SUNDAY).advance(SUNDAY + 250_000) if stamp(e) < SUNDAY + 10_000]
    assert sum(event.send_ms > stamp(event) for event in happened if event.ev == "T") > 3
    assert sorted(happened, key=identity) == sorted(sent, key=identity)


def test_another_seed_is_another_market() -> None:
    first = MarketModel(symbols(), 1, 100, SUNDAY).advance(SUNDAY + 2000)
    second = MarketModel(symbols(), 2, 100, SUNDAY).advance(SUNDAY + 2000)
    assert first != second


@pytest.mark.parametrize("rate", [5, 50, 2000])
def test_rate_holds_over_a_block_in_spite_of_bursts(rate: int) -> None:
    model = MarketModel(symbols(), 5, rate, SUNDAY)
    count = sum(len(model.step()) for _ in range(6000))
    assert count == pytest.approx(rate * 60, rel=0.01)


def test_seconds_are_uneven_with_bursts_unless_steady() -> None:
    def per_second(burst: float) -> list[int]:
        model = MarketModel(symbols(), 5, 500, SUNDAY, burst=burst)
        return list(Counter(e.trade.t // 1000 for _ in range(12_000) for e in model.step() if e.trade).values())

    uneven, steady = per_second(10), per_second(1)
    assert max(uneven) > 1500
    assert max(uneven) <= 5500
    assert set(steady) == {500}


def test_identities_are_unique(minute: list[Event]) -> None:
    keys = [
        (e.symbol, e.trade.x, e.trade.trfi if isinstance(e.trade, StockTrade) else None, e.trade.i)
        for e in minute
        if e.trade
    ]
    assert len(set(keys)) == len(keys) == pytest.approx(60_000, rel=0.01)


def test_a_feed_restarted_the_same_day_uses_no_identity_again() -> None:
    first = MarketModel(symbols(), 1, 2000, SUNDAY).advance(SUNDAY + 3000)
    second = MarketModel(symbols(), 1, 2000, SUNDAY + 3000).advance(SUNDAY + 6000)
    assert not {(e.symbol, e.trade.i) for e in first if e.trade} & {(e.symbol, e.trade.i) for e in second if e.trade}


@given(
    seed=st.integers(0, 2**32),
    symbol=st.sampled_from(["BTC-USD", "MARA", "CAN", "SAAA"]),
    moves=st.lists(st.tuples(st.integers(0, 3_600_000), st.floats(-BTC_LIMIT, BTC_LIMIT), st.floats(-6, 6))),
)
def test_no_draw_makes_a_price_run_away(seed: int, symbol: str, moves: list[tuple[int, float, float]]) -> None:
    listing = Listing(symbol, Random(seed), SUNDAY, 0)
    base = listing.price(SUNDAY, 0.0, 0.0)
    now = SUNDAY
    for gap, btc, noise in moves:
        now += gap
        assert base / 2.1 < listing.price(now, btc, noise) < base * 2.1
        assert listing.stock_trade(now, base / 2.1, (4, 201, 1, 1, None, None, -100, 0), 1).p > 0


def test_prices_move_but_are_drawn_back() -> None:
    model = MarketModel(symbols(), 5, 10, SUNDAY, burst=1, block_seconds=10)
    prices: dict[str, list[float]] = {}
    for _ in range(1200 * 100):
        for event in model.step():
            prices.setdefault(event.symbol, []).append(event.trade.p if event.trade else 0.0)
    for series in prices.values():
        assert len(set(series)) > 3
        assert max(series) < 1.1 * min(series)


def test_miners_follow_bitcoin() -> None:
    model = MarketModel(["BTC-USD", "MARA"], 11, 20, SUNDAY, burst=1)
    series: dict[str, dict[int, float]] = {"BTC-USD": {}, "MARA": {}}
    for _ in range(1800 * 100):
        for event in model.step():
            if event.trade:
                series[event.symbol][event.trade.t // 10_000] = event.trade.p
    both = sorted(series["BTC-USD"].keys() & series["MARA"].keys())
    moves = {name: [log(prices[b] / prices[a]) for a, b in pairwise(both)] for name, prices in series.items()}
    assert correlation(moves["BTC-USD"], moves["MARA"]) > 0.7


def test_stock_trades_look_like_the_real_ones(minute: list[Event]) -> None:
    trades = [e.trade for e in minute if isinstance(e.trade, StockTrade)]
    odd = [t for t in trades if 37 in (t.c or ())]
    assert 0.42 < len(odd) / len(trades) < 0.48
    assert all(t.s < 100 for t in odd)
    assert all(t.s >= 100 for t in trades if 37 not in (t.c or ()))
    assert 0.25 < sum(t.x == 4 for t in trades) / len(trades) < 0.37
    assert {t.x for t in trades} >= {1, 2, 4, 7, 8, 10, 11, 12, 15, 18, 19, 21}
    assert {t.z for t in trades} == {1, 2, 3}
    assert not any(12 in (t.c or ()) for t in trades), "a default market is always in regular hours"
    for t in trades:
        assert (t.trfi is not None) == (t.trft is not None) == (t.x == 4)
        assert t.trft is None or t.trft <= t.t


def test_fractional_sizes_have_their_whole_part_in_s(minute: list[Event]) -> None:
    trades = [e.trade for e in minute if isinstance(e.trade, StockTrade) and e.trade.ds is not None]
    assert len(trades) > 300
    for trade in trades:
        whole, fraction = (trade.ds or "").split(".")
        assert int(whole) == trade.s
        assert 1 <= len(fraction) <= 6
        assert int(fraction) > 0
    assert all(e.trade.s > 0 for e in minute if isinstance(e.trade, StockTrade) and e.trade.ds is None)


def test_some_trf_prints_come_late_most_of_them_within_ten_seconds(minute: list[Event]) -> None:
    delays = [e.send_ms - stamp(e) for e in minute if isinstance(e.trade, StockTrade) and e.send_ms > stamp(e)]
    prints = sum(isinstance(e.trade, StockTrade) and e.trade.x == 4 for e in minute)
    assert 0.02 < len(delays) / prints < 0.04
    assert sum(delay <= 10_000 for delay in delays) > 0.9 * len(delays)
    assert 10_000 < max(delays) <= 240_000
    assert all(e.trade.x == 4 for e in minute if isinstance(e.trade, StockTrade) and e.send_ms > stamp(e))


def test_crypto_trades_are_sent_when_received(minute: list[Event]) -> None:
    events = [e for e in minute if isinstance(e.trade, CryptoTrade)]
    assert {e.trade.x for e in events if e.trade} == {1, 2, 6, 10, 23}
    assert len(events) == pytest.approx(45 * 60, rel=0.1)
    for event in events:
        assert isinstance(event.trade, CryptoTrade)
        assert event.trade.r == event.send_ms > event.trade.t
        assert event.trade.c in {(0,), (1,), (2,)}
        assert event.trade.s > 0


def test_activity_follows_a_power_law(minute: list[Event]) -> None:
    counts = [n for _, n in Counter(e.symbol for e in minute if e.ev == "T").most_common()]
    assert len(counts) > 190
    assert counts[0] > 5 * counts[19] > 10 * counts[150]


def test_ten_thousand_symbols_all_have_a_place() -> None:
    names = symbols(10_000)
    model = MarketModel(names, 1, 100_000, SUNDAY, burst=1)
    seen = {event.symbol for _ in range(100) for event in model.step()}
    assert len(names) == len(set(names)) == 10_000
    assert len(seen) > 5000


@pytest.mark.parametrize("names", [[], ["A", "A"], [""]])
def test_symbols_must_be_distinct_and_named(names: list[str]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        symbol_list(names)


@pytest.mark.parametrize("count", [1, 10_001])
def test_symbol_count_is_bounded(count: int) -> None:
    with pytest.raises(ValueError, match="symbol count"):
        symbol_list(["A", "B"], count)
