-- The part of the exchange's day that a candle lies in, up to 15 m: pre, regular or post.
ALTER TABLE candles ADD COLUMN session TEXT COLLATE "C";
ALTER TABLE candle_revisions ADD COLUMN session TEXT COLLATE "C";

CREATE OR REPLACE FUNCTION candles_as_of(moment TIMESTAMPTZ) RETURNS SETOF candles
LANGUAGE SQL STABLE
BEGIN ATOMIC
    SELECT DISTINCT ON (every.symbol, every.interval, every.hours, every.start) every.*
    FROM (SELECT * FROM candles UNION ALL SELECT * FROM candle_revisions) AS every
    WHERE every.known_at <= moment
    ORDER BY every.symbol, every.interval, every.hours, every.start, every.revision DESC;
END;

-- Features of candles, of the highest revision; docs/features.md says what each is. Those of the ratio begin with ratio_.
CREATE TABLE features (
    symbol TEXT COLLATE "C" NOT NULL,
    interval TEXT COLLATE "C" NOT NULL,
    hours TEXT COLLATE "C" NOT NULL,
    start TIMESTAMPTZ NOT NULL,
    market TEXT COLLATE "C" NOT NULL,
    revision INTEGER NOT NULL,
    timestamp_out TIMESTAMPTZ NOT NULL,
    sma_5 DOUBLE PRECISION,
    sma_10 DOUBLE PRECISION,
    sma_20 DOUBLE PRECISION,
    ema_5 DOUBLE PRECISION,
    ema_10 DOUBLE PRECISION,
    ema_20 DOUBLE PRECISION,
    wma_5 DOUBLE PRECISION,
    momentum_3 DOUBLE PRECISION,
    momentum_5 DOUBLE PRECISION,
    velocity DOUBLE PRECISION,
    acceleration DOUBLE PRECISION,
    volume_avg_5 DOUBLE PRECISION,
    volume_avg_10 DOUBLE PRECISION,
    volume_avg_20 DOUBLE PRECISION,
    volume_ratio_5 DOUBLE PRECISION,
    volume_ratio_10 DOUBLE PRECISION,
    volume_ratio_20 DOUBLE PRECISION,
    session_vwap DOUBLE PRECISION,
    session_vwap_deviation DOUBLE PRECISION,
    rolling_vwap DOUBLE PRECISION,
    rolling_vwap_deviation DOUBLE PRECISION,
    vwma_5 DOUBLE PRECISION,
    vwma_10 DOUBLE PRECISION,
    vwma_20 DOUBLE PRECISION,
    buy_volume DOUBLE PRECISION,
    sell_volume DOUBLE PRECISION,
    signed_volume DOUBLE PRECISION,
    order_flow_imbalance DOUBLE PRECISION,
    side_source TEXT,
    volatility_5 DOUBLE PRECISION,
    volatility_10 DOUBLE PRECISION,
    high_low_ratio DOUBLE PRECISION,
    log_return DOUBLE PRECISION,
    parkinson_10 DOUBLE PRECISION,
    garman_klass_10 DOUBLE PRECISION,
    trade_intensity DOUBLE PRECISION,
    average_trade_size DOUBLE PRECISION,
    kyle_lambda_20 DOUBLE PRECISION,
    amihud_20 DOUBLE PRECISION,
    roll_spread_20 DOUBLE PRECISION,
    corwin_schultz DOUBLE PRECISION,
    quoted_spread DOUBLE PRECISION,
    effective_spread DOUBLE PRECISION,
    rsi_5 DOUBLE PRECISION,
    bollinger_upper DOUBLE PRECISION,
    bollinger_lower DOUBLE PRECISION,
    bollinger_position DOUBLE PRECISION,
    macd DOUBLE PRECISION,
    macd_signal DOUBLE PRECISION,
    macd_hist DOUBLE PRECISION,
    atr_14 DOUBLE PRECISION,
    ratio_sma_5 DOUBLE PRECISION,
    ratio_sma_10 DOUBLE PRECISION,
    ratio_sma_20 DOUBLE PRECISION,
    ratio_ema_5 DOUBLE PRECISION,
    ratio_ema_10 DOUBLE PRECISION,
    ratio_ema_20 DOUBLE PRECISION,
    ratio_wma_5 DOUBLE PRECISION,
    ratio_momentum_3 DOUBLE PRECISION,
    ratio_momentum_5 DOUBLE PRECISION,
    ratio_velocity DOUBLE PRECISION,
    ratio_acceleration DOUBLE PRECISION,
    ratio_volatility_5 DOUBLE PRECISION,
    ratio_volatility_10 DOUBLE PRECISION,
    ratio_high_low_ratio DOUBLE PRECISION,
    ratio_log_return DOUBLE PRECISION,
    ratio_parkinson_10 DOUBLE PRECISION,
    ratio_garman_klass_10 DOUBLE PRECISION,
    ratio_roll_spread_20 DOUBLE PRECISION,
    ratio_corwin_schultz DOUBLE PRECISION,
    ratio_rsi_5 DOUBLE PRECISION,
    ratio_bollinger_upper DOUBLE PRECISION,
    ratio_bollinger_lower DOUBLE PRECISION,
    ratio_bollinger_position DOUBLE PRECISION,
    ratio_macd DOUBLE PRECISION,
    ratio_macd_signal DOUBLE PRECISION,
    ratio_macd_hist DOUBLE PRECISION,
    ratio_atr_14 DOUBLE PRECISION,
    PRIMARY KEY (symbol, interval, hours, start)
);
CREATE INDEX features_start ON features (start DESC);

-- What a higher revision has replaced, to read back what was known.
CREATE TABLE feature_revisions (
    LIKE features INCLUDING ALL EXCLUDING INDEXES,
    PRIMARY KEY (symbol, interval, hours, start, revision)
);
