"""Is the data whole: gaps, late, repeated, unreadable?"""

from __future__ import annotations

from typing import Final

from market.monitoring.panels import Dashboard, Panel, prom, sql

COUNTS: Final = (
    Panel("Repeated trades", "short", prom(("sum by (market) (increase(ingest_trades_duplicate_total[5m]))",
                                            "{{market}}")), about="Dropped by ingest, in 5 minutes"),
    Panel("Late trades", "short", prom(("sum by (market, reason) (increase(trades_late_total[5m]))",
                                        "{{market}} {{reason}}")), about="In no candle: `market rebuild`"),
    Panel("Revised candles", "short", prom((
        "sum by (interval) (increase(candles_revised_total[5m]))", "{{interval}}")),
        about="Published again, in 5 minutes, for late or cancelled trades", stacked=True),
    Panel("Ratios without answer", "short", prom(("sum by (reason) (increase(ratio_null_total[5m]))", "{{reason}}"),
                                                 ("sum(increase(ratio_revised_total[5m]))", "revised"))),
    Panel("Dead letters", "short", prom(("job:dead_letters:increase10m", "{{job}}")), about="In 10 minutes"),
    Panel("Repeats dropped", "short", prom(("sum(increase(sink_repeated_records_total[5m]))", "by the sink's reader"),
                                           ("sum by (stage) (stage_suppressed_records)", "not written by {{stage}}"),
                                           ("sum(increase(sink_position_misses_total[5m]))", "position misses")),
          about="What exactly-once costs after restarts"),
)  # fmt: skip

FEED: Final = (
    Panel("Silence", "s", prom(("max by (market) (ingest_silence_seconds)", "{{market}}")),
          about="Without data in an open market; 0 while closed"),
    Panel("Silent symbols", "short", prom(("sum(ingest_silent_symbols)", "symbols"))),
    Panel("Connections", "short", prom(("max by (market) (ingest_connected)", "{{market}} connected"),
                                       ("sum by (market, reason) (increase(ingest_reconnects_total[5m]))",
                                        "{{market}} lost: {{reason}}"))),
    Panel("Gaps", "short", prom((
        "sum by (market, status) (increase(ingest_gaps_total[30m]))", "{{market}} {{status}}"),
        ("sum by (market) (increase(ingest_trades_backfilled_total[30m]))", "{{market}} trades filled in"),
        ("sum(ingest_rereads_waiting)", "stretches to be read again")),
        about="In 30 minutes"),
    Panel("REST", "short", prom(("sum(rate(ingest_rest_calls_total[5m]))", "calls a second"),
                                ("sum by (reason) (rate(ingest_rest_errors_total[5m]))", "failed: {{reason}}"))),
    Panel("Host's clock against the trades", "s", prom(("max by (market) (clock_skew_seconds)", "{{market}}"),
                                                       ("max by (market) (ingest_clock_off)", "{{market}} off"))),
    Panel("Ignored", "short", prom(("rate(ingest_events_ignored_total[5m])", "events a second"),
                                   ("increase(ingest_clock_steps_total[1h])", "clock steps in 1 h"))),
)  # fmt: skip

TABLES: Final = (
    Panel("Gaps of the feed", "short", sql(
        "SELECT start, \"end\", cluster, status, trades FROM feed_gaps WHERE $__timeFilter(start) "
        "ORDER BY start DESC LIMIT 50"), "table", "The newest word on each gap", 8, 8),
    Panel("Dead letters by reason", "short", sql(
        "SELECT service, reason, count(*) AS letters, max(noticed_at) AS newest FROM dead_letters "
        "WHERE $__timeFilter(noticed_at) GROUP BY service, reason ORDER BY letters DESC LIMIT 50"),
        "table", "", 8, 8),
    Panel("Late trades by symbol", "short", sql(
        "SELECT symbol, reason, count(*) AS trades, min(time) AS first, max(time) AS last FROM late_trades "
        "WHERE $__timeFilter(time) GROUP BY symbol, reason ORDER BY trades DESC LIMIT 50"),
        "table", "Times are the trades' own", 8, 8),
    Panel("Stored up to", "short", sql(
        "SELECT topic, sum(next_offset) AS records, max(updated_at) AS stored_at FROM sink_positions "
        "GROUP BY topic ORDER BY topic"), "table", "Positions of the sink", 8, 8),
    Panel("Revisions in the table", "short", sql(
        "SELECT interval, hours, count(*) AS candles, sum(revision) AS revisions FROM candles "
        "WHERE $__timeFilter(start) GROUP BY interval, hours ORDER BY interval, hours"), "table", "", 8, 8),
)  # fmt: skip

BOARD: Final = Dashboard(
    "market-quality",
    "Market: data quality",
    "Is the data whole: gaps, late, repeated, unreadable?",
    (*COUNTS, *FEED, *TABLES),
    refresh="30s",
)
