-- Every quote of stocks and pairs, where they are subscribed and stored (QUOTES). A side that nobody quotes has no
-- price; crossed quotes stand as they came. src_*: where on quotes.<market> it stands, for a quote has no id.
CREATE TABLE quotes (
    time          TIMESTAMPTZ NOT NULL,
    symbol        TEXT COLLATE "C" NOT NULL,
    market        TEXT COLLATE "C" NOT NULL,
    bid           DECIMAL,
    bid_size      DECIMAL NOT NULL,
    ask           DECIMAL,
    ask_size      DECIMAL NOT NULL,
    bid_exchange  INTEGER NOT NULL,
    ask_exchange  INTEGER NOT NULL,
    conditions    INTEGER[] NOT NULL,
    indicators    INTEGER[] NOT NULL,
    sequence      BIGINT NOT NULL,
    tape          INTEGER NOT NULL,
    received_at   TIMESTAMPTZ NOT NULL,
    src_partition INTEGER NOT NULL,
    src_offset    BIGINT NOT NULL,
    PRIMARY KEY (symbol, time, src_offset)
);
CREATE INDEX quotes_time ON quotes (time DESC);
