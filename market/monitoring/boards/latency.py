"""Where the time goes between a trade and its row."""

from __future__ import annotations

from typing import Final

from market.monitoring.panels import Dashboard, Panel, Query, prom


def _quantiles(metric: str, *by: str) -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram, by labels."""
    labels = ", ".join(("le", *by))
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return prom(*(
        (f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))", f"{legend} {name}")
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    ))  # fmt: skip


STEPS: Final = (
    ("1 Trade to receipt", _quantiles("ingest_receive_delay_seconds", "market"),
     "The vendor's and the network's share; a delayed plan shows its delay"),
    ("2 Receipt to producer", _quantiles("ingest_write_delay_seconds", "market"), "Ingest's own"),
    ("3 Kafka to stage", _quantiles("stage_read_delay_seconds", "stage"),
     "From Kafka's time of a record to the start of its processing: producing, fetching, waiting"),
    ("4 Processing to delivery", _quantiles("stage_run_seconds", "stage"),
     "A run of up to 1,000 records, until Kafka has confirmed what it gave"),
    ("5 Trade's receipt to ratio", _quantiles("trade_to_ratio_seconds"), "Steps 2 to 4 of the ratio service"),
    ("6 Candle's end to publication", _quantiles("candle_latency_seconds", "market"),
     "The allowance (250 ms by default) included: so long late trades are waited for"),
    ("7 One transaction of the sink", _quantiles("sink_batch_seconds"), ""),
    ("8 Publication to row", _quantiles("sink_row_latency_seconds"), "Until the row is visible to readers"),
)  # fmt: skip

CANDLES: Final = (
    Panel("Candles of 1 s: latency", "s", (Query(
        "sum by (le) (increase(candle_latency_seconds_bucket{interval=\"1s\"}[$__rate_interval]))", "{{le}}"),),
        "heatmap", "How many lay where", 12, 8),
    Panel("p99 by interval", "s", prom((
        "histogram_quantile(0.99, sum by (le, interval) (rate(candle_latency_seconds_bucket[$__rate_interval])))",
        "{{interval}}")), width=12, height=8),
    Panel("p99 against the objectives", "s", prom(("ratio:latency_seconds:p99", "ratio"),
                                                  ("candle:latency_seconds:p99", "1 s candles of {{market}}"),
                                                  ("row:latency_seconds:p99", "rows")),
          about="Objectives: candles and rows 0.5 s", width=12),
    Panel("Clock held back", "s", prom(("max by (market) (ingest_clock_held_seconds)", "{{market}}")),
          about="How long clock records wait for a lagging stream, beyond the allowance", width=12),
)  # fmt: skip

BOARD: Final = Dashboard(
    "market-latency",
    "Market: latency",
    "Where the time goes between a trade and its row. Observed once a run or a frame, not once a record.",
    (*(Panel(title, "s", queries, about=about, width=6) for title, queries, about in STEPS), *CANDLES),
)
