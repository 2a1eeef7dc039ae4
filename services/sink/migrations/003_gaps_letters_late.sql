-- Trades, cancels and corrections that no open candle could take; `market rebuild` brings them into their candles.
CREATE TABLE late_trades (
    time          TIMESTAMPTZ NOT NULL,
    symbol        TEXT COLLATE "C" NOT NULL,
    market        TEXT COLLATE "C" NOT NULL,
    price         DECIMAL NOT NULL,
    size          DECIMAL NOT NULL,
    exchange      INTEGER NOT NULL,
    trf           INTEGER NOT NULL,
    trade_id      TEXT COLLATE "C" NOT NULL,
    sequence      BIGINT NOT NULL,
    correction    INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    received_at   TIMESTAMPTZ NOT NULL,
    src_partition INTEGER NOT NULL,
    src_offset    BIGINT NOT NULL,
    src_n         INTEGER NOT NULL,
    PRIMARY KEY (symbol, time, exchange, trf, trade_id, correction)
);
CREATE INDEX late_trades_time ON late_trades (time DESC);

-- Stretches of one cluster's feed that were not received, with the last word on each; src_offset: where it was said.
CREATE TABLE feed_gaps (
    cluster    TEXT COLLATE "C" NOT NULL,
    start      TIMESTAMPTZ NOT NULL,
    "end"      TIMESTAMPTZ,
    status     TEXT NOT NULL,
    trades     BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    src_offset BIGINT NOT NULL,
    PRIMARY KEY (cluster, start)
);

-- What a service could not read: why, the bytes (the first 256 KiB), and where they stood. A letter written again
-- after a restart is the same row. Bytes that stood on no topic (frames of the feed) are told by the place of the
-- letter itself; digest is the start of the SHA-256 of raw; src_offset is where the letter stands.
CREATE TABLE dead_letters (
    service    TEXT COLLATE "C" NOT NULL,
    topic      TEXT COLLATE "C" NOT NULL,
    partition  INTEGER NOT NULL,
    "offset"   BIGINT NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    reason     TEXT NOT NULL,
    raw        BYTEA NOT NULL,
    noticed_at TIMESTAMPTZ NOT NULL,
    src_offset BIGINT NOT NULL,
    PRIMARY KEY (service, topic, partition, "offset", digest)
);
CREATE INDEX dead_letters_noticed_at ON dead_letters (noticed_at DESC);
