"""The as-of join, case by case."""

from typing import Any

import pytest

from marketdata.calendar import TradingHours
from marketdata.join import JoinSettings, RatioJoin
from marketdata.records import Clock, Reference, Trade, encode

S = 1_000_000
T0 = 1_700_000_000 * S
ALWAYS = TradingHours({}, (0, 0))


def make() -> RatioJoin:
    return RatioJoin("BTC-USD", ALWAYS, JoinSettings(120 * S, 900 * S))


def fields(ts: int, price: float, trade_id: str, **more: Any) -> dict[str, Any]:
    base = {"ts": ts, "received_ts": ts, "price": price, "size": 2.5, "exchange": 1, "id": trade_id, "epoch": 1}
    return base | more


def btc(ts: int, price: float, trade_id: str, **more: Any) -> Reference:
    return Reference(symbol="BTC-USD", **fields(ts, price, trade_id, **more))


def stock(ts: int, price: float, trade_id: str = "s1", **more: Any) -> Trade:
    return Trade(symbol="MARA", **fields(ts, price, trade_id, **more))


def joined(join: RatioJoin, trade: Trade) -> Any:
    return join.stock(trade, encode(trade), (0, 0, 0), T0)


def test_the_last_btc_trade_at_or_before_counts_not_the_newest() -> None:
    join = make()
    for i, price in enumerate((100.0, 200.0, 400.0)):
        assert join.reference(btc(T0 + i * S, price, str(i)), 0)
    record = joined(join, stock(T0 + S, 10.0))
    assert (record.btc_price, record.ratio, record.inverse_ratio) == (200.0, 0.05, 20.0)
    assert (record.btc_ts, record.btc_age_us, record.btc_volume) == (T0 + S, 0, 2.5)
    assert (record.stock_volume, record.stock_size) == (2, 2.5)


def test_btc_order_is_event_time_whatever_the_order_of_arrival() -> None:
    join = make()
    for ts, price in ((3, 3.0), (1, 1.0), (2, 2.0)):
        join.reference(btc(T0 + ts * S, price, str(ts)), 0)
    assert joined(join, stock(T0 + 2 * S + 5, 1.0)).btc_price == 2.0


def test_ties_in_time_go_by_sequence_exchange_and_numeric_id() -> None:
    join = make()
    join.reference(btc(T0, 1.0, "9"), 0)
    join.reference(btc(T0, 2.0, "10"), 0)
    assert joined(join, stock(T0, 1.0)).btc_price == 2.0


def test_no_btc_yet() -> None:
    join = make()
    join.reference(btc(T0 + 1, 1.0, "1"), 0)
    record = joined(join, stock(T0, 1.0))
    assert (record.ratio, record.btc_price, record.reason) == (None, None, "no_reference")


@pytest.mark.parametrize(("age", "reason"), [(120 * S, None), (120 * S + 1, "stale_reference")])
def test_btc_grows_stale(age: int, reason: str | None) -> None:
    join = make()
    join.reference(btc(T0, 100.0, "1"), 0)
    assert joined(join, stock(T0 + age, 1.0)).reason == reason


def test_staleness_is_told_from_absence_after_pruning() -> None:
    join = make()
    join.reference(btc(T0, 1.0, "1"), 0)
    later = T0 + 7_200 * S
    join.intake.accept_clock(Clock(ts=later, epoch=1))
    join.reference(btc(later + 500 * S, 2.0, "2"), 0)
    assert joined(join, stock(later, 1.0)).reason == "stale_reference"


def test_past_the_horizon_there_is_no_answer() -> None:
    join = make()
    join.reference(btc(T0, 1.0, "1"), 0)
    join.intake.accept_clock(Clock(ts=T0 + 901 * S, epoch=1))
    assert joined(join, stock(T0, 1.0)).reason == "past_horizon"


def test_a_repeated_identity_is_dropped_and_another_trf_is_another_trade() -> None:
    join = make()
    assert joined(join, stock(T0, 1.0)) is not None
    assert joined(join, stock(T0, 1.0)) is None
    assert joined(join, stock(T0, 1.0, trf=201)) is not None


def test_an_older_epoch_is_dropped() -> None:
    join = make()
    join.intake.accept_clock(Clock(ts=T0, epoch=2))
    assert joined(join, stock(T0, 1.0)) is None
    assert not join.reference(btc(T0, 1.0, "1"), 0)
    assert not join.intake.accept_clock(Clock(ts=T0 + S, epoch=1))


def test_a_cancel_record_updates_nothing() -> None:
    join = make()
    join.reference(btc(T0, 1.0, "1"), 0)
    record = joined(join, stock(T0, 1.0, correction=10))
    assert (record.eligible, record.updates_volume, record.ratio, record.reason) == (
        False, False, None, "correction_record",
    )  # fmt: skip
    assert joined(join, stock(T0, 1.0, "s2", correction=8)).eligible
