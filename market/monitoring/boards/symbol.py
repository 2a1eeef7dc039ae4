"""One symbol as the database has it."""

from __future__ import annotations

from typing import Final

from market.monitoring.panels import Dashboard, Panel, sql

ALL: Final = "WHERE symbol = '$symbol' AND hours = 'all' AND $__timeFilter(start)"
CANDLE: Final = f"FROM candles {ALL} AND interval = '$interval'"
FEATURE: Final = f"FROM features {ALL} AND interval = '15s'"
TICKS: Final = "FROM ratio_ticks_live WHERE symbol = '$symbol' AND $__timeFilter(time)"

PANELS: Final = (
    Panel("Price", "currencyUSD", sql(
        f"SELECT start AS time, open, high, low, close, volume {CANDLE} ORDER BY 1"),
        "candlestick", "Final candles of $interval", 16, 10),
    Panel("Newest trades", "short", sql(
        "SELECT time, stock_price, stock_size, ratio, btc_price, btc_age_us / 1000.0 AS btc_age_ms, reason "
        f"{TICKS} ORDER BY time DESC LIMIT 30"), "table", "", 8, 10),
    Panel("Ratio to BTC", "short", sql(
        f"SELECT start AS time, ratio_open, ratio_high, ratio_low, ratio_close {CANDLE} ORDER BY 1"), width=12),
    Panel("Ratio, 500 ms", "short", sql(
        "SELECT time, close_ratio, twap_ratio FROM ratio_aggregates_500ms WHERE symbol = '$symbol' "
        "AND $__timeFilter(time) ORDER BY time"), width=12),
    Panel("BTC", "currencyUSD", sql(
        "SELECT start AS time, close, vwap FROM candles WHERE symbol = 'BTC-USD' AND interval = '$interval' "
        "AND hours = 'all' AND $__timeFilter(start) ORDER BY 1"), width=12),
    Panel("Volume and trades", "short", sql(
        f"SELECT start AS time, volume, trade_count {CANDLE} ORDER BY 1"), width=12),
    Panel("Moving averages", "currencyUSD", sql(
        f"SELECT start AS time, sma_5, sma_20, ema_20, session_vwap {FEATURE} ORDER BY 1"),
        about="Of 15 s candles; empty until enough candles are there", width=12),
    Panel("Order flow", "short", sql(
        f"SELECT start AS time, buy_volume, sell_volume, order_flow_imbalance {FEATURE} ORDER BY 1"),
        width=12),
    Panel("Symbols now", "short", sql(
        "SELECT DISTINCT ON (symbol) symbol, start AS \"time\", close, ratio_close, volume, trade_count FROM candles "
        "WHERE interval = '$interval' AND hours = 'all' AND $__timeFilter(start) ORDER BY symbol, start DESC"),
        "table", "The last candle of each", 12, 9),
    Panel("Latency of candles", "ms", sql(
        "SELECT start AS time, latency_ms FROM candles WHERE symbol = '$symbol' AND interval = '$interval' "
        "AND hours = 'all' AND $__timeFilter(start) ORDER BY 1"), about="Candle's end to publication", width=12,
        height=9),
)  # fmt: skip

BOARD: Final = Dashboard(
    "market-symbol",
    "Market: one symbol",
    "Prices, ratio to BTC, volume and features of one symbol, from the database.",
    PANELS,
    refresh="5s",
    variables=(
        (
            "symbol",
            "SELECT DISTINCT symbol FROM candles WHERE market = 'stocks' AND start > now() - '1 day'::INTERVAL",
        ),
        ("interval", "SELECT DISTINCT interval FROM candles WHERE start > now() - '1 day'::INTERVAL"),
    ),
)
