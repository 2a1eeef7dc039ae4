-- Tables of the sink. Times are UTC; DECIMAL columns hold exactly the digits of the JSON number.
-- Symbols and ids compare by bytes (COLLATE "C"): the keys are identities, not words, and the index is cheaper.

-- Every stock trade joined with BTC. The first seven columns are promised to users, in this order.
-- src_*: the record of trades.stocks that this row comes from (partition, offset, ordinal).
CREATE TABLE ratio_ticks_live (
    time               TIMESTAMPTZ NOT NULL,
    symbol             VARCHAR(10) COLLATE "C" NOT NULL,
    btc_price          DECIMAL,
    stock_price        DECIMAL NOT NULL,
    ratio              DECIMAL,
    btc_volume         DECIMAL,
    stock_volume       BIGINT NOT NULL,
    exchange           INTEGER NOT NULL,
    trf                INTEGER NOT NULL,
    trade_id           TEXT COLLATE "C" NOT NULL,
    sequence           BIGINT NOT NULL,
    stock_size         DECIMAL NOT NULL,
    eligible           BOOLEAN NOT NULL,
    updates_open_close BOOLEAN NOT NULL,
    updates_volume     BOOLEAN NOT NULL,
    inverse_ratio      DECIMAL,
    reason             TEXT,
    reference          TEXT,
    btc_time           TIMESTAMPTZ,
    btc_age_us         BIGINT,
    received_at        TIMESTAMPTZ NOT NULL,
    published_at       TIMESTAMPTZ NOT NULL,
    revision           INTEGER NOT NULL,
    src_partition      INTEGER NOT NULL,
    src_offset         BIGINT NOT NULL,
    src_n              INTEGER NOT NULL,
    PRIMARY KEY (symbol, time, exchange, trf, trade_id)
);
CREATE INDEX ratio_ticks_live_time ON ratio_ticks_live (time DESC);

-- Ratio candles of 500 ms over all hours. The first eight columns are promised to users, in this order.
CREATE TABLE ratio_aggregates_500ms (
    time          TIMESTAMPTZ NOT NULL,
    symbol        VARCHAR(10) COLLATE "C" NOT NULL,
    open_ratio    DECIMAL,
    high_ratio    DECIMAL,
    low_ratio     DECIMAL,
    close_ratio   DECIMAL,
    avg_ratio     DECIMAL,
    tick_count    INTEGER NOT NULL,
    twap_ratio    DECIMAL,
    revision      INTEGER NOT NULL,
    published_at  TIMESTAMPTZ NOT NULL,
    src_partition INTEGER NOT NULL,
    src_offset    BIGINT NOT NULL,
    src_n         INTEGER NOT NULL,
    PRIMARY KEY (symbol, time)
);
CREATE INDEX ratio_aggregates_500ms_time ON ratio_aggregates_500ms (time DESC);

-- The newest revision of every candle [start, "end"), price and ratio in one row.
-- timestamp_out is when this revision was published; known_at is the same instant under the name that
-- point-in-time queries use.
CREATE TABLE candles (
    symbol           TEXT COLLATE "C" NOT NULL,
    interval         TEXT COLLATE "C" NOT NULL,
    hours            TEXT COLLATE "C" NOT NULL,
    start            TIMESTAMPTZ NOT NULL,
    "end"            TIMESTAMPTZ NOT NULL,
    market           TEXT COLLATE "C" NOT NULL,
    open             DECIMAL,
    high             DECIMAL,
    low              DECIMAL,
    close            DECIMAL,
    avg              DECIMAL,
    vwap             DECIMAL,
    volume           DECIMAL NOT NULL,
    tick_count       INTEGER NOT NULL,
    trade_count      INTEGER NOT NULL,
    ratio_open       DECIMAL,
    ratio_high       DECIMAL,
    ratio_low        DECIMAL,
    ratio_close      DECIMAL,
    ratio_avg        DECIMAL,
    ratio_twap       DECIMAL,
    ratio_tick_count INTEGER,
    revision         INTEGER NOT NULL,
    timestamp_out    TIMESTAMPTZ NOT NULL,
    latency_ms       DECIMAL NOT NULL,
    src_partition    INTEGER NOT NULL,
    src_offset       BIGINT NOT NULL,
    src_n            INTEGER NOT NULL,
    known_at         TIMESTAMPTZ GENERATED ALWAYS AS (timestamp_out) STORED,
    PRIMARY KEY (symbol, interval, hours, start)
);
CREATE INDEX candles_start ON candles (start DESC);

-- Superseded revisions: a row moves here, in the same transaction, when a higher revision takes its place.
CREATE TABLE candle_revisions (
    LIKE candles INCLUDING ALL EXCLUDING INDEXES,
    PRIMARY KEY (symbol, interval, hours, start, revision)
);

-- What a reader could have known at a moment: of every candle the highest revision published by then.
-- For example: SELECT * FROM candles_as_of('2026-01-05 15:00Z') WHERE symbol = 'MARA' AND interval = '1m'.
-- (A column added to candles is added to candle_revisions in the same place, and this function made again.)
CREATE FUNCTION candles_as_of(moment TIMESTAMPTZ) RETURNS SETOF candles
LANGUAGE SQL STABLE
BEGIN ATOMIC
    SELECT DISTINCT ON (every.symbol, every.interval, every.hours, every.start) every.*
    FROM (SELECT * FROM candles UNION ALL SELECT * FROM candle_revisions) AS every
    WHERE every.known_at <= moment
    ORDER BY every.symbol, every.interval, every.hours, every.start, every.revision DESC;
END;

-- How far each partition is stored; written in the transaction of its rows, by compare-and-set.
-- src_*: the last src accepted under the reader's rule. cluster_id and topic_id name the log that the offset
-- belongs to: with another log the offset means nothing, and reading starts at the beginning.
CREATE TABLE sink_positions (
    topic         TEXT COLLATE "C" NOT NULL,
    partition     INTEGER NOT NULL,
    next_offset   BIGINT NOT NULL,
    src_partition INTEGER,
    src_offset    BIGINT,
    src_n         INTEGER,
    cluster_id    TEXT NOT NULL,
    topic_id      TEXT NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 20);  -- small rows rewritten many times a second: room for updates within the page
