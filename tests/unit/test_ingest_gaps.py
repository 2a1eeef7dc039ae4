"""How an outage holds the clock, when REST has shown enough, and what is remembered meanwhile."""

import msgspec
import pytest

from marketdata.records import Gap, Trade
from marketdata.units import CLOCK_STEP_US, SECOND_US
from services.ingest.corrections import _closed_day
from services.ingest.outage import Outage
from services.ingest.overlap import QUIET_US, Overlap
from services.ingest.seen import Seen

NOW = 34_000_000 * CLOCK_STEP_US
LIMIT = 30 * SECOND_US
HORIZON = 900 * SECOND_US


def trade(ts: int, number: str = "1", symbol: str = "MARA") -> Trade:
    return Trade(symbol=symbol, ts=ts, received_ts=ts, price=1.0, size=1.0, exchange=4, id=number, epoch=1)


def test_an_outage_holds_the_clock_until_it_is_filled() -> None:
    outage = Outage("stocks", LIMIT, 4)
    assert outage.limit() is None
    assert not outage.flows(NOW)
    assert outage.begin(NOW + 3, NOW + 9) == Gap(cluster="stocks", start=NOW + 3, end=None, status="open", epoch=4)
    assert outage.begin(NOW + 50, NOW + 60) is None, "it is open already"
    assert outage.limit() == NOW
    assert outage.flows(NOW + 7 * SECOND_US)
    assert not outage.flows(NOW + 8 * SECOND_US), "known already"
    assert outage.left_us(NOW + 9 + 7 * SECOND_US) == 23 * SECOND_US
    assert outage.expire(NOW + 8 + LIMIT) is None
    assert outage.limit() == NOW
    assert outage.close() == (NOW + 3, NOW + 7 * SECOND_US)
    assert (outage.is_open, outage.holds, outage.limit()) == (False, False, None)


@pytest.mark.parametrize("back", [False, True])
def test_it_is_given_up_when_its_time_has_run_out_and_that_is_said_once(back: bool) -> None:
    outage = Outage("stocks", LIMIT, 4)
    outage.begin(NOW + 3, NOW + 9)
    if back:
        outage.flows(NOW + 50)
    gap = outage.expire(NOW + 9 + LIMIT)
    assert gap == Gap(cluster="stocks", start=NOW + 3, end=NOW + 50 if back else None, status="given_up", epoch=4)
    assert (outage.is_open, outage.holds, outage.limit()) == (True, False, None)
    assert outage.expire(NOW + 9 + 2 * LIMIT) is None
    assert outage.give_up() is None
    assert outage.flows(NOW + 50) is not back


def test_a_second_loss_before_it_is_filled_lengthens_it() -> None:
    outage = Outage("stocks", LIMIT, 4)
    outage.begin(NOW, NOW)
    outage.flows(NOW + 50)
    assert outage.begin(NOW + 90, NOW + 100) is None
    assert outage.flows(NOW + 200)
    assert outage.close() == (NOW, NOW + 200)


def test_rest_is_complete_where_it_shows_what_came_live() -> None:
    overlap = Overlap(NOW)
    overlap.heard(trade(NOW - 1_000, "late"))
    for number in range(3):
        overlap.heard(trade(NOW + 4 * SECOND_US + number * 1_000, str(number)))
    symbols, early, late = ["MARA", "QUIET"], NOW + 1, NOW + QUIET_US
    assert overlap.until("MARA") > NOW + 4 * SECOND_US + 2_000
    assert overlap.until("QUIET") == NOW + SECOND_US
    overlap.shown(trade(NOW - 1_000, "late"))
    overlap.shown(trade(NOW + 4 * SECOND_US, "other"))
    assert overlap.incomplete(symbols, early) == symbols
    assert overlap.incomplete(symbols, late) == ["MARA"], "a live trade of it is still missing"
    overlap.shown(trade(NOW + 4 * SECOND_US + 1_000, "1"))
    assert overlap.incomplete(symbols, early) == ["QUIET"]
    assert overlap.incomplete(symbols, late) == []


@pytest.mark.parametrize("jump", [2 * HORIZON, 5 * HORIZON, HORIZON + SECOND_US])
def test_while_a_gap_is_open_nothing_is_forgotten_however_far_live_trades_have_moved(jump: int) -> None:
    seen = Seen(HORIZON)
    before = [trade(NOW + n * 1_000, f"before{n}") for n in range(50)]
    assert all(map(seen.is_new, before))
    seen.hold()
    filled = [trade(NOW + SECOND_US + n * 1_000, f"filled{n}") for n in range(50)]
    for n in range(3):
        assert seen.is_new(trade(NOW + jump + n * HORIZON, f"live{n}"))
    assert all(map(seen.is_new, filled))
    assert not any(map(seen.is_new, before))
    assert not any(map(seen.is_new, filled))
    seen.release()
    assert not any(map(seen.is_new, filled)), "written a moment ago"
    assert all(map(seen.is_new, before)), "older than the horizon"


def test_a_trading_day_is_over_a_while_after_its_last_trade() -> None:
    hour = 3_600 * SECOND_US
    midnight = 19_787 * 24 * hour  # 2024-03-05
    for market, over in (("stocks", 25 * hour + 900 * SECOND_US), ("crypto", 24 * hour + 900 * SECOND_US)):
        assert _closed_day(market, midnight + over - 1) == 19_786
        assert _closed_day(market, midnight + over) == 19_787


def test_identities_do_not_tell_marks_apart_but_records() -> None:
    seen = Seen(HORIZON)
    assert seen.is_new(trade(NOW))
    assert not seen.is_new(msgspec.structs.replace(trade(NOW), correction=8, backfilled=True, ts_ns=NOW * 1_000 + 5))
    assert seen.is_new(msgspec.structs.replace(trade(NOW), correction=10))
