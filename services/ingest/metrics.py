"""Metrics of ingest."""

from __future__ import annotations

from typing import Final

from marketdata.topics import MARKETS
from streaming.catalogue import LATENCY_BUCKETS_S, Label, any_of, begin_at_zero, counter, gauge, histogram
from streaming.metrics import MARKET

LOSSES: Final = (
    "auth_failed", "auth_timeout", "max_connections", "slow_consumer", "silence", "timeout", "closed 1006",
)  # fmt: skip
FAILURES: Final = ("401", "403", "429", "500", "timeout", "transport", "unreadable")
"""Usual reasons, there from the start."""
LOSS: Final = Label("reason", "the server's word, an exception's name, `closed CODE`, timeout, silence", 24)
STATUSES: Final = ("open", "filled", "given_up")
STATUS: Final = any_of("status", STATUSES)
FAILURE: Final = Label("reason", "an HTTP status, timeout, transport, unreadable, size, foreign", 24)

RECEIVED: Final = counter("ingest_trades_received_total", "trades", "Trades the feed or the files gave", MARKET)
QUOTES: Final = counter("ingest_quotes_received_total", "quotes", "Quotes the feed gave, where subscribed", MARKET)
WRITTEN: Final = counter("ingest_trades_written_total", "trades", "Trades written to trades.*", MARKET)
DUPLICATES: Final = counter(
    "ingest_trades_duplicate_total", "trades", "Trades dropped: same identity within the horizon", MARKET
)
BACKFILLED: Final = counter(
    "ingest_trades_backfilled_total", "trades", "Trades that REST had and the log had not", MARKET
)
IGNORED: Final = counter("ingest_events_ignored_total", "events", "Events of known channels that are not read here")
FRAMES: Final = counter("ingest_frames_total", "frames", "Frames received", MARKET)
BYTES: Final = counter("ingest_bytes_total", "bytes", "Bytes received", MARKET)
RECEIVE_DELAY: Final = histogram(
    "ingest_receive_delay_seconds",
    "seconds",
    "From a trade's own time to its receipt, once a frame",
    MARKET,
    buckets=(*LATENCY_BUCKETS_S, 60, 900),
)
WRITE_DELAY: Final = histogram(
    "ingest_write_delay_seconds",
    "seconds",
    "From a frame's receipt until its trades are with the producer, of the last frame of each slice of up to 64",
    MARKET,
)

CONNECTED: Final = gauge("ingest_connected", "1 or 0", "1 while authenticated and subscribed", MARKET)
RECONNECTS: Final = counter("ingest_reconnects_total", "times", "Connections lost or refused", MARKET, LOSS)
SILENT_SYMBOLS: Final = gauge(
    "ingest_silent_symbols", "symbols", "Subscribed symbols that are silent while their market is open"
)
SILENCE: Final = gauge(
    "ingest_silence_seconds", "seconds", "Time without data while the market is open, 0 while it is closed", MARKET
)
MARKET_OPEN: Final = gauge("ingest_market_open", "1 or 0", "1 while trades are to be expected of the market", MARKET)
GAPS: Final = counter(
    "ingest_gaps_total", "gaps", "Gaps of the feed, each counted at every status it reaches", MARKET, STATUS
)
REREADS: Final = gauge(
    "ingest_rereads_waiting",
    "stretches",
    "Stretches before and in past gaps that are still to be read again for late prints or what REST did not give",
)
REST_CALLS: Final = counter("ingest_rest_calls_total", "calls", "REST calls made")
REST_ERRORS: Final = counter("ingest_rest_errors_total", "calls", "REST calls that failed", FAILURE)

CLOCKS: Final = counter(
    "ingest_clocks_written_total", "clocks", "Clock values written (each into every partition)", MARKET
)
CLOCK_LAG: Final = gauge("ingest_clock_lag_seconds", "seconds", "Wall clock minus the newest clock record", MARKET)
FEED_DELAY: Final = gauge(
    "ingest_feed_delay_seconds", "seconds", "The plan's delay as configured: ages and latencies hold it", MARKET
)
CLOCK_SKEW: Final = gauge(
    "clock_skew_seconds", "seconds", "Least receive time minus trade time of the last minute", MARKET
)
CLOCK_HELD: Final = gauge(
    "ingest_clock_held_seconds", "seconds", "How long the clock record waits for a lagging stream", MARKET
)
CLOCK_OFF: Final = gauge(
    "ingest_clock_off", "1 or 0", "1 while clock_skew_seconds is past half of the allowance", MARKET
)
CLOCK_STEPS: Final = counter("ingest_clock_steps_total", "times", "Times the host's clock was set while ingest ran")

QUEUE_FRAMES: Final = gauge("ingest_queue_frames", "frames", "Frames between socket and producer, those on disk too")
QUEUE_FILL: Final = gauge(
    "ingest_queue_fill_ratio", "0 to 1", "How full the queue in memory is, by frames or bytes; 1 is on to the disk"
)
QUEUE_FULL: Final = counter(
    "ingest_queue_full_seconds_total", "seconds", "Time that reading paused because the queue was full"
)
SPOOL_FRAMES: Final = gauge("ingest_spool_frames", "frames", "Frames on disk between socket and producer")
SPOOL_BYTES: Final = gauge("ingest_spool_bytes", "bytes", "Bytes of the spool's files")
PRODUCER_RECORDS: Final = gauge("ingest_producer_records", "records", "Records that Kafka has not confirmed yet")
LEASE_HELD: Final = gauge("ingest_lease_held", "1 or 0", "1 while this instance may write")

begin_at_zero(RECEIVED, MARKETS)
begin_at_zero(WRITTEN, MARKETS)
begin_at_zero(DUPLICATES, MARKETS)
begin_at_zero(BACKFILLED, MARKETS)
begin_at_zero(GAPS, MARKETS, STATUSES)
begin_at_zero(RECONNECTS, MARKETS, LOSSES)
begin_at_zero(REST_ERRORS, FAILURES)
begin_at_zero(CLOCK_OFF, MARKETS)
