"""Marks, case by case."""

from typing import Any

import pytest

from marketdata.marks import Marks, MarkSettings, is_step, mark_of
from marketdata.records import Clock, Reference, Trade
from services.ratio.settings import RatioSettings

S = 1_000_000
T0 = 1_700_000_000 * S


def fields(ts: int, price: float, **more: Any) -> dict[str, Any]:
    return {
        "ts": T0 + ts,
        "received_ts": T0,
        "price": price,
        "size": 1.0,
        "exchange": 1,
        "id": "1",
        "epoch": 1,
    } | more


def btc(ts: int, price: float = 100.0) -> Reference:
    return Reference(symbol="BTC-USD", **fields(ts, price))


def stock(ts: int, price: float = 10.0, symbol: str = "MARA", **more: Any) -> Trade:
    return Trade(symbol=symbol, **fields(ts, price, **more))


def due(marks: Marks, clock: int, newest: Reference | None) -> list[tuple[str, float]]:
    return [(trade.symbol, trade.price) for trade in marks.due(T0 + clock, newest)]


@pytest.mark.parametrize(
    ("before", "clock", "step"),
    [(0, 50_000, False), (200_000, 250_000, True), (250_000, 300_000, False), (0, 9 * S, True)],
)
def test_a_step_is_the_first_clock_past_a_multiple(before: int, clock: int, step: bool) -> None:
    assert is_step(T0 + before, T0 + clock) == step


def test_each_stock_trade_is_marked_once_btc_is_newer_and_again_when_its_price_is_another() -> None:
    marks = Marks(MarkSettings())
    marks.trade(stock(0))
    assert due(marks, S, None) == []
    assert due(marks, 2 * S, btc(0)) == []  # not newer
    assert due(marks, 3 * S, btc(1)) == [("MARA", 10.0)]
    assert due(marks, 4 * S, btc(2)) == []  # at the same price
    assert due(marks, 5 * S, btc(3, 101.0)) == [("MARA", 10.0)]
    marks.trade(stock(5 * S + 1))
    assert due(marks, 6 * S, btc(5 * S + 2, 101.0)) == [("MARA", 10.0)]


def test_symbols_come_in_their_order() -> None:
    marks = Marks(MarkSettings())
    marks.trade(stock(0, symbol="RIOT"))
    assert due(marks, S, btc(1)) == [("RIOT", 10.0)]
    for symbol in ("MARA", "WULF", "CAN"):
        marks.trade(stock(S, symbol=symbol))
    assert [symbol for symbol, _ in due(marks, 2 * S, btc(S + 1, 99.0))] == ["CAN", "MARA", "RIOT", "WULF"]


def test_the_last_trade_is_the_last_in_order_before_the_clock() -> None:
    marks = Marks(MarkSettings())
    for trade in (stock(2, 12.0), stock(3, 13.0, id="10"), stock(3, 14.0, id="9"), stock(1, 11.0), stock(S, 15.0)):
        marks.trade(trade)
    assert due(marks, S, btc(4)) == [("MARA", 13.0)]  # "10" is more than "9", and S is not before S
    assert due(marks, 2 * S, btc(S + 1)) == [("MARA", 15.0)]


def test_no_mark_of_an_old_price() -> None:
    marks = Marks(MarkSettings(max_btc_age_us=2 * S, max_stock_age_us=9 * S))
    marks.trade(stock(0))
    assert due(marks, 2 * S + 2, btc(1)) == []
    assert due(marks, 9 * S, btc(8 * S)) == [("MARA", 10.0)]
    assert due(marks, 9 * S + 1, btc(8 * S + 1, 99.0)) == []
    assert not marks._marked


def test_a_quotient_no_record_can_hold_gives_no_mark() -> None:
    marks = Marks(MarkSettings())
    marks.trade(stock(0, 1e11))
    assert due(marks, S, btc(1, 5e-324)) == []


def test_the_record() -> None:
    made = mark_of(stock(0), btc(1, 40.0), Clock(ts=T0 + S, epoch=3), (1, 2, 3), 5)
    assert (made.symbol, made.ts, made.epoch, made.stock_price, made.stock_ts) == ("MARA", T0 + S, 3, 10.0, T0)
    assert (made.reference, made.btc_price, made.btc_ts) == ("BTC-USD", 40.0, T0 + 1)
    assert (made.ratio, made.inverse_ratio, made.src, made.timestamp_out) == (0.25, 4.0, (1, 2, 3), 5)


def test_no_price_is_marked_that_a_restart_would_not_read_again() -> None:
    assert RatioSettings(revision_horizon_s=60).marks.max_stock_age_us == 60 * S
    assert RatioSettings(ratio_mark_max_age_s=30, revision_horizon_s=60).marks.max_stock_age_us == 30 * S
    with pytest.raises(ValueError, match="RATIO_MARK_MAX_AGE_S 61 is more than REVISION_HORIZON_S 60"):
        RatioSettings(ratio_mark_max_age_s=61, revision_horizon_s=60)
