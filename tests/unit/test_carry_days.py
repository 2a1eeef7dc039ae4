"""GAP_POLICY=carry around changes of the clocks, on a half day and a holiday: a row for each 500 ms of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from marketdata.bar import Tick
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine, Closed
from marketdata.hours import hours_of
from marketdata.intervals import levels
from tests.unit.test_session_days import DAYS, HOUR, us

NAMES = ("500ms", "1m", "15m", "1d")
LEVELS = levels(NAMES, new_york_hours())
FULL, HALF = 46_800, 25_200
ROWS = {"2026-03-06": FULL, "2026-03-09": FULL, "2026-10-30": FULL, "2026-11-02": FULL, "2026-11-25": FULL,
        "2026-11-26": 0, "2026-11-27": HALF, "2026-11-28": 0}  # fmt: skip
HORIZON = 900_000_000
BUSY, QUIET = "BUSY", "QUIET"


def tick(ts: int, price: float, *, odd_lot: bool = False, ratio: float | None = None) -> Tick:
    forms = not odd_lot
    return Tick(ts, 0, 1, str(ts), 0, price, 3.0, forms, forms, True, ratio if forms else None)


def day_of_trades(day: str) -> list[tuple[str, Tick]]:
    """BUSY trades every 97.3 s from before the open to after the close, QUIET once before the open."""
    found = [(QUIET, tick(us(day, 7), 5.0, ratio=0.5))]
    for n, ts in enumerate(range(us(day, 8), us(day, 23), 97_300_000)):
        found.append((BUSY, tick(ts, 10.0 + n, ratio=1.0 + n, odd_lot=n % 5 == 3)))
    return found


def closed_on(day: str, trades: list[tuple[str, Tick]]) -> Iterator[Closed]:
    """What closes until the next midnight, with a clock every 7.35 s and one after each trade."""
    engine = CandleEngine(LEVELS, HORIZON, new_york_hours())
    clocks = list(range(us(day), us(day, 24), 7_350_000))[::-1]
    for symbol, one in trades:
        while clocks and clocks[-1] <= one.ts:
            yield from engine.advance(clocks.pop())
        engine.add(symbol, one, one.ts)
        yield from engine.advance(one.ts + 50_000 - one.ts % 50_000)
    yield from engine.advance(us(day, 24))


@pytest.mark.parametrize("day", ROWS)
def test_a_session_has_a_row_for_every_500_ms(day: str) -> None:
    trades, times = day_of_trades(day), DAYS[day]
    rows: dict[tuple[str, str, str], list[Closed]] = defaultdict(list)
    for closed in closed_on(day, trades):
        level = LEVELS[closed.level]
        for hours in hours_of(level, closed.start, new_york_hours()):
            rows[level.name, hours, closed.symbol].append(closed)

    opens, closes = (us(day, times.opens), us(day, times.closes)) if times else (0, 0)
    for symbol in (BUSY, QUIET):
        base = rows["500ms", "regular", symbol]
        assert [c.start for c in base] == list(range(opens, closes, 500_000))
        assert len(base) == ROWS[day]
        inside = [c for c in rows["500ms", "all", symbol] if opens <= c.start < closes]
        assert [(c.start, c.shown) for c in inside] == [(c.start, c.shown) for c in base]
        held = Counter(t.ts // 500_000 for s, t in trades if s == symbol and not opens <= t.ts < closes)
        assert len(rows["500ms", "all", symbol]) == len(base) + len(held), "nothing is carried outside the session"
        for name, length in (("1m", HOUR // 60), ("15m", HOUR // 4)):
            assert [c.start for c in rows[name, "regular", symbol]] == list(range(opens, closes, length))
        assert [(c.start, c.end) for c in rows["1d", "regular", symbol]] == ([(opens, closes)] if times else [])
    assert all(closed.revision == 0 for found in rows.values() for closed in found)


@pytest.mark.parametrize("day", ["2026-11-02", "2026-11-27"])
def test_an_empty_candle_shows_the_last_close_and_no_trade(day: str) -> None:
    trades = day_of_trades(day)
    times = DAYS[day]
    assert times
    held: dict[tuple[str, int], list[Tick]] = defaultdict(list)
    for symbol, one in trades:
        held[symbol, one.ts - one.ts % 500_000].append(one)
    last, seen = {BUSY: (0.0, 0.0), QUIET: (0.0, 0.0)}, 0
    for closed in closed_on(day, trades):
        if LEVELS[closed.level].name != "500ms":
            continue
        while seen < len(trades) and trades[seen][1].ts < closed.end:
            symbol, one = trades[seen]
            seen += 1
            if one.high_low and one.ratio is not None:
                last[symbol] = (one.price, one.ratio)
        inside = held[closed.symbol, closed.start]
        price, ratio = closed.shown.price_block(), closed.shown.ratio_block(closed.end)
        if not us(day, times.opens) <= closed.start < us(day, times.closes):
            continue
        value, quotient = last[closed.symbol]
        assert (price.open, price.high, price.low, price.close, price.avg) == (value,) * 5
        assert (ratio.open, ratio.high, ratio.low, ratio.close, ratio.avg, ratio.twap) == (quotient,) * 6
        forming = [one for one in inside if one.high_low]
        assert (price.tick_count, ratio.tick_count, price.trade_count) == (len(forming), len(forming), len(inside))
        assert price.volume == 3.0 * len(inside)
        assert (price.vwap is None) == (not forming)
