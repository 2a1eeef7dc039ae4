"""What ``python -m bench candles`` counts and what it calls missed, on a market that takes a second."""

from __future__ import annotations

import pytest

from bench.buffered import measure_buffer
from bench.candles import LIMITS, lines, measure_candles, missed

FINE = {name: 1.0 for name in LIMITS if not name.startswith("buffer.")}
KEPT = {"rss_grown_mb": 9.0, "read_back_equal": True}


def test_a_small_market_is_counted() -> None:
    found = measure_candles(symbols=20, rate=40, minutes=1)
    assert found["trades"] == 2_400
    assert found["horizon_trades"] == 2_400
    assert found["candles_with_features"] == 20 * 5  # four of 15 s and one of 1 m
    assert found["closed_candles"] > found["trades"] // 2
    assert found["records"] > 2 * found["closed_candles"] * 0.9  # of all and of regular hours, and progress
    assert found["us_per_trade"] > 0 < found["us_of_features_each"]


def test_all_candles_come_back_from_the_buffer() -> None:
    found = measure_buffer(300)
    assert (found["candles_1s"], found["read_back_equal"]) == (300, True)
    assert 0 < found["bytes_per_candle"] < 200


@pytest.mark.parametrize(
    ("found", "kept", "expected"),
    [
        (FINE, KEPT, []),
        (FINE | {"us_per_trade": 8.01}, KEPT, ["us_per_trade"]),
        (FINE, KEPT | {"rss_grown_mb": 51.0}, ["buffer.rss_grown_mb"]),
        (FINE, KEPT | {"read_back_equal": False}, ["buffer.read_back_equal"]),
    ],
)
def test_what_is_above_its_limit_is_named(
    found: dict[str, float], kept: dict[str, float], expected: list[str]
) -> None:
    assert missed(found, kept) == expected


def test_a_report_for_readers_names_what_is_missed() -> None:
    report = {"results": {"us_per_trade": 9.5}, "missed": ["us_per_trade"], "void": []}
    assert [row.split() for row in lines(report)] == [
        ["results"], ["us_per_trade", "9.5"], ["missed", "us_per_trade"], ["void", "no"],
    ]  # fmt: skip
