"""What each feature is: the one table that docs/features.md shows and the tests hold against the records."""

from __future__ import annotations

from typing import Final, NamedTuple


class Feature(NamedTuple):
    """One or more features of a kind. ``warm_up``: candles with a close until the first value, one for each name."""

    names: tuple[str, ...]
    formula: str
    unit: str
    warm_up: tuple[int, ...]
    source: str
    ratio: bool = False


_TA: Final = "TA-Lib"
FEATURES: Final[tuple[Feature, ...]] = (
    Feature(("sma_5", "sma_10", "sma_20"), "mean of the last n c", "price", (5, 10, 20), f"{_TA} SMA", True),
    Feature(("ema_5", "ema_10", "ema_20"), "e + 2/(n+1) (c - e), begun with the mean of the first n c", "price",
            (5, 10, 20), f"{_TA} EMA", True),
    Feature(("wma_5",), "mean of the last 5 c with weights 1 to 5", "price", (5,), f"{_TA} WMA", True),
    Feature(("momentum_3", "momentum_5"), "c / (c n candles ago) - 1", "share", (4, 6), f"{_TA} ROCP", True),
    Feature(("velocity",), "d / dt", "price / s", (2,), "definition", True),
    Feature(("acceleration",), "(velocity - velocity before) / dt", "price / s²", (3,), "definition", True),
    Feature(("volume_avg_5", "volume_avg_10", "volume_avg_20"), "mean of the last n V", "shares or coins",
            (5, 10, 20), "definition"),
    Feature(("volume_ratio_5", "volume_ratio_10", "volume_ratio_20"),
            "V / volume_avg_n; null if that is 0", "1", (5, 10, 20), "definition"),
    Feature(("session_vwap",),
            "sum W / sum Z since the session's first candle; null if sum Z = 0, and outside sessions", "price", (1,),
            "definition"),
    Feature(("session_vwap_deviation",), "c / session_vwap - 1", "share", (1,), "definition"),
    Feature(("rolling_vwap",), "sum W / sum Z over 20 candles; null if sum Z = 0", "price", (20,), "definition"),
    Feature(("rolling_vwap_deviation",), "c / rolling_vwap - 1", "share", (20,), "definition"),
    Feature(("vwma_5", "vwma_10", "vwma_20"), "sum c V / sum V over n candles; null if sum V = 0", "price",
            (5, 10, 20), "definition"),
    Feature(("buy_volume", "sell_volume"), "B; S", "shares or coins", (0, 0), "Lee, Ready 1991, or the feed"),
    Feature(("signed_volume",), "B - S", "shares or coins", (0,), "Lee, Ready 1991, or the feed"),
    Feature(("order_flow_imbalance",), "(B - S) / (B + S); null if B + S = 0", "-1 to 1", (0,), "definition"),
    Feature(("side_source",), "whence sides come: feed (crypto), quote (that rule told at least one), tick, unknown",
            "name", (0,), "Lee, Ready 1991, or the feed"),
    Feature(("volatility_5", "volatility_10"), "sample standard deviation (n - 1) of the last n r, not annualised",
            "1", (6, 11), "definition", True),
    Feature(("high_low_ratio",), "h / l", "1", (0,), "definition", True),
    Feature(("log_return",), "r", "1", (2,), "definition", True),
    Feature(("parkinson_10",), "sqrt(mean of ln(h/l)² over 10 candles / (4 ln 2))", "1", (10,),
            "Parkinson 1980", True),
    Feature(("garman_klass_10",),
            "sqrt(max(0, mean over 10 candles of 0.5 ln(h/l)² - (2 ln 2 - 1) ln(c/o)²))", "1", (10,),
            "Garman, Klass 1980", True),
    Feature(("trade_intensity",), "N / T", "trades / s", (0,), "definition"),
    Feature(("average_trade_size",), "V / N; null if N = 0", "shares or coins", (0,), "definition"),
    Feature(("kyle_lambda_20",),
            "slope of d on B - S, with intercept, over 20 candles; null if all B - S are equal",
            "price / share or coin", (21,), "Kyle 1985"),
    Feature(("amihud_20",), "mean of abs(r) / W over those of the last 20 candles with W > 0; null if there is none",
            "1 / currency", (21,), "Amihud 2002"),
    Feature(("roll_spread_20",),
            "2 sqrt(-cov), cov the sample covariance (n - 1) of 20 pairs (d, d before); null if cov > 0", "price",
            (22,), "Roll 1984", True),
    Feature(("corwin_schultz",),
            "2 (e^a - 1) / (1 + e^a), at least 0; a = (sqrt(2 b) - sqrt(b)) / k - sqrt(g / k), k = 3 - 2 sqrt(2), b "
            "the sum of two candles' ln(h/l)², g = ln(highest h / lowest l)² of both", "share", (2,),
            "Corwin, Schultz 2012", True),
    Feature(("quoted_spread",), "mean of ask - bid over price-forming trades with a quote; null without", "price",
            (0,), "quotes"),
    Feature(("effective_spread",), "mean of 2 |price - (bid + ask) / 2| over the same trades; null without", "price",
            (0,), "quotes"),
    Feature(("rsi_5",), "100 G / (G + L), Wilder's averages of gains and losses; 0 if both are 0", "0 to 100", (6,),
            f"{_TA} RSI", True),
    Feature(("bollinger_upper", "bollinger_lower"), "sma_20 ± 2 population standard deviations of the last 20 c",
            "price", (20, 20), f"{_TA} BBANDS", True),
    Feature(("bollinger_position",), "(c - lower) / (upper - lower); null if they or all 20 c are equal", "1", (20,),
            "definition", True),
    Feature(("macd", "macd_signal", "macd_hist"),
            "EMA 12 - EMA 26, both begun at candle 26; EMA 9 of it; their difference", "price", (34, 34, 34),
            f"{_TA} MACD", True),
    Feature(("atr_14",), "Wilder's average of max(h - l, abs(h - c before), abs(l - c before))", "price", (15,),
            f"{_TA} ATR", True),
)  # fmt: skip


def features_markdown() -> str:
    """The table of docs/features.md, a line for each row of FEATURES."""
    head = ["| feature | formula | unit | warm-up | source | ratio |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *map(_line, FEATURES)]) + "\n"


def _line(feature: Feature) -> str:
    names = " ".join(f"`{name}`" for name in feature.names)
    need = " ".join(dict.fromkeys(str(n) if n else "none" for n in feature.warm_up))
    last = "yes" if feature.ratio else ""
    return f"| {names} | {feature.formula} | {feature.unit} | {need} | {feature.source} | {last} |"
