"""Is everything running, and how far behind is it?"""

from __future__ import annotations

from typing import Final

from market.monitoring.panels import Dashboard, Panel, prom

STATE: Final = (
    Panel("Services up", "short", prom(("sum(up{job=~\"ingest|ratio|aggregator|sink\"})", "")), "stat",
          "Of ingest, ratio, aggregator and sink, each instance counted", 4, 4),
    Panel("Checks that fail", "short", prom(("count(service_health == 0) or vector(0)", "")), "stat",
          "Of all that /health asks; a closed market fails nothing", 4, 4),
    Panel("Holder", "short", prom(("sum(ingest_lease_held)", "")), "stat", "Ingests that may write: always 1", 4, 4),
    Panel("Market open", "bool_yes_no", prom(("max by (market) (ingest_market_open)", "{{market}}")), "stat",
          "By the exchange's calendar", 4, 4),
    Panel("Trades a second", "short", prom(("sum(market:trades_written:rate1m)", "")), "stat", "", 4, 4),
    Panel("Candles complete up to", "s", prom(("market:clock_age_seconds", "{{market}} ago")), "stat",
          "Age of the watermark that closes candles, a delayed plan's delay taken off", 4, 4),
)  # fmt: skip

FLOW: Final = (
    Panel("Trades", "short", prom(("market:trades_received:rate1m", "{{market}} received"),
                                  ("market:trades_written:rate1m", "{{market}} written")), about="A second"),
    Panel("Records of the stages", "short", prom(("stage:records:rate1m", "{{stage}}")), about="A second"),
    Panel("Candles published", "short", prom(("sum by (interval) (rate(candles_total[1m]))", "{{interval}}")),
          about="A second, price and ratio in one", stacked=True),
    Panel("Rows stored", "short", prom(("sink:rows:rate1m", "{{table}}")), about="A second", stacked=True),
    Panel("How busy the stages are", "percentunit", prom(("stage:busy:ratio", "{{stage}}")),
          about="Share of one core that a stage's processing takes; 1 is full"),
    Panel("Partitions and rebalances", "short", prom(("sum by (stage) (stage_partitions)", "{{stage}} partitions"),
                                                     ("sum by (job) (increase(rebalances_total[5m]))",
                                                      "{{job}} rebalances in 5 m"))),
)  # fmt: skip

LAG: Final = (
    Panel("Lag in records", "short", prom(("stage:lag_records:sum", "{{stage}}"), ("sum(sink_lag_records)", "sink"))),
    Panel("Lag in seconds", "s", prom(("max by (stage) (stage_lag_seconds)", "{{stage}}"),
                                      ("max(sink_lag_seconds)", "sink")), about="0 where nothing is left to read"),
    Panel("Watermarks", "s", prom(("max by (market) (ingest_clock_lag_seconds)", "ingest {{market}}"),
                                  ("max by (stage) (stage_clock_age_seconds)", "{{stage}}")),
          about="Wall clock minus the newest clock record, at each step"),
    Panel("Ingest's queue", "percentunit", prom(("max(ingest_queue_fill_ratio)", "in memory")),
          about="At 1 frames go to the disk"),
    Panel("Waiting", "short", prom(("sum(ingest_queue_frames)", "frames in ingest"),
                                   ("sum(ingest_spool_frames)", "of them on disk"),
                                   ("sum(ingest_producer_records)", "records unconfirmed by Kafka"),
                                   ("sum by (job) (stage_unfinished_records)", "records unfinished in {{job}}"),
                                   ("sum(sink_rows_in_hand)", "rows in the sink"))),
    Panel("State", "short", prom(("sum by (stage) (stage_state_records)", "{{stage}} records"),
                                 ("sum by (stage) (stage_state_symbols)", "{{stage}} symbols")),
          about="What a restart reads again, and the symbols of the snapshots"),
)  # fmt: skip

LEVELS: Final = (
    Panel("Error budget burn, 1 h", "short", prom(
        ("market:freshness:errors_1h / 0.005", "freshness {{market}}"),
        ("market:candles:errors_1h / 0.01", "candles {{market}}"),
        ("rows:latency:errors_1h / 0.01", "rows"),
        ("trades:lost:errors_1h / 0.0001", "loss"),
    ), about="1 spends the budget of 30 days in 30 days, 14.4 alerts"),
    Panel("CPU", "percentunit", prom(("rate(process_cpu_seconds_total{job=~\"ingest|ratio|aggregator|sink\"}[1m])",
                                      "{{job}} {{instance}}")), about="Cores"),
    Panel("Memory", "bytes", prom(("process_resident_memory_bytes{job=~\"ingest|ratio|aggregator|sink\"}",
                                   "{{job}} {{instance}}"))),
)  # fmt: skip

BOARD: Final = Dashboard(
    "market-pipeline",
    "Market: pipeline overview",
    "Is everything running, and how far behind is it? Runbooks are in docs/runbooks.",
    (*STATE, *FLOW, *LAG, *LEVELS),
)
