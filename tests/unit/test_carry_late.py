"""With GAP_POLICY=carry a late trade changes the closes that its own candle and no earlier one shows."""

from __future__ import annotations

from marketdata.bar import Tick
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.intervals import levels
from tests.unit.test_session_days import us

NAMES = ("500ms", "1s", "1m", "15m", "1h", "24h", "1d")
LEVELS = levels(NAMES, new_york_hours())
FULL, HALF = 46_800, 25_200
ROWS = {"2026-03-06": FULL, "2026-03-09": FULL, "2026-10-30": FULL, "2026-11-02": FULL, "2026-11-25": FULL,
        "2026-11-26": 0, "2026-11-27": HALF, "2026-11-28": 0}  # fmt: skip
HORIZON = 900_000_000
BUSY, QUIET = "BUSY", "QUIET"


def tick(ts: int, price: float, *, odd_lot: bool = False, ratio: float | None = None) -> Tick:
    forms = not odd_lot
    return Tick(ts, 0, 1, str(ts), 0, price, 3.0, forms, forms, True, ratio if forms else None)


def test_what_came_late_is_revision_1_and_carries_what_came_before_it() -> None:
    day = "2026-11-25"
    opens = us(day, 14.5)
    first, later = tick(opens, 10.0, ratio=1.0), tick(opens + 10_000_000, 20.0, ratio=2.0)
    engine = CandleEngine(LEVELS, HORIZON, new_york_hours())
    list(engine.advance(opens - 50_000))
    for one in (first, later):
        engine.add(BUSY, one, one.ts)
        list(engine.advance(one.ts + 500_000))
    list(engine.advance(opens + 20_000_000))
    late, odd_lot = tick(opens + 3_000_000, 15.0, ratio=1.5), tick(opens + 5_000_000, 99.0, odd_lot=True)
    engine.add(BUSY, late, opens + 20_000_000)
    engine.add(BUSY, odd_lot, opens + 20_000_000)
    base = {c.start - opens: c for c in engine.advance(opens + 20_050_000) if c.level == 0}
    assert {start: (c.revision, c.shown.close, c.shown.ratio_close) for start, c in base.items()} == {
        3_000_000: (1, 15.0, 1.5),
        5_000_000: (1, 15.0, 1.5),
    }
