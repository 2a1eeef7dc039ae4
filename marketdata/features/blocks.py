"""The features of one candle as they are published. What each is, table.py says and docs/features.md shows."""

from __future__ import annotations

from typing import Literal

import msgspec

SideSource = Literal["feed", "quote", "tick", "unknown"]


class PriceFeatures(msgspec.Struct, frozen=True, gc=False):
    """Features of the price. Null: not warmed up, not defined for these candles, or past what a float holds."""

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
    buy_volume: float | None
    sell_volume: float | None
    signed_volume: float | None
    order_flow_imbalance: float | None
    side_source: SideSource
    volatility_5: float | None
    volatility_10: float | None
    high_low_ratio: float | None
    log_return: float | None
    parkinson_10: float | None
    garman_klass_10: float | None
    trade_intensity: float | None
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


class RatioFeatures(msgspec.Struct, frozen=True, gc=False):
    """Features of the stock/BTC ratio: those of the price that need no volume, with the same nulls."""

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
