-- Without TimescaleDB: partitioned by day of `time`, as the ticks are.
ALTER TABLE quotes RENAME TO quotes_shape;
CREATE TABLE quotes (LIKE quotes_shape INCLUDING ALL) PARTITION BY RANGE (time);
DROP TABLE quotes_shape;
