"""Indicators against TA-Lib, over the whole history of a track."""

from typing import Any

import msgspec
import numpy as np
import pytest
import talib

from marketdata.features import FeatureBar, FeatureTrack
from tests.unit.test_features_track import LENGTH, walk

Columns = dict[str, Any]


def expected(bars: list[FeatureBar]) -> Columns:
    high, low, close = (np.array([getattr(bar, name) for bar in bars]) for name in ("high", "low", "close"))
    upper, _, lower = talib.BBANDS(close, 20, 2.0, 2.0, 0)
    macd, signal, hist = talib.MACD(close, 12, 26, 9)
    return {
        **{f"sma_{n}": talib.SMA(close, n) for n in (5, 10, 20)},
        **{f"ema_{n}": talib.EMA(close, n) for n in (5, 10, 20)},
        "wma_5": talib.WMA(close, 5), "momentum_3": talib.ROCP(close, 3), "momentum_5": talib.ROCP(close, 5),
        "rsi_5": talib.RSI(close, 5), "bollinger_upper": upper, "bollinger_lower": lower,
        "macd": macd, "macd_signal": signal, "macd_hist": hist, "atr_14": talib.ATR(high, low, close, 14),
    }  # fmt: skip


def compare(bars: list[FeatureBar]) -> None:
    track = FeatureTrack(LENGTH, ("all",))
    blocks = [track.close(bar)["all"][0] for bar in bars]
    for name, column in expected(bars).items():
        for bar, block, value in zip(bars, blocks, column, strict=True):
            got = msgspec.structs.asdict(block)[name]
            if np.isnan(value):
                assert got is None, name
            else:
                bound = max(1e-9 * abs(value), 1e-12 * (bar.close or 0.0))
                assert got is not None, name
                assert abs(got - value) <= bound, (name, got, value)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_random_walks(scale: float) -> None:
    compare(walk(600, seed=11, scale=scale))


@pytest.mark.parametrize("price", [1e-6, 0.1, 1.1, 1e6])
def test_constant_prices(price: float) -> None:
    bars = [bar._replace(open=price, high=price, low=price, close=price) for bar in walk(80)]
    compare(bars)
    track = FeatureTrack(LENGTH, ("all",))
    last = [track.close(bar)["all"][0] for bar in bars][-1]
    assert last is not None
    assert (last.rsi_5, last.bollinger_position, last.volatility_10) == (0.0, None, 0.0)


def test_a_walk_after_a_fall_from_far_above() -> None:
    bars = walk(30, seed=1, scale=1e6) + walk(200, seed=2, start=30)
    compare(bars)
