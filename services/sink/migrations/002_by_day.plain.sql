-- Without TimescaleDB: the two promised tables become partitioned by day of `time`. The sink creates each
-- day's partition before the first row of that day, and drops whole days past their age.
ALTER TABLE ratio_ticks_live RENAME TO ratio_ticks_live_shape;
CREATE TABLE ratio_ticks_live (LIKE ratio_ticks_live_shape INCLUDING ALL) PARTITION BY RANGE (time);
DROP TABLE ratio_ticks_live_shape;

ALTER TABLE ratio_aggregates_500ms RENAME TO ratio_aggregates_500ms_shape;
CREATE TABLE ratio_aggregates_500ms (LIKE ratio_aggregates_500ms_shape INCLUDING ALL) PARTITION BY RANGE (time);
DROP TABLE ratio_aggregates_500ms_shape;
