"""The oracle of the recorded days, against small cases worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from tests.support.candle_oracle import (
    FIELDS,
    FLOW,
    Rules,
    candles,
    crypto_trades,
    differences,
    hours_of,
    laps,
    stock_trades,
)

Y, N = "Y", "N"


def rule(high_low: str, open_close: str, volume: str) -> dict[str, str]:
    return {"updates_high_low": high_low, "updates_open_close": open_close, "updates_volume": volume}


TABLE = {
    12: rule(N, N, Y),
    15: rule(N, N, N),
    22: rule(Y, N, Y),
    37: rule(N, N, Y),
    38: rule(Y, Y, N),
    57: rule("", "", ""),
}
RULES = Rules(TABLE, hours_of("2018-01-02", "2018-01-05"))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


OPEN = ms("2018-01-02 14:30:00")


def stock(
    after_ms: int, price: float, size: float = 100, conditions: tuple[int, ...] = (), **more: Any
) -> dict[str, Any]:
    at = OPEN + after_ms
    return {"sym": "A", "x": 1, "i": str(at), "p": price, "s": size, "c": list(conditions), "t": at} | more


def btc(after_ms: int, price: float, **more: Any) -> dict[str, Any]:
    at = OPEN + after_ms
    return {"pair": "BTC-USD", "x": 23, "i": str(at), "p": price, "s": 0.5, "c": [2], "t": at} | more


def made(
    stocks: list[dict[str, Any]],
    coins: list[dict[str, Any]] | None = None,
    without: str = "live",
    intervals: tuple[str, ...] = ("500ms", "1m"),
) -> pd.DataFrame:
    trades = stock_trades(stocks, crypto_trades(coins or [btc(-500_000, 1.0)]), RULES, without=without)
    return candles(trades, RULES, stocks=True, intervals=intervals)


def one(found: pd.DataFrame, interval: str = "1m", hours: str = "all", nth: int = 0) -> dict[str, Any]:
    row = found.loc[interval, hours].iloc[nth]
    return {
        name: None if pd.isna(value) else getattr(value, "item", lambda v=value: v)() for name, value in row.items()
    }


def test_prices_volume_and_counts_of_a_minute() -> None:
    candle = one(made([
        stock(0, 10.0, 100), stock(1_000, 12.0, 300), stock(2_000, 50.0, 7, (37,)), stock(7_000, 9.0, 100, (22,)),
        stock(4_000, 11.0, 500, (38,)), stock(5_000, 99.0, 1_000, (15,)), stock(6_000, 10.5, 100, (57,)),
    ]))  # fmt: skip
    assert (candle["open"], candle["high"], candle["low"], candle["close"]) == (10.0, 12.0, 9.0, 10.5)
    assert (candle["volume"], candle["trade_count"], candle["tick_count"]) == (607.0, 5, 5)
    assert candle["avg"] == pytest.approx((10 + 12 + 9 + 11 + 10.5) / 5, rel=1e-15)
    assert candle["vwap"] == pytest.approx((1_000 + 3_600 + 900 + 5_500 + 1_050) / 1_100, rel=1e-15)
    assert (candle["session"], candle["has_ratio"], candle["ratio_open"]) == ("regular", False, None)


def test_form_t_makes_prices_only_outside_regular_hours() -> None:
    hour, half_day = 3_600_000, 6 * 3_600_000 + 1_800_000
    found = made(
        [
            stock(-hour, 1.0, 1, (12,)),
            stock(0, 2.0, 2, (12,)),
            stock(half_day - 1, 3.0, 4),
            stock(half_day, 4.0, 8, (12,)),
        ],
        intervals=("15m", "1h", "24h", "1d"),
    )
    day = one(found, "24h")
    assert (day["open"], day["close"], day["tick_count"], day["volume"]) == (1.0, 4.0, 3, 15.0)
    regular, exchange_day = one(found, "24h", "regular"), one(found, "1d", "regular")
    for candle in (regular, exchange_day):
        assert (candle["open"], candle["close"], candle["tick_count"], candle["volume"]) == (3.0, 3.0, 1, 6.0)
    assert found.loc["1d", "regular"].index.tolist() == [("A", OPEN * 1_000)]
    assert exchange_day["end"] - OPEN * 1_000 == half_day * 1_000
    assert regular["end"] == ms("2018-01-03 00:00:00") * 1_000
    assert found.loc["15m", "all"]["session"].tolist() == ["pre", "regular", "regular", "post"]
    assert found.loc["1h"]["session"].isna().all()


def test_order_of_trades_at_the_same_time() -> None:
    ids = [("10", 1.0), ("9", 2.0), ("x", 3.0), ("b", 4.0)]
    candle = one(made([stock(0, price, i=name) for name, price in ids]))
    assert (candle["open"], candle["close"]) == (2.0, 3.0)
    candle = one(made([stock(0, 1.0, i="1", q=5), stock(0, 2.0, i="2", q=3), stock(0, 3.0, i="3", q=5, x=0)]))
    assert (candle["open"], candle["close"]) == (2.0, 1.0)


def test_a_repeated_identity_counts_once_a_day() -> None:
    candle = one(made([stock(0, 1.0), stock(0, 1.0), stock(0, 1.0, trfi=2), stock(0, 1.0, x=2)]))
    assert candle["trade_count"] == 3


def test_ratios_are_as_of_and_not_stale() -> None:
    coins = [btc(0, 2.0), btc(10_000, 4.0, i="2"), btc(10_000, 5.0, i="10")]
    odd_lot = stock(20_000, 20.0, 1, (37,))
    trades = [stock(-1, 100.0), stock(0, 10.0), stock(9_999, 12.0), stock(10_000, 5.0), odd_lot]
    found = made([*trades, stock(130_000, 50.0), stock(130_001, 77.0)], coins, intervals=("5s", "1m"))
    assert one(found)["has_ratio"] is False
    candle = one(found, nth=1)
    assert [candle[f"ratio_{n}"] for n in ("open", "high", "low", "close", "tick_count")] == [5.0, 6.0, 1.0, 1.0, 3]
    assert candle["ratio_avg"] == 4.0
    assert candle["ratio_twap"] == pytest.approx((5.0 * 9_999 + 6.0 * 1 + 1.0 * 50_000) / 60_000, rel=1e-15)
    assert (one(found, nth=2)["ratio_tick_count"], one(found, nth=2)["tick_count"]) == (1, 2)
    odd_lot_only = one(found, "5s", nth=4)
    assert (odd_lot_only["has_ratio"], odd_lot_only["ratio_tick_count"], odd_lot_only["open"]) == (True, 0, None)


@pytest.mark.parametrize(("late_ms", "live"), [(900_049, 20.0), (900_050, 30.0)])
def test_a_cancel_counts_live_within_the_horizon_only(late_ms: int, live: float) -> None:
    trades = [stock(0, 5.0, 10, i="a"), stock(1, 5.0, 20), stock(late_ms, 5.0, 10, i="c", _corr=10)]
    assert one(made(trades))["volume"] == live
    assert one(made(trades, without="all"))["volume"] == 20.0
    assert len(made(trades).loc["1m", "all"]) == 1


def test_a_cancel_names_by_id_else_the_nearest_earlier_of_its_value() -> None:
    values = [(5.0, 10), (5.0, 20), (6.0, 40), (5.0, 10), (5.0, 10)]
    trades = [stock(2 * n, price, size, i=str(n)) for n, (price, size) in enumerate(values)]

    def gone(**cancel: Any) -> list[str]:
        rows = [*trades[:4], stock(7, 5.0, 10, _corr=10, **cancel), trades[4]]
        found = stock_trades(rows, crypto_trades([btc(0, 1.0)]), RULES)
        assert len(found) == len(trades)
        return [str(one_id) for one_id in found["id"][found["gone"]]]

    assert gone(i="?") == ["3"]
    assert gone(i="1") == ["1"]
    assert gone(i="1", trfi=3) == ["3"], "of another TRF"
    assert gone(i="1", x=7) == []
    alone = one(made([trades[0], stock(7, 5.0, 10, i="?", _corr=10)]), "500ms")
    assert (alone["volume"], alone["open"], alone["tick_count"]) == (0.0, None, 0), "its candle stays, empty"


def test_sides_by_the_tick_rule_and_from_a_crypto_feed() -> None:
    odd_lot, opens = stock(3, 3.0, 32, (37,)), stock(-900_000, 10.0, 1)
    trades = [opens, stock(1, 10.0, 2), stock(2, 10.5, 4), odd_lot, stock(4, 10.5, 8), stock(5, 10.0, 16),
              stock(6, 9.0, 64, (38,)), stock(500, 9.5, 128, i="cancelled"), stock(501, 9.0, 256),
              stock(502, 9.5, 128, i="cancelled", _corr=10)]  # fmt: skip
    found = made(trades)
    assert [one(found, "500ms", nth=n)[side] for n in (1, 2) for side in FLOW] == [12.0, 16.0, 0.0, 256.0]
    coins = crypto_trades([btc(0, 1.0), btc(1, 1.0, c=[1], s=0.25), btc(2, 1.0, c=[0])])
    assert [one(candles(coins, RULES, stocks=False, intervals=("1s",)), "1s")[side] for side in FLOW] == [0.5, 0.25]


def test_laps_of_an_hour() -> None:
    hour = 3_600_000
    coins = [btc(0, 1.0, i="a", t=ms("2019-07-01 00:00:01")), btc(0, 2.0, i="b", t=ms("2019-07-01 00:59:00"))]
    found = laps(coins, OPEN, OPEN + 2 * hour + 1_000)
    assert [(e["i"], e["t"] - OPEN) for e in found] == [
        ("a", 1_000), ("b", 3_540_000), ("a-1", hour + 1_000), ("b-1", hour + 3_540_000), ("a-2", 2 * hour + 1_000),
    ]  # fmt: skip
    trades = candles(crypto_trades(found), RULES, stocks=False, intervals=("24h",))
    assert one(trades, "24h")["volume"] == 2.5, "sides are no sale conditions"
    assert set(trades.index.get_level_values("hours")) == {"all"}


def test_every_field_is_compared() -> None:
    wanted = made([stock(0, 10.0), stock(1_000, 11.0, 3)], [btc(0, 2.0)]).astype(object)
    assert differences(wanted.copy(), wanted) == []
    first = wanted.index[0]
    assert wanted.loc[first].notna().all()
    for field in FIELDS:
        value = wanted.loc[first, field]
        for other in (None, value * (1 + 1e-11)) if isinstance(value, float) else (None,):
            wrong = wanted.copy()
            wrong.at[first, field] = other
            assert [line.split(" of ")[0] for line in differences(wrong, wanted)] == [field]
    assert differences(wanted.iloc[1:], wanted)[0].startswith("missing")
    assert differences(wanted, wanted.iloc[1:])[0].startswith("not wanted")
