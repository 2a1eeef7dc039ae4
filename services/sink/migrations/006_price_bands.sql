-- The price bands (limit-up limit-down) in force at the end of a candle, where bands are subscribed (LULD), in dollars;
-- luld_state is normal, limit (a quote stands at a band) or paused (trading is paused or halted) since luld_since.
ALTER TABLE candles
    ADD COLUMN limit_up DECIMAL,
    ADD COLUMN limit_down DECIMAL,
    ADD COLUMN luld_state TEXT COLLATE "C",
    ADD COLUMN luld_since TIMESTAMPTZ;
ALTER TABLE candle_revisions
    ADD COLUMN limit_up DECIMAL,
    ADD COLUMN limit_down DECIMAL,
    ADD COLUMN luld_state TEXT COLLATE "C",
    ADD COLUMN luld_since TIMESTAMPTZ;

CREATE OR REPLACE FUNCTION candles_as_of(moment TIMESTAMPTZ) RETURNS SETOF candles
LANGUAGE SQL STABLE
BEGIN ATOMIC
    SELECT DISTINCT ON (every.symbol, every.interval, every.hours, every.start) every.*
    FROM (SELECT * FROM candles UNION ALL SELECT * FROM candle_revisions) AS every
    WHERE every.known_at <= moment
    ORDER BY every.symbol, every.interval, every.hours, every.start, every.revision DESC;
END;
