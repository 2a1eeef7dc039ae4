-- With TimescaleDB: chunks of a day (candles: a week). Retention is a setting, so the sink sets it at each start.
SELECT create_hypertable('ratio_ticks_live', 'time', chunk_time_interval => INTERVAL '1 day',
    create_default_indexes => FALSE);
SELECT create_hypertable('ratio_aggregates_500ms', 'time', chunk_time_interval => INTERVAL '1 day',
    create_default_indexes => FALSE);
SELECT create_hypertable('candles', 'start', chunk_time_interval => INTERVAL '7 days',
    create_default_indexes => FALSE);
