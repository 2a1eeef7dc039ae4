"""Metrics of ingest, each declared once with its type, unit and meaning."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECEIVED = Counter("ingest_trades_received_total", "Trades the feed or the files gave", ["market"])
WRITTEN = Counter("ingest_trades_written_total", "Trades written to trades.*", ["market"])
DUPLICATES = Counter("ingest_trades_duplicate_total", "Trades dropped: same identity within the horizon", ["market"])
CLOCKS = Counter("ingest_clocks_written_total", "Clock values written (each into every partition)", ["market"])
DEAD_LETTERS = Counter("ingest_dead_letters_total", "Events that could not be read")
IGNORED = Counter("ingest_events_ignored_total", "Events of known channels that are not read here")
FRAMES = Counter("ingest_frames_total", "Frames received", ["market"])
BYTES = Counter("ingest_bytes_total", "Bytes received", ["market"])
CONNECTED = Gauge("ingest_connected", "1 while authenticated and subscribed", ["market"])
RECONNECTS = Counter("ingest_reconnects_total", "Connections lost or refused, by reason", ["market", "reason"])
QUEUE_FRAMES = Gauge("ingest_queue_frames", "Frames between socket and producer")
QUEUE_FULL = Counter("ingest_queue_full_seconds_total", "Time that reading paused because the queue was full")
CLOCK_LAG = Gauge("ingest_clock_lag_seconds", "Wall clock minus the newest clock record", ["market"])
CLOCK_SKEW = Gauge("clock_skew_seconds", "Least receive time minus trade time of the last minute", ["market"])
CLOCK_HELD = Gauge("ingest_clock_held_seconds", "How long the clock record waits for a lagging stream", ["market"])
CLOCK_OFF = Gauge("ingest_clock_off", "1 while clock_skew_seconds is past half of the allowance", ["market"])
CLOCK_STEPS = Counter("ingest_clock_steps_total", "Times the host's clock was set while ingest ran")
LEASE_HELD = Gauge("ingest_lease_held", "1 while this instance may write")
SPOOL_FRAMES = Gauge("ingest_spool_frames", "Frames on disk between socket and producer")
SPOOL_BYTES = Gauge("ingest_spool_bytes", "Bytes of the spool's files")
SILENT_SYMBOLS = Gauge("ingest_silent_symbols", "Subscribed symbols that are silent while their market is open")
SILENCE = Gauge(
    "ingest_silence_seconds", "Time without data while the market is open, 0 while it is closed", ["market"]
)
MARKET_OPEN = Gauge("ingest_market_open", "1 while trades are to be expected of the market", ["market"])
GAPS = Counter("ingest_gaps_total", "Gaps of the feed, each counted at every status it reaches", ["market", "status"])
BACKFILLED = Counter("ingest_trades_backfilled_total", "Trades that REST had and the log had not", ["market"])
REST_CALLS = Counter("ingest_rest_calls_total", "REST calls made")
REST_ERRORS = Counter("ingest_rest_errors_total", "REST calls that failed, by reason", ["reason"])
RECEIVE_DELAY = Histogram(
    "ingest_receive_delay_seconds",
    "From a trade's own time to its receipt (one observation a frame)",
    ["market"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 900),
)
