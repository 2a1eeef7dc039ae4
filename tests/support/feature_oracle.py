"""Features of candles by numpy and TA-Lib alone: a second opinion that shares no code with the project.

Every formula is written from the feature list in words: a column for each feature, one value a counted candle, NaN
where the list says null. A window is a plain slice of the last n values (``windows``), summed afresh each time;
nothing runs on from candle to candle. What TA-Lib has, TA-Lib computes, over the whole history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import talib
from numpy.typing import NDArray

Column = NDArray[np.float64]
Features = dict[str, float | str | None]
MICROS: Final = 1e6
SIDES: Final = ("unknown", "tick", "quote", "feed")
# In the price's unit, or that for one share: their rounding is measured against the price.
# Volumes have only a relative bound.
PRICED: Final = ("sma", "ema", "wma", "vwma", "session_vwap", "rolling_vwap", "roll_spread", "bollinger_upper",
                 "bollinger_lower", "macd", "atr")  # fmt: skip
UNITLESS: Final = ("momentum", "volatility", "log_return", "parkinson", "garman", "corwin", "rsi",
                   "session_vwap_deviation", "rolling_vwap_deviation")  # fmt: skip


KYLE_SLACK: Final = "_kyle_slack"
"""Not a feature: how far kyle_lambda_20 may lie from the expected value."""
ROLL_SLACK: Final = "_roll_slack"
"""Not a feature: how far the square of roll_spread_20 may lie from the expected one."""


def slack(name: str, want: Features, price: float) -> float:
    """How far a value may lie from the expected one: 1e-9 of it, or 1e-12 of the price.

    A position between bands is a difference of prices over another: what is 1e-12 of the price there is more, the
    closer the bands are.
    """
    expected = want[name]
    assert isinstance(expected, float), name
    if name == "bollinger_position":
        upper, lower = want["bollinger_upper"], want["bollinger_lower"]
        assert isinstance(upper, float)
        assert isinstance(lower, float)
        return max(1e-9 * abs(expected), 1e-12 * abs(price) / max(upper - lower, 1e-12 * abs(price)))
    if name == "kyle_lambda_20":
        rest = want[KYLE_SLACK]
        assert isinstance(rest, float)
        return max(1e-9 * abs(expected), rest)
    unit = 1.0 if name.startswith(UNITLESS) else abs(price) if name.startswith(PRICED) else 0.0
    return max(1e-9 * abs(expected), 1e-12 * unit)


def windows(column: Column, n: int) -> Column:
    """All runs of ``n`` neighbours, one a row; none where the column is shorter."""
    if len(column) < n:
        return np.empty((0, n))
    return np.lib.stride_tricks.sliding_window_view(column, n)


def late(values: Column, length: int) -> Column:
    """The values at the end of a column of that length: null for the candles before."""
    return np.concatenate([np.full(length - len(values), np.nan), values])[:length]


def before(column: Column, n: int) -> Column:
    """What stood n candles ago."""
    return np.concatenate([np.full(n, np.nan), column])[: len(column)]


def nulls_where(wrong: NDArray[np.bool_], values: Column) -> Column:
    return np.where(wrong, np.nan, values)


def moves(start: Column, close: Column, length: int) -> dict[str, Column]:
    """From one close to the next: momentum, velocity, acceleration, log return, volatility."""
    dt = (start - before(start, 1)) / MICROS
    d = close - before(close, 1)
    velocity = d / dt
    r = np.log(close / before(close, 1))
    return {
        "velocity": velocity,
        "acceleration": (velocity - before(velocity, 1)) / dt,
        "log_return": r,
        **{f"volatility_{n}": late(windows(r[1:], n).std(axis=1, ddof=1), length) for n in (5, 10)},
    }


def ranges(o: Column, h: Column, l: Column, c: Column) -> dict[str, Column]:  # noqa: E741
    """From high and low: the range-based volatilities and the two-candle spread."""
    length = len(c)
    hl2, co2 = np.log(h / l) ** 2, np.log(c / o) ** 2
    parkinson = np.sqrt(windows(hl2, 10).mean(axis=1) / (4 * np.log(2)))
    day = 0.5 * hl2 - (2 * np.log(2) - 1) * co2
    garman_klass = np.sqrt(np.maximum(0, windows(day, 10).mean(axis=1)))
    return {
        "high_low_ratio": h / l,
        "parkinson_10": late(parkinson, length),
        "garman_klass_10": late(garman_klass, length),
        "corwin_schultz": corwin_schultz(h, l),
    }


def corwin_schultz(h: Column, l: Column) -> Column:  # noqa: E741
    """Corwin and Schultz (2012), equations 14 and 18: the spread from two candles' highs and lows, at least 0."""
    beta = np.log(before(h, 1) / before(l, 1)) ** 2 + np.log(h / l) ** 2
    gamma = np.log(np.maximum(before(h, 1), h) / np.minimum(before(l, 1), l)) ** 2
    k = 3 - 2 * np.sqrt(2)
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
    spread = 2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha))
    return np.maximum(0, spread)


def roll_spread(close: Column) -> Column:
    """Roll (1984): twice the root of minus the covariance of neighbouring price changes, over 20 pairs."""
    now, ago = neighbouring(close)
    cov = (now * ago).sum(axis=1) / 19
    return late(nulls_where(cov > 0, 2 * np.sqrt(np.maximum(0, -cov))), len(close))


def roll_slack(close: Column) -> Column:
    """What rounding makes of the square: a jump in the window leaves a rest in the covariance, be it 0 or near it."""
    now, ago = neighbouring(close)
    return late(4e-14 * np.sqrt((now**2).sum(axis=1) * (ago**2).sum(axis=1)) / 19, len(close))


def neighbouring(close: Column) -> tuple[Column, Column]:
    """The last 20 price changes of each candle, and those one candle before them, each less their mean."""
    d = np.diff(close)
    return centred(windows(d[1:], 20)), centred(windows(d[:-1], 20))


def centred(rows: Column) -> Column:
    return rows - rows.mean(axis=1, keepdims=True) if len(rows) else rows


def two_pass(c: Column) -> tuple[Column, Column]:
    """TA-Lib's mean of 20 closes, and to each side 2 population deviations by the textbook."""
    mean, sigma = talib.SMA(c, 20), late(windows(c, 20).std(axis=1), len(c))
    return mean + 2 * sigma, mean - 2 * sigma


def bands(c: Column) -> tuple[Column, Column]:
    """TA-Lib's bands; the textbook's where TA-Lib itself strays from them by more than the tolerance.

    It does so for some candles after a price has jumped several times over: its running variance (0.8) then keeps
    what is left of the large prices until it is next built anew.
    """
    upper, _, lower = talib.BBANDS(c, 20, 2.0, 2.0, 0)
    found = []
    for band, plain in zip((upper, lower), two_pass(c), strict=True):
        strays = np.abs(band - plain) > np.maximum(1e-9 * np.abs(plain), 1e-12 * c)
        assert strays.mean() < 0.5, "TA-Lib decides, not the exception"
        found.append(np.where(strays, plain, band))
    return found[0], found[1]


def position(c: Column) -> Column:
    """Where the close lies between the bands: 0 on the lower, 1 on the upper."""
    rows = windows(c, 20)
    upper, lower = two_pass(c)
    flat = late(rows.max(axis=1) == rows.min(axis=1), len(c)) == 1 if len(rows) else np.zeros(len(c), dtype=bool)
    return nulls_where((upper == lower) | flat, (c - lower) / (upper - lower))


def ta_lib(h: Column, l: Column, c: Column) -> dict[str, Column]:  # noqa: E741
    """What TA-Lib has, from TA-Lib, its bands but for their strays; the position between them is the list's own."""
    macd, signal, hist = talib.MACD(c, 12, 26, 9)
    upper, lower = bands(c)
    return {
        **{f"sma_{n}": talib.SMA(c, n) for n in (5, 10, 20)},
        **{f"ema_{n}": talib.EMA(c, n) for n in (5, 10, 20)},
        "wma_5": talib.WMA(c, 5),
        **{f"momentum_{n}": talib.ROCP(c, n) for n in (3, 5)},
        "rsi_5": talib.RSI(c, 5),
        "bollinger_upper": upper,
        "bollinger_lower": lower,
        "bollinger_position": position(c),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": hist,
        "atr_14": talib.ATR(h, l, c, 14),
    }


def of_prices(start: Column, o: Column, h: Column, l: Column, c: Column) -> dict[str, Column]:  # noqa: E741
    """The features that need no volume: of the price, and of the ratio."""
    roll = {"roll_spread_20": roll_spread(c), ROLL_SLACK: roll_slack(c)}
    return {**ta_lib(h, l, c), **moves(start, c, len(c)), **ranges(o, h, l, c), **roll}


def volumes(c: Column, v: Column) -> dict[str, Column]:
    """Average volume, the newest against it, and closes weighted by volume."""
    length, found = len(c), {}
    for n in (5, 10, 20):
        mean = late(windows(v, n).mean(axis=1), length)
        total = late(windows(v, n).sum(axis=1), length)
        found[f"volume_avg_{n}"] = mean
        found[f"volume_ratio_{n}"] = nulls_where(mean == 0, v / mean)
        found[f"vwma_{n}"] = nulls_where(total == 0, late(windows(c * v, n).sum(axis=1), length) / total)
    return found


def vwaps(c: Column, w: Column, z: Column, session: NDArray[np.int64]) -> dict[str, Column]:
    """Volume-weighted average price since the session's start and over 20 candles, and the close against both."""
    length = len(c)
    opens = np.flatnonzero(np.append(True, session[1:] != session[:-1]))[:length]
    since = np.array([opens[opens <= t][-1] for t in range(length)], dtype=int)
    weight = np.array([w[a : t + 1].sum() for t, a in enumerate(since)])
    size = np.array([z[a : t + 1].sum() for t, a in enumerate(since)])
    of_session = nulls_where(size == 0, weight / size)
    size20 = late(windows(z, 20).sum(axis=1), length)
    rolling = nulls_where(size20 == 0, late(windows(w, 20).sum(axis=1), length) / size20)
    return {
        "session_vwap": of_session,
        "session_vwap_deviation": c / of_session - 1,
        "rolling_vwap": rolling,
        "rolling_vwap_deviation": c / rolling - 1,
    }


def kyle_lambda(c: Column, signed: Column) -> Column:
    """Slope of price change on signed volume, with intercept, over 20 candles."""
    x, y = windows(signed[1:], 20), windows(np.diff(c), 20)
    same = x.max(axis=1) == x.min(axis=1) if len(x) else np.empty(0, dtype=bool)
    slope = (centred(x) * centred(y)).sum(axis=1) / (centred(x) ** 2).sum(axis=1)
    return late(nulls_where(same, slope), len(c))


def kyle_slack(c: Column, signed: Column) -> Column:
    """What 1e-12 of the greatest change in the window makes in the slope: changes that cancel leave such a rest."""
    x, y = windows(signed[1:], 20), windows(np.diff(c), 20)
    greatest = np.abs(y).max(axis=1) if len(y) else np.empty(0)
    return late(1e-12 * greatest * np.abs(centred(x)).sum(axis=1) / (centred(x) ** 2).sum(axis=1), len(c))


def amihud(c: Column, w: Column) -> Column:
    """Mean absolute log return for one unit of money traded, over those of 20 candles that traded."""
    r, w = windows(np.abs(np.log(c[1:] / c[:-1])), 20), windows(w[1:], 20)
    traded = (w > 0).sum(axis=1)
    total = np.where(w > 0, r / w, 0).sum(axis=1)
    return late(nulls_where(traded == 0, total / traded), len(c))


def flow(bars: Sequence[Any], length_us: int) -> dict[str, Column]:
    """What one candle's own trades say."""
    v, n, b, s = (column(bars, name) for name in ("volume", "trade_count", "buy", "sell"))
    return {
        "buy_volume": b,
        "sell_volume": s,
        "signed_volume": b - s,
        "order_flow_imbalance": nulls_where(b + s == 0, (b - s) / (b + s)),
        "trade_intensity": n / (length_us / MICROS),
        "average_trade_size": nulls_where(n == 0, v / n),
        "quoted_spread": column(bars, "quoted_spread"),
        "effective_spread": column(bars, "effective_spread"),
    }


def flow_alone(bar: Any, length_us: int) -> Features:
    """What is left to say of a bar without a close: its own trades, all else null."""
    with np.errstate(all="ignore"):
        row = as_rows(flow([bar], length_us), 1)[0]
    return {**row, "side_source": SIDES[bar.side_source]}


def column(bars: Sequence[Any], name: str) -> Column:
    """One field of all bars; a missing value is NaN."""
    found = [getattr(bar, name) for bar in bars]
    return np.array([np.nan if value is None else value for value in found], dtype=float)


def price_features(bars: Sequence[Any], length_us: int) -> list[Features]:
    """Features of each bar of a price history, in order of time, all with a close."""
    if not bars:
        return []
    start, o, h, l, c = (column(bars, name) for name in ("start", "open", "high", "low", "close"))  # noqa: E741
    v, w, z = (column(bars, name) for name in ("volume", "weight", "priced_size"))
    session = np.array([bar.session for bar in bars], dtype=np.int64)
    with np.errstate(all="ignore"):
        columns = {
            **of_prices(start, o, h, l, c),
            **volumes(c, v),
            **vwaps(c, w, z, session),
            **flow(bars, length_us),
            "kyle_lambda_20": kyle_lambda(c, column(bars, "buy") - column(bars, "sell")),
            KYLE_SLACK: kyle_slack(c, column(bars, "buy") - column(bars, "sell")),
            "amihud_20": amihud(c, w),
        }
    rows = as_rows(columns, len(bars))
    for row, bar in zip(rows, bars, strict=True):
        row["side_source"] = SIDES[bar.side_source]
    return rows


def ratio_features(bars: Sequence[Any], length_us: int) -> list[Features]:
    """Features of each bar of a ratio history, in order of time, all with a ratio close."""
    if not bars:
        return []
    del length_us
    start = column(bars, "start")
    o, h, l, c = (column(bars, f"ratio_{name}") for name in ("open", "high", "low", "close"))  # noqa: E741
    with np.errstate(all="ignore"):
        return as_rows(of_prices(start, o, h, l, c), len(bars))


def as_rows(columns: dict[str, Column], length: int) -> list[Features]:
    """Columns turned to one dictionary a candle; what is not a finite number is null."""
    for name, values in columns.items():
        assert len(values) == length, name
    names = list(columns)
    table = np.array([columns[name] for name in names]).T.astype(object)
    table[~np.isfinite(table.astype(float))] = None
    return [dict(zip(names, row, strict=True)) for row in table.tolist()]
