"""Candles against a plain recomputation, for any trades in any order with any clocks."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from marketdata.bar import UNIT, Tick, order_of
from marketdata.calendar import TradingHours
from marketdata.candles import CandleEngine
from marketdata.intervals import Interval, IntervalError, levels

S = 1_000_000
NAMES = ("500ms", "1s", "5s", "15s", "1m", "1h", "24h")
DAY = 1_700_006_400 * S
OPENS, CLOSES = DAY + 52_200 * S, DAY + 57_600 * S
T0 = OPENS - 60 * S
LEVELS = levels((*NAMES, "1d"), TradingHours({DAY // (86_400 * S): (OPENS, CLOSES)}, (0, 1 << 40)))


@st.composite
def trades(draw: st.DrawFn) -> list[tuple[str, Tick]]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["AAA", "B"]),
                st.integers(0, 130_000),
                st.integers(1, 400),
                st.integers(1, 500),
                st.tuples(st.booleans(), st.booleans(), st.booleans()),
                st.booleans(),
                st.none() | st.tuples(st.integers(-20, 20), st.integers(0, 20)),
            ),
            max_size=40,
        )
    )
    made = []
    for i, (symbol, ms, cents, size, (high_low, open_close, volume), joined, around) in enumerate(rows):
        price = cents / 100
        ratio = price / 97_123.45 if joined else None
        quote = None if around is None else ((cents + around[0]) / 100, (cents + sum(around)) / 100)
        made.append((symbol, Tick(T0 + ms * 1_000, 0, 1, str(i), 0, price, size / 1_000, high_low,
                                  open_close and high_low, volume, ratio, quote=quote)))  # fmt: skip
    return made


def expected(found: list[tuple[str, Tick]], level: Interval) -> dict[tuple[str, int], dict[str, Any]]:
    """The plain way: group by bucket, sort, take first and last, add up as fractions."""
    buckets: dict[tuple[str, int, int], list[Tick]] = defaultdict(list)
    for symbol, tick in found:
        if level.sessions is not None and not OPENS <= tick.ts < CLOSES:
            continue
        start = OPENS if level.exchange_day else tick.ts // level.length * level.length
        buckets[symbol, start, CLOSES if level.exchange_day else start + level.length].append(tick)
    sides = sides_of(found)
    return {(s, start): _plain(sorted(ticks, key=order_of), end, sides) for (s, start, end), ticks in buckets.items()}


def sides_of(found: list[tuple[str, Tick]]) -> dict[Tick, int]:
    """1 where the trade is the buyer's, -1 the seller's: the quote, else the tick rule over each symbol's tape."""
    sides = {}
    for symbol in {symbol for symbol, _ in found}:
        tape = [t for s, t in sorted(found, key=lambda entry: order_of(entry[1])) if s == symbol and t.high_low]
        for i, tick in enumerate(tape):
            other = [t.price for t in tape[:i] if t.price != tick.price]
            changes = [a.price < b.price for a, b in pairwise(tape[: i + 1]) if a.price != b.price]
            sides[tick] = _above(tick) or ((1 if changes[-1] else -1) if other else 0)
    return sides


def _above(tick: Tick) -> int:
    """1 above the middle of the quote, -1 below it, 0 at it or without one; in cents, which are whole here."""
    if tick.quote is None:
        return 0
    twice = 2 * round(tick.price * 100) - round(tick.quote[0] * 100) - round(tick.quote[1] * 100)
    return (twice > 0) - (twice < 0)


def _spreads(priced: list[Tick]) -> dict[str, Any]:
    met = [(t, _cents(t.price), _cents(t.quote[0]), _cents(t.quote[1])) for t in priced if t.quote is not None]
    return {
        "quoted": float(sum(ask - bid for _, _, bid, ask in met) / 100 / len(met)) if met else None,
        "effective": float(sum(abs(2 * p - bid - ask) for _, p, bid, ask in met) / 100 / len(met)) if met else None,
        "by_quote": sum(t.volume and _above(t) != 0 for t, *_ in met),
    }


def _cents(price: float) -> Fraction:
    return Fraction(round(price * 100))


def _plain(ticks: list[Tick], end: int, sides: dict[Tick, int]) -> dict[str, Any]:
    priced = [t for t in ticks if t.high_low]
    opening = [t.price for t in priced if t.open_close]
    with_ratio = [t for t in priced if t.ratio is not None]
    ratios = [t.ratio for t in with_ratio if t.ratio is not None]
    until = [*(t.ts for t in with_ratio[1:]), end]
    size = sum(Fraction(round(t.size * 1_000), 1_000) for t in priced)
    value = sum(Fraction(round(t.price * 100), 100) * Fraction(round(t.size * 1_000), 1_000) for t in priced)
    return {
        "open": opening[0] if opening else None,
        "close": opening[-1] if opening else None,
        "high": max((t.price for t in priced), default=None),
        "low": min((t.price for t in priced), default=None),
        "volume": float(sum(Fraction(round(t.size * 1_000), 1_000) for t in ticks if t.volume)),
        "trade_count": sum(t.volume for t in ticks),
        "bought": sum(round(t.size * 10**9) for t in priced if t.volume and sides[t] > 0),
        "sold": sum(round(t.size * 10**9) for t in priced if t.volume and sides[t] < 0),
        **_spreads(priced),
        "tick_count": len(priced),
        "avg": float(sum(Fraction(round(t.price * 100), 100) for t in priced) / len(priced)) if priced else None,
        "vwap": float(value / size) if size else None,
        "ratio_open": ratios[0] if ratios else None,
        "ratio_close": ratios[-1] if ratios else None,
        "ratio_high": max(ratios, default=None),
        "ratio_low": min(ratios, default=None),
        "ratio_ticks": len(ratios),
        "ratio_avg": float(sum(map(Fraction, ratios)) / len(ratios)) if ratios else None,
        "twap": float(
            sum(Fraction(r) * (b - t.ts) for r, t, b in zip(ratios, with_ratio, until, strict=True))
            / (end - with_ratio[0].ts)
        )
        if ratios
        else None,
    }


def run(found: list[tuple[str, Tick]], clocks: list[int]) -> dict[tuple[int, str, int], tuple[int, dict[str, Any]]]:
    """Feed trades in the given order, with clocks between as ``clocks`` says; the last revision of each candle."""
    engine = CandleEngine(LEVELS, 900 * S)
    out: dict[tuple[int, str, int], tuple[int, dict[str, Any]]] = {}

    def advance(clock: int) -> None:
        order = []
        for closed in engine.advance(clock):
            key = (closed.level, closed.symbol, closed.start)
            assert closed.revision == (out[key][0] + 1 if key in out else 0)
            assert closed.end <= clock
            out[key] = (closed.revision, published(closed.bar, closed.end))
            order.append((closed.end, closed.level, closed.symbol))
        assert order == sorted(order)
        assert len(order) == len(set(order))

    for i, (symbol, tick) in enumerate(found):
        assert engine.add(symbol, tick, tick.ts)
        if i < len(clocks) and T0 + clocks[i] * 50_000 > engine.clock:
            advance(T0 + clocks[i] * 50_000)
    advance(T0 + 180 * S)
    advance(DAY + 172_800 * S)
    return out


def published(bar: Any, end: int) -> dict[str, Any]:
    price, ratio = bar.price_block(), bar.ratio_block(end)
    return {
        "open": price.open, "close": price.close, "high": price.high, "low": price.low, "volume": price.volume,
        "bought": bar.bought, "sold": bar.sold,
        "quoted": bar.quoted and bar.quoted.spread / (bar.quoted.ticks * UNIT),
        "effective": bar.quoted and bar.quoted.effective / (bar.quoted.ticks * UNIT),
        "by_quote": bar.quoted.sides if bar.quoted else 0,
        "trade_count": price.trade_count, "tick_count": price.tick_count, "avg": price.avg, "vwap": price.vwap,
        "ratio_open": ratio.open, "ratio_close": ratio.close, "ratio_high": ratio.high, "ratio_low": ratio.low,
        "ratio_ticks": ratio.tick_count, "ratio_avg": ratio.avg, "twap": ratio.twap,
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(trades(), st.lists(st.integers(0, 3_000), max_size=40))
def test_last_revisions_equal_a_plain_recomputation(found: list[tuple[str, Tick]], clocks: list[int]) -> None:
    out = run(found, clocks)
    for level, interval in enumerate(LEVELS):
        want = expected(found, interval)
        got = {key[1:]: value for key, (_, value) in out.items() if key[0] == level}
        assert got.keys() == want.keys()
        for key, values in want.items():
            assert got[key] == values, (interval.name, key)


@settings(max_examples=60, deadline=None)
@given(trades(), st.randoms(use_true_random=False), st.lists(st.integers(0, 3_000), max_size=40))
def test_arrival_order_changes_no_bit(found: list[tuple[str, Tick]], random: Any, clocks: list[int]) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    first = {key: value for key, (_, value) in run(found, []).items()}
    second = {key: value for key, (_, value) in run(shuffled, clocks).items()}
    assert first == second


@settings(max_examples=60, deadline=None)
@given(trades().filter(bool), st.data())
def test_a_cancel_leaves_what_the_others_make(found: list[tuple[str, Tick]], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(found) - 1))
    symbol, tick = found[gone]
    engine = CandleEngine(LEVELS, 900 * S)
    for each_symbol, each in found:
        engine.add(each_symbol, each, each.ts)
    last = {(c.level, c.symbol, c.start): published(c.bar, c.end) for c in engine.advance(T0 + 180 * S)}
    record = replace(tick, ts=tick.ts + 1, id="cancel")
    by_id = data.draw(st.booleans())
    assert engine.cancel(symbol, record, tick.id if by_id else "cancel", tick.ts, 0)
    last |= {(c.level, c.symbol, c.start): published(c.bar, c.end) for c in engine.advance(T0 + 181 * S)}
    if by_id:
        left = found[:gone] + found[gone + 1 :]
        for level, interval in enumerate(LEVELS[:5]):  # the others are not over
            for key, values in expected(left, interval).items():
                assert last[level, *key] == values
    assert sum(v["trade_count"] for (lv, _, _), v in last.items() if lv == 0) <= sum(t.volume for _, t in found)


@settings(max_examples=100, deadline=None)
@given(trades(), st.randoms(use_true_random=False), st.lists(st.integers(0, 3_000), max_size=60))
def test_late_trades_cancels_and_corrections_in_any_order_end_as_the_corrected_input(
    found: list[tuple[str, Tick]], random: Any, clocks: list[int]
) -> None:
    """A correction is a cancel and another trade; each cancel comes some time after its original."""
    left = [entry for entry in found if random.random() < 0.7]
    gone = [entry for entry in found if entry not in left]
    again = [(s, replace(t, price=t.price + 0.5, id=f"9{int(t.id):06}")) for s, t in gone if random.random() < 0.5]
    arrivals: list[tuple[str, Tick, bool]] = [(*entry, False) for entry in found + again]
    random.shuffle(arrivals)
    for symbol, tick in gone:
        at = arrivals.index((symbol, tick, False))
        arrivals.insert(random.randint(at + 1, len(arrivals)), (symbol, tick, True))
    engine, out = CandleEngine(LEVELS, 900 * S), {}
    ends = [T0 + clock * 50_000 for clock in clocks]
    for i, (symbol, tick, is_cancel) in enumerate(arrivals):
        if is_cancel:
            assert engine.cancel(symbol, replace(tick, ts=tick.ts + 1), tick.id, tick.ts, i)
        else:
            assert engine.add(symbol, tick, tick.ts)
        if i < len(ends) and ends[i] > engine.clock:
            out |= {(c.level, c.symbol, c.start): published(c.bar, c.end) for c in engine.advance(ends[i])}
    for clock in (T0 + 180 * S, DAY + 172_800 * S):
        out |= {(c.level, c.symbol, c.start): published(c.bar, c.end) for c in engine.advance(clock)}
    for level, interval in enumerate(LEVELS):
        want = expected(left + again, interval)
        got = {key[1:]: value for key, value in out.items() if key[0] == level}
        assert {key: value for key, value in got.items() if value["trade_count"] or value["tick_count"]} == {
            key: value for key, value in want.items() if value["trade_count"] or value["tick_count"]
        }


def test_past_the_horizon_nothing_is_taken() -> None:
    engine = CandleEngine(LEVELS, 900 * S)
    list(engine.advance(T0 + 901 * S))
    tick = Tick(T0, 0, 1, "1", 0, 1.0, 1.0, True, True, True, None)
    assert not engine.add("AAA", tick, T0)
    assert not engine.cancel("AAA", tick, "1", T0, 0)


def test_a_late_trade_within_the_horizon_revises_after_buckets_were_pruned() -> None:
    engine = CandleEngine(LEVELS, 900 * S)
    first = Tick(T0 + 600 * S, 0, 1, "1", 0, 2.0, 1.0, True, True, True, None)
    engine.add("AAA", first, 0)
    for minute in range(1, 25):
        list(engine.advance(T0 + minute * 60 * S))
    late = replace(first, ts=T0 + 600 * S + 1, id="2", price=3.0)
    assert engine.add("AAA", late, 0)
    revised = {(c.level, c.revision): c.bar.close for c in engine.advance(T0 + 1_441 * S)}
    assert revised == {(level, 1): 3.0 for level in range(5)}  # the others are not over


@pytest.mark.parametrize(
    ("names", "message"),
    [(("500ms", "7s"), "does not divide"), (("500ms", "x"), "not a number"), ((), "no interval"),
     (("100ms", "500ms"), "100ms is not a multiple of 500ms.* 0.5s"), (("750ms",), "nearest: 0.5s and 1s"),
     (("500ms", "2s", "5s"), None), (("500ms", "1500ms", "2s"), None), (("15s", "1m"), None),
     (("45s", "1m"), "1m is not a multiple of a shorter")],
)  # fmt: skip
def test_interval_names(names: tuple[str, ...], message: str | None) -> None:
    if message is None:
        assert [level.name for level in levels(names) if level.published] == list(names)
    else:
        with pytest.raises(IntervalError, match=message):
            levels(names)
