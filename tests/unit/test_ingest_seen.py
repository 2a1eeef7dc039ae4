"""Which trades count as written already."""

from typing import Any

import msgspec
import pytest

from marketdata.records import Trade
from marketdata.units import SECOND_US
from services.ingest import seen
from services.ingest.seen import STOCKS_DAY_SHIFT_US, Seen

NOW = 1_709_650_800 * SECOND_US  # 2024-03-05 15:00 UTC
HOUR = 3_600 * SECOND_US
HORIZON = 900 * SECOND_US


def trade(ts: int = NOW, **changes: Any) -> Trade:
    base = Trade(symbol="MARA", ts=ts, received_ts=ts, price=1.0, size=1.0, exchange=4, id="7", epoch=1, trf=201)
    return msgspec.structs.replace(base, **changes)


def test_the_same_trade_is_new_once() -> None:
    known = Seen(HORIZON)
    assert [known.is_new(trade()) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    "changes",
    [{"symbol": "RIOT"}, {"exchange": 12}, {"trf": 202}, {"id": "8"}, {"correction": 10}, {"correction": 12}],
)
def test_what_tells_trades_apart(changes: dict[str, Any]) -> None:
    known = Seen(HORIZON)
    assert known.is_new(trade())
    assert known.is_new(trade(**changes))
    assert not known.is_new(trade(**changes))


@pytest.mark.parametrize(
    "changes", [{"price": 2.0}, {"sequence": 5}, {"correction": 8}, {"epoch": 2}, {"ts": NOW + 1_000}, {"tape": 3}]
)
def test_what_does_not(changes: dict[str, Any]) -> None:
    known = Seen(HORIZON)
    assert known.is_new(trade())
    assert not known.is_new(trade(**changes))


@pytest.mark.parametrize(("shift", "hour", "same"), [(0, 0, False), (STOCKS_DAY_SHIFT_US, 0, True),
                                                     (STOCKS_DAY_SHIFT_US, 5, False)])  # fmt: skip
def test_ids_begin_anew_each_trading_day(shift: int, hour: int, same: bool) -> None:
    """The stocks' day turns at 05:00 UTC, in New York's night; that of crypto at midnight."""
    turn = NOW - 15 * HOUR + hour * HOUR
    known = Seen(HORIZON, shift)
    assert known.is_new(trade(turn - SECOND_US))
    assert known.is_new(trade(turn)) is not same


@pytest.mark.parametrize("step", [1, 7, 400])
def test_a_repeat_within_the_horizon_is_known_and_one_after_it_is_new(step: int) -> None:
    for moved in (0, HORIZON - step * SECOND_US, HORIZON, HORIZON + 1_000, 3 * HORIZON):
        known = Seen(HORIZON)
        assert known.is_new(trade())
        for number, ts in enumerate(range(NOW, NOW + moved + 1, step * SECOND_US)):
            known.is_new(trade(ts, id=f"o{number}"))
        known.is_new(trade(NOW + moved, id="last"))
        assert known.is_new(trade()) is (moved > HORIZON), moved


def test_a_late_print_sent_twice_is_known() -> None:
    known = Seen(HORIZON)
    known.is_new(trade(id="newest"))
    late = trade(NOW - 2 * HORIZON, id="late")
    assert known.is_new(late)
    assert not known.is_new(late)


def test_memory_is_bounded_by_event_time_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Seen(HORIZON)
    for number in range(20_000):
        known.is_new(trade(NOW + number * SECOND_US, id=str(number)))
    assert len(known) <= 4 / 3 * 900 + 4
    monkeypatch.setattr(seen, "LIMIT", 100)
    known = Seen(HORIZON)
    for number in range(1_000):
        known.is_new(trade(NOW + number, id=str(number)))
        known.is_new(trade(NOW + number, id=str(number)))
    assert len(known) <= 4 * 101


def test_what_stands_in_the_log_counts_as_seen_whatever_its_order_and_epoch() -> None:
    """A log is read partition by partition: times run back where the next begins."""
    known = Seen(HORIZON)
    assert known.known_from == 0
    log = [trade(NOW - offset * SECOND_US, id=str(offset)) for offset in (5, 0, 890, 3)]
    for old in log:
        known.is_new(old)
    assert known.known_from == NOW - HORIZON
    assert not any(known.is_new(msgspec.structs.replace(old, epoch=2)) for old in log)
    assert known.is_new(trade(NOW + 1_000, id="new"))
