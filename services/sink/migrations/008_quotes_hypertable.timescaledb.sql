-- With TimescaleDB: chunks of a day, as the ticks have.
SELECT create_hypertable('quotes', 'time', chunk_time_interval => INTERVAL '1 day', create_default_indexes => FALSE);
