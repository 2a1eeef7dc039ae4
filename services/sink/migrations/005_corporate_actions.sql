-- Splits and changes of symbol (`market actions load`), and candles as they look by today's shares and names.
-- day is the first trading day on which it is in force. A split: old_shares became new_shares (1 and 4 in a 4-for-1
-- split). A rename: the company known as symbol trades as new_symbol.
CREATE TABLE corporate_actions (
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('split', 'rename')),
    symbol     TEXT COLLATE "C" NOT NULL,
    day        DATE NOT NULL CHECK (isfinite(day)),
    old_shares DECIMAL CHECK (old_shares > 0),
    new_shares DECIMAL CHECK (new_shares > 0),
    new_symbol TEXT COLLATE "C" CHECK (new_symbol <> symbol),
    PRIMARY KEY (symbol, day, kind),
    CHECK ((kind = 'split') = (old_shares IS NOT NULL) AND (kind = 'split') = (new_shares IS NOT NULL)),
    CHECK ((kind = 'rename') = (new_symbol IS NOT NULL))
);

CREATE AGGREGATE exact_product(NUMERIC) (SFUNC = numeric_mul, STYPE = NUMERIC, INITCOND = '1');

CREATE FUNCTION times_over(value NUMERIC, times NUMERIC, over NUMERIC) RETURNS NUMERIC
LANGUAGE SQL IMMUTABLE
RETURN CASE WHEN times IS NULL THEN value ELSE trim_scale(value * times / over) END;

-- A period of a symbol's candles, those that end after from_time and not after until_time (a trading day begins at
-- 05:00 UTC): what brings them to today's shares (prices * old_shares / new_shares, volumes the other way round), and
-- the name that the company has today. Periods that need nothing are not listed. It is kept by the trigger below: the
-- planner knows nothing of a recursive query's size and would compile every query on candles_adjusted for seconds.
CREATE TABLE candle_adjustments (
    symbol        TEXT COLLATE "C" NOT NULL,
    from_time     TIMESTAMPTZ NOT NULL,
    until_time    TIMESTAMPTZ NOT NULL,
    newest_symbol TEXT COLLATE "C" NOT NULL,
    old_shares    DECIMAL NOT NULL,
    new_shares    DECIMAL NOT NULL,
    PRIMARY KEY (symbol, from_time)
);
CREATE INDEX candle_adjustments_newest_symbol ON candle_adjustments (newest_symbol);

CREATE VIEW candle_adjustments_due AS
WITH RECURSIVE splits AS (
    SELECT symbol, day, old_shares, new_shares FROM corporate_actions WHERE kind = 'split'
), renames AS (
    SELECT symbol, day, new_symbol FROM corporate_actions WHERE kind = 'rename'
), edges AS (
    SELECT symbol, day FROM corporate_actions UNION SELECT symbol, '-infinity' FROM corporate_actions
), periods AS (
    SELECT symbol, day AS first, lead(day, 1, 'infinity') OVER (PARTITION BY symbol ORDER BY day) AS until FROM edges
), names AS (
    -- The name of a period and those that the company has after it, each with the day it got it.
    SELECT symbol, first, until, symbol AS name, first AS since, 0 AS step FROM periods
    UNION ALL
    SELECT names.symbol, names.first, names.until, next.new_symbol, next.day, names.step + 1
    FROM names, LATERAL (
        SELECT day, new_symbol FROM renames
        WHERE renames.symbol = names.name AND renames.day > names.since ORDER BY day LIMIT 1
    ) AS next
), lives AS (
    SELECT *, lead(since, 1, 'infinity') OVER (PARTITION BY symbol, first ORDER BY step) AS last FROM names
), adjustments AS (
    -- On the day of a rename the splits of either name count: it says nothing of which stood in the announcement.
    SELECT lives.symbol, first, until, (array_agg(name ORDER BY step DESC))[1] AS newest_symbol,
        exact_product(old_shares) AS old_shares, exact_product(new_shares) AS new_shares
    FROM lives LEFT JOIN splits ON splits.symbol = name AND splits.day <= last
        AND (splits.day > since OR (step > 0 AND splits.day = since))
    GROUP BY lives.symbol, first, until
)
SELECT symbol, (first + TIME '05:00') AT TIME ZONE 'UTC' AS from_time,
    (until + TIME '05:00') AT TIME ZONE 'UTC' AS until_time, newest_symbol, old_shares, new_shares
FROM adjustments WHERE old_shares <> new_shares OR newest_symbol <> symbol;

CREATE FUNCTION adjust_candles() RETURNS TRIGGER LANGUAGE plpgsql SET jit = off AS $$
BEGIN
    EXECUTE format('DELETE FROM %I.candle_adjustments', TG_TABLE_SCHEMA);
    EXECUTE format('INSERT INTO %1$I.candle_adjustments SELECT * FROM %1$I.candle_adjustments_due', TG_TABLE_SCHEMA);
    RETURN NULL;
END;
$$;
CREATE TRIGGER adjust_candles AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON corporate_actions
    FOR EACH STATEMENT EXECUTE FUNCTION adjust_candles();

-- Candles by today's shares and names; the raw ones stay in candles, and traded_as is the name they have there. Two
-- halves, so that a condition on symbol finds the index of candles in each.
CREATE VIEW candles_adjusted AS
SELECT c.symbol, c.interval, c.hours, c.start, c."end", c.market, c.session,
    times_over(c.open, a.old_shares, a.new_shares) AS open,
    times_over(c.high, a.old_shares, a.new_shares) AS high,
    times_over(c.low, a.old_shares, a.new_shares) AS low,
    times_over(c.close, a.old_shares, a.new_shares) AS close,
    times_over(c.avg, a.old_shares, a.new_shares) AS avg,
    times_over(c.vwap, a.old_shares, a.new_shares) AS vwap,
    times_over(c.volume, a.new_shares, a.old_shares) AS volume,
    c.tick_count, c.trade_count,
    times_over(c.ratio_open, a.old_shares, a.new_shares) AS ratio_open,
    times_over(c.ratio_high, a.old_shares, a.new_shares) AS ratio_high,
    times_over(c.ratio_low, a.old_shares, a.new_shares) AS ratio_low,
    times_over(c.ratio_close, a.old_shares, a.new_shares) AS ratio_close,
    times_over(c.ratio_avg, a.old_shares, a.new_shares) AS ratio_avg,
    times_over(c.ratio_twap, a.old_shares, a.new_shares) AS ratio_twap,
    c.ratio_tick_count, c.revision, c.timestamp_out, c.known_at, c.symbol AS traded_as,
    coalesce(times_over(1, a.old_shares, a.new_shares), 1) AS price_factor
FROM candles AS c
LEFT JOIN candle_adjustments AS a ON a.symbol = c.symbol AND c."end" > a.from_time AND c."end" <= a.until_time
WHERE a.newest_symbol IS NULL OR a.newest_symbol = a.symbol
UNION ALL
SELECT a.newest_symbol, c.interval, c.hours, c.start, c."end", c.market, c.session,
    times_over(c.open, a.old_shares, a.new_shares),
    times_over(c.high, a.old_shares, a.new_shares),
    times_over(c.low, a.old_shares, a.new_shares),
    times_over(c.close, a.old_shares, a.new_shares),
    times_over(c.avg, a.old_shares, a.new_shares),
    times_over(c.vwap, a.old_shares, a.new_shares),
    times_over(c.volume, a.new_shares, a.old_shares),
    c.tick_count, c.trade_count,
    times_over(c.ratio_open, a.old_shares, a.new_shares),
    times_over(c.ratio_high, a.old_shares, a.new_shares),
    times_over(c.ratio_low, a.old_shares, a.new_shares),
    times_over(c.ratio_close, a.old_shares, a.new_shares),
    times_over(c.ratio_avg, a.old_shares, a.new_shares),
    times_over(c.ratio_twap, a.old_shares, a.new_shares),
    c.ratio_tick_count, c.revision, c.timestamp_out, c.known_at, c.symbol,
    times_over(1, a.old_shares, a.new_shares)
FROM candles AS c
JOIN candle_adjustments AS a ON a.symbol = c.symbol AND c."end" > a.from_time AND c."end" <= a.until_time
WHERE a.newest_symbol <> a.symbol;
