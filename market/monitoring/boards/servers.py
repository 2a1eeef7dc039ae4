"""Kafka and the database, as their exporters and the database itself tell."""

from __future__ import annotations

from typing import Final

from market.monitoring.panels import Dashboard, Panel, prom, sql

KAFKA: Final = (
    Panel("Broker", "short", prom(("count(kafka_controller_active)", "answer"),
                                  ("sum(kafka_controller_active)", "active controllers")), "stat",
          "One active controller in all", 4, 5),
    Panel("Partitions in trouble", "short", prom(
        ("sum(kafka_controller_offline_partitions)", "without a leader"),
        ("sum(kafka_broker_under_replicated_partitions)", "lacking a replica")), "stat", "", 4, 5),
    Panel("Partitions", "short", prom(("sum(kafka_broker_partitions)", "")), "stat", "Replicas on all brokers", 4, 5),
    Panel("Requests that failed", "short", prom(
        ("sum(rate(kafka_broker_failed_produce_requests_total[5m]))", "produce"),
        ("sum(rate(kafka_broker_failed_fetch_requests_total[5m]))", "fetch")), width=12, height=5),
    Panel("Records in, by topic", "short", prom(
        ("topk(15, sum by (topic) (rate(kafka_topic_records_in_total[1m])))", "{{topic}}")), about="A second"),
    Panel("Bytes in and out", "Bps", prom(("sum(rate(kafka_topic_bytes_in_total[1m]))", "in"),
                                          ("sum(rate(kafka_topic_bytes_out_total[1m]))", "out"))),
    Panel("Size on disk, by topic", "bytes", prom(("topk(15, sum by (topic) (kafka_log_bytes))", "{{topic}}"))),
    Panel("Requests", "ms", prom((
        "max by (request, quantile) (kafka_request_milliseconds)", "{{request}} {{quantile}}")),
        about="Fetches wait for data: theirs is mostly waiting"),
    Panel("Request threads idle", "percentunit", prom(("min(kafka_broker_request_handler_idle_ratio)", "")),
          about="Under 0.3 the broker is short of CPU"),
    Panel("Heap", "bytes", prom(("sum(jvm_memory_used_bytes{area=\"heap\"})", "used"))),
)  # fmt: skip

HITS: Final = (
    "sum(rate(pg_stat_database_blks_hit[5m])) / "
    "clamp_min(sum(rate(pg_stat_database_blks_hit[5m])) + sum(rate(pg_stat_database_blks_read[5m])), 1)"
)
POSTGRES: Final = (
    Panel("Database", "bool_on_off", prom(("min(pg_up)", "")), "stat", "", 4, 5),
    Panel("Connections", "short", prom(("sum(pg_stat_activity_count)", "used"),
                                       ("max(pg_settings_max_connections)", "allowed")), width=10, height=5),
    Panel("Size", "bytes", prom((
        "pg_database_size_bytes{datname!~\"template.*\"}", "{{datname}}")), width=10, height=5),
    Panel("Transactions", "short", prom(
        ("sum by (datname) (rate(pg_stat_database_xact_commit{datname!~\"template.*\"}[1m]))", "{{datname}}")),
        about="Commits a second"),
    Panel("Rows", "short", prom(("sum(rate(pg_stat_database_tup_inserted[1m]))", "inserted"),
                                ("sum(rate(pg_stat_database_tup_updated[1m]))", "updated"),
                                ("sum(rate(pg_stat_database_tup_deleted[1m]))", "deleted")), about="A second"),
    Panel("Cache hits", "percentunit", prom((HITS, ""))),
    Panel("Locks", "short", prom(("sum by (mode) (pg_locks_count)", "{{mode}}")), stacked=True),
    Panel("Deadlocks", "short", prom(("sum(increase(pg_stat_database_deadlocks[1h]))", "in 1 h"))),
    Panel("The sink's transactions", "short", prom(("rate(sink_batches_total[1m])", "batches a second"),
                                                   ("sum by (way) (rate(sink_writes_total[1m]))", "by {{way}}"),
                                                   ("increase(sink_database_waits_total[5m])", "waits in 5 m"))),
    Panel("Tables", "bytes", sql(
        "SELECT relname AS \"table\", n_live_tup AS rows, pg_total_relation_size(relid) AS bytes "
        "FROM pg_stat_user_tables ORDER BY 3 DESC LIMIT 30"), "table", "Rows are the planner's estimate", 24, 8),
)  # fmt: skip

BOARD: Final = Dashboard(
    "market-servers",
    "Market: Kafka and database",
    "Kafka by the JMX exporter (deploy/prometheus/kafka-jmx.yml), PostgreSQL by its exporter.",
    (*KAFKA, *POSTGRES),
)
