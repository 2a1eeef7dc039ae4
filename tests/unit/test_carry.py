"""With GAP_POLICY=carry a regular session has a candle for each bucket, whatever was traded."""

from __future__ import annotations

from collections import Counter

import pytest

from marketdata.bar import Tick
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine, Closed
from marketdata.intervals import levels

S = 1_000_000
FULL, HALF = 1_794_355_200 * S, 1_795_737_600 * S  # 2026-11-11, and 2026-11-27, which ends at 13:00
SESSIONS = new_york_hours()
LEVELS = levels(("500ms", "1s", "15s", "1m", "15m", "1h", "1d"), SESSIONS)


def tick(ts: int, name: str, price: float, *, high_low: bool = True) -> Tick:
    return Tick(ts, 0, 1, name, 0, price, 10.0, high_low, high_low, True, price / 1e5 if high_low else None)


def day_of(engine: CandleEngine, day: int) -> list[Closed]:
    """Two symbols: one trades before the open and at noon, one only before the open."""
    found = list(engine.advance(day + 13 * 3_600 * S))
    opens, closes = SESSIONS.session(day)
    for symbol in "AB":
        engine.add(symbol, tick(opens - 600 * S, symbol, 10.0), 0)
    engine.add("A", tick(opens + 7_200 * S + 1, "noon", 12.0), 0)
    engine.add("A", tick(opens + 7_300 * S, "odd lot", 99.0, high_low=False), 0)
    for clock in (*range(opens - 300 * S, closes, 450 * S), closes + 12 * 3_600 * S):
        found += engine.advance(clock)
    return found


@pytest.mark.parametrize(("day", "rows"), [(FULL, 46_800), (HALF, 25_200)])
def test_a_regular_session_is_whole(day: int, rows: int) -> None:
    found = day_of(CandleEngine(LEVELS, 900 * S, SESSIONS), day)
    regular = [c for c in found if SESSIONS.is_regular(c.start)]
    assert Counter(c.symbol for c in regular if c.level == 0) == {"A": rows, "B": rows}
    assert Counter(c.symbol for c in regular if LEVELS[c.level].name == "1m") == {"A": rows // 120, "B": rows // 120}
    assert {(c.symbol, c.start, c.end) for c in found if LEVELS[c.level].exchange_day} == {
        (symbol, *SESSIONS.session(day)) for symbol in "AB"
    }
    assert not [c for c in found if c.level == 0 and not SESSIONS.is_regular(c.start) and not c.bar.ticks]


def test_an_empty_candle_shows_the_last_close_and_counts_nothing() -> None:
    found = day_of(CandleEngine(LEVELS, 900 * S, SESSIONS), FULL)
    opens = SESSIONS.session(FULL)[0]
    at = {c.start: c.shown for c in found if c.symbol == "A" and c.level == 0}
    for start, close in ((opens, 10.0), (opens + 7_201 * S, 12.0), (opens + 7_300 * S, 12.0)):
        price, ratio = at[start].price_block(), at[start].ratio_block(start + S // 2)
        assert (price.open, price.high, price.low, price.close, price.avg, price.tick_count) == (*(close,) * 5, 0)
        assert (ratio.open, ratio.close, ratio.tick_count) == (close / 1e5, close / 1e5, 0)
    assert at[opens + 7_300 * S].price_block().volume == 10.0


def test_a_late_trade_in_an_empty_candle_is_its_first_revision_and_rewrites_no_other() -> None:
    engine = CandleEngine(LEVELS, 900 * S, SESSIONS)
    opens = SESSIONS.session(FULL)[0]
    list(engine.advance(opens - 700 * S))
    engine.add("A", tick(opens - 600 * S, "1", 10.0), 0)
    list(engine.advance(opens - 300 * S))
    list(engine.advance(opens + 100 * S))
    engine.add("A", tick(opens + 50 * S, "late", 11.0), 5)
    revised = engine.advance(opens + 100 * S + 50_000)
    again = [(LEVELS[c.level].name, c.start, c.revision, c.bar.close) for c in revised]
    assert again == [
        ("500ms", opens + 50 * S, 1, 11.0), ("1s", opens + 50 * S, 1, 11.0), ("15s", opens + 45 * S, 1, 11.0),
        ("1m", opens, 1, 11.0),
    ]  # fmt: skip
    after = [c.shown.close for c in engine.advance(opens + 101 * S) if c.level == 0]
    assert after == [11.0, 11.0]
