"""The features of a candle as they are published, and what each means: one table, shown in docs/features.md."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

SideSource = Literal["unknown", "tick", "quote", "feed"]
SIDE_SOURCES: Final[tuple[SideSource, ...]] = ("unknown", "tick", "quote", "feed")
TA_LIB: Final = "TA-Lib"


class RatioFeatures(msgspec.Struct, frozen=True, gc=False):
    """Features of the ratio's open, high, low and close; null until warmed up."""

    sma_5: float | None
    sma_10: float | None
    sma_20: float | None
    ema_5: float | None
    ema_10: float | None
    ema_20: float | None
    wma_5: float | None
    momentum_3: float | None
    momentum_5: float | None
    velocity: float | None
    acceleration: float | None
    volatility_5: float | None
    volatility_10: float | None
    high_low_ratio: float | None
    log_return: float | None
    parkinson_10: float | None
    garman_klass_10: float | None
    roll_spread_20: float | None
    corwin_schultz: float | None
    rsi_5: float | None
    bollinger_upper: float | None
    bollinger_lower: float | None
    bollinger_position: float | None
    macd: float | None
    macd_signal: float | None
    macd_hist: float | None
    atr_14: float | None


class PriceFeatures(msgspec.Struct, frozen=True, gc=False):
    """Features of a candle's prices and volumes; null until warmed up."""

    sma_5: float | None
    sma_10: float | None
    sma_20: float | None
    ema_5: float | None
    ema_10: float | None
    ema_20: float | None
    wma_5: float | None
    momentum_3: float | None
    momentum_5: float | None
    velocity: float | None
    acceleration: float | None
    volume_avg_5: float | None
    volume_avg_10: float | None
    volume_avg_20: float | None
    volume_ratio_5: float | None
    volume_ratio_10: float | None
    volume_ratio_20: float | None
    session_vwap: float | None
    session_vwap_deviation: float | None
    rolling_vwap: float | None
    rolling_vwap_deviation: float | None
    vwma_5: float | None
    vwma_10: float | None
    vwma_20: float | None
    buy_volume: float
    sell_volume: float
    signed_volume: float
    order_flow_imbalance: float | None
    side_source: SideSource
    volatility_5: float | None
    volatility_10: float | None
    high_low_ratio: float | None
    log_return: float | None
    parkinson_10: float | None
    garman_klass_10: float | None
    trade_intensity: float
    average_trade_size: float | None
    kyle_lambda_20: float | None
    amihud_20: float | None
    roll_spread_20: float | None
    corwin_schultz: float | None
    quoted_spread: float | None
    effective_spread: float | None
    rsi_5: float | None
    bollinger_upper: float | None
    bollinger_lower: float | None
    bollinger_position: float | None
    macd: float | None
    macd_signal: float | None
    macd_hist: float | None
    atr_14: float | None


class Meaning(NamedTuple):
    """What one feature, or a family of them, means. ``warm_up`` counts candles with a close, this one included."""

    names: tuple[str, ...]
    formula: str
    unit: str
    warm_up: str
    source: str


def _family(name: str, *lengths: int) -> tuple[str, ...]:
    return tuple(f"{name}_{n}" for n in lengths)


MEANINGS: Final[tuple[Meaning, ...]] = (
    Meaning(_family("sma", 5, 10, 20), "mean of the last n closes", "price", "n", TA_LIB),
    Meaning(_family("ema", 5, 10, 20), "exponential mean, k = 2/(n+1), seeded with the mean of the first n closes",
            "price", "n", TA_LIB),
    Meaning(_family("wma", 5), "(c[-4] + 2c[-3] + 3c[-2] + 4c[-1] + 5c) / 15", "price", "5", TA_LIB),
    Meaning(_family("momentum", 3, 5), "c / c[-n] - 1", "1", "n + 1", "TA-Lib ROCP"),
    Meaning(("velocity",), "(c - c[-1]) / seconds between the two candles' starts", "price/s", "2", "definition"),
    Meaning(("acceleration",), "(velocity - velocity[-1]) / the same seconds", "price/s²", "3", "definition"),
    Meaning(_family("volume_avg", 5, 10, 20), "mean of the last n volumes", "shares or coins", "n", "definition"),
    Meaning(_family("volume_ratio", 5, 10, 20), "volume / volume_avg_n; null if that is 0", "1", "n", "definition"),
    Meaning(("session_vwap",), "sum of price * size / sum of size, price-forming trades of this session's candles",
            "price", "1", "definition"),
    Meaning(("session_vwap_deviation",), "c / session_vwap - 1", "1", "1", "definition"),
    Meaning(("rolling_vwap",), "the same over the last 20 candles", "price", "20", "definition"),
    Meaning(("rolling_vwap_deviation",), "c / rolling_vwap - 1", "1", "20", "definition"),
    Meaning(_family("vwma", 5, 10, 20), "sum of c * volume / sum of volume over the last n; null if that is 0",
            "price", "n", "definition"),
    Meaning(("buy_volume", "sell_volume"), "volume of the trades that a buyer, a seller started", "shares or coins",
            "1", "feed (crypto); tick rule, Lee and Ready 1991 (stocks)"),
    Meaning(("signed_volume",), "buy_volume - sell_volume", "shares or coins", "1", "definition"),
    Meaning(("order_flow_imbalance",), "(buy - sell) / (buy + sell); null without either", "1", "1", "definition"),
    Meaning(("side_source",), "what told the sides: feed, quote, tick or unknown", "", "1", ""),
    Meaning(_family("volatility", 5, 10), "sample standard deviation of the last n log returns, not annualised", "1",
            "n + 1", "definition"),
    Meaning(("high_low_ratio",), "high / low", "1", "1", "definition"),
    Meaning(("log_return",), "ln(c / c[-1])", "1", "2", "definition"),
    Meaning(("parkinson_10",), "sqrt(mean of ln(h/l)² over 10 / (4 ln 2))", "1", "10", "Parkinson 1980"),
    Meaning(("garman_klass_10",), "sqrt(mean over 10 of 0.5 ln(h/l)² - (2 ln 2 - 1) ln(c/o)²)", "1", "10",
            "Garman and Klass 1980"),
    Meaning(("trade_intensity",), "trades / length of the interval", "1/s", "1", "definition"),
    Meaning(("average_trade_size",), "volume / trades; null without trades", "shares or coins", "1", "definition"),
    Meaning(("kyle_lambda_20",), "least-squares slope of the change of close on signed_volume over the last 20; null "
            "if all signed volumes are equal", "price / share", "21", "Kyle 1985"),
    Meaning(("amihud_20",), "mean of |log_return| / (price * size traded) over those of the last 20 that traded",
            "1 / currency", "21", "Amihud 2002"),
    Meaning(("roll_spread_20",), "2 sqrt(-cov) of 20 pairs of neighbouring changes of close; null if cov > 0",
            "price", "22", "Roll 1984"),
    Meaning(("corwin_schultz",), "spread from highs and lows of two candles; negative estimates are 0", "1", "2",
            "Corwin and Schultz 2012"),
    Meaning(("quoted_spread", "effective_spread"), "from quotes; null where none are subscribed", "price", "1",
            "definition"),
    Meaning(("rsi_5",), "relative strength over 5, Wilder's smoothing; 0 if flat", "0 to 100", "6", TA_LIB),
    Meaning(("bollinger_upper", "bollinger_lower"), "sma_20 plus, minus 2 population standard deviations", "price",
            "20", "TA-Lib BBANDS"),
    Meaning(("bollinger_position",), "(c - lower) / (upper - lower); null if flat", "1", "20", "definition"),
    Meaning(("macd", "macd_signal", "macd_hist"), "12, 26 and 9: fast - slow, its exponential mean, their difference",
            "price", "34", TA_LIB),
    Meaning(("atr_14",), "average true range over 14, Wilder's smoothing", "price", "15", TA_LIB),
)  # fmt: skip


def features_markdown() -> str:
    """The table of docs/features.md."""
    ratio = set(RatioFeatures.__struct_fields__)
    lines = ["| feature | meaning | unit | warm-up | of the ratio too | source |", "|---|---|---|---|---|---|"]
    for meaning in MEANINGS:
        names = ", ".join(f"`{name}`" for name in meaning.names)
        also = "yes" if ratio.issuperset(meaning.names) else ""
        lines.append(
            f"| {names} | {meaning.formula.replace('|', '¦')} | {meaning.unit} | {meaning.warm_up} | {also} "
            f"| {meaning.source} |"
        )
    return "\n".join(lines) + "\n"
