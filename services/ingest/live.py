"""The live source: both clusters into one queue, one writer, and the clocks between."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import structlog
import uvloop

from marketdata.calendar import new_york_hours
from marketdata.clock import LiveClock
from marketdata.normalise import NormaliseError, normalise
from marketdata.topics import MARKETS
from marketdata.units import CLOCK_STEP_US, SECOND_US
from marketdata.vendor import StockTrade
from services.ingest import metrics
from services.ingest.cluster import Cluster, cancelled
from services.ingest.frames import read_frame
from services.ingest.outage import Outage
from services.ingest.queue import FrameQueue, Received
from services.ingest.settings import IngestSettings
from services.ingest.silence import SilenceWatch
from services.ingest.writer import Writer
from streaming.ops import Health

log = structlog.stdlib.get_logger()
SLICE_FRAMES = 64
QUIET_TIMES = 20
"""Outside market hours a stream may be silent this many times longer before it is taken for dead."""


def wall_us() -> int:
    """Wall clock in µs since the epoch."""
    return time.time_ns() // 1_000


def run_live(settings: IngestSettings, writer: Writer, health: Health) -> None:
    """Read the feed until SIGTERM or SIGINT; what was received is written."""
    is_open = market_hours(settings)
    uvloop.run(Live(settings, writer, is_open).run(health))


def market_hours(settings: IngestSettings) -> Callable[[str, int], bool]:
    """Whether a market is open at a time in µs: crypto and the bundled feed always, stocks in regular hours."""
    if settings.bundled:
        return lambda _market, _now: True
    hours = new_york_hours()
    return lambda market, now: market == "crypto" or hours.is_regular(now)


class Live:
    """One task a cluster reads; this one writes, in the order in which frames were received."""

    def __init__(self, settings: IngestSettings, writer: Writer, is_open: Callable[[str, int], bool]) -> None:
        self._settings = settings
        self._writer = writer
        self._is_open = is_open
        self._queue = FrameQueue(settings.queue_frames, settings.queue_bytes)
        self._clusters = {market: self._cluster(market) for market in MARKETS}
        self._clocks = {market: self._clock(market) for market in MARKETS}
        gap_us = round(settings.gap_timeout_s * SECOND_US)
        self._outages = {market: Outage(market, gap_us, writer.epoch) for market in MARKETS}
        self._silence = SilenceWatch({"stocks": settings.symbols, "crypto": settings.crypto_symbols})
        self._stopping = False
        self._clock_written = time.monotonic()

    async def run(self, health: Health) -> None:
        """Read and write until a signal; then write what is in the queue."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        health.add("clocks", self._clocks_health)
        health.add("connections", self._connections_health)
        for market, outage in self._outages.items():
            if last := self._writer.newest_clock(market):
                outage.begin(last, wall_us())
        readers = [asyncio.create_task(cluster.run()) for cluster in self._clusters.values()]
        while not self._stopping:
            await self._step()
            if dead := next((task for task in readers if task.done()), None):
                dead.result()  # a reader only ends by an error
        for task in readers:
            await cancelled(task)
        while (frame := self._queue.take()) is not None:
            self._write(frame)

    def _stop(self) -> None:
        self._stopping = True

    async def _step(self) -> None:
        """Write a slice of frames, then the clocks that everything received so far allows."""
        for _ in range(SLICE_FRAMES):
            frame = self._queue.take()
            if frame is None:
                break
            self._write(frame)
        # A frame that still waits may hold trades older than now: the clock stays before its receipt.
        now = self._queue.oldest_ts or wall_us()
        for market in MARKETS:
            self._tick(market, now)
        self._writer.poll()
        metrics.QUEUE_FRAMES.set(len(self._queue))
        self._silence.look(now, self._is_open)
        if len(self._queue):
            await asyncio.sleep(0)
        else:
            await self._queue.wait((CLOCK_STEP_US - wall_us() % CLOCK_STEP_US) / SECOND_US + 0.0005)

    def _tick(self, market: str, now: int) -> None:
        cluster, outage, clock = self._clusters[market], self._outages[market], self._clocks[market]
        if cluster.connected:
            if gap := outage.end(cluster.connected_ts):
                self._writer.gap(gap)
                log.warning("gap in the feed", market=market, start=gap.start, end=gap.end, status=gap.status)
        elif not cluster.last_frame_ts:
            return  # never connected: nothing is known yet
        else:
            outage.begin(cluster.last_frame_ts - self._settings.allowance_ms * 1_000, now)
        value = clock.due(now, outage.limit(now))
        if value is not None:
            self._writer.clock(market, value)
            self._clock_written = time.monotonic()
            metrics.CLOCK_LAG.labels(market).set((wall_us() - value) / SECOND_US)

    def _write(self, received: Received) -> None:
        market, received_ts, raw = received
        frame = read_frame(raw)
        writer, clock, epoch = self._writer, self._clocks[market], self._writer.epoch
        for event in frame.trades:
            if (type(event) is StockTrade) != (market == "stocks"):
                writer.dead_letter(f"{type(event).__name__} on the {market} cluster", raw, received_ts)
                continue
            try:
                trade = normalise(event, received_ts, epoch)
            except NormaliseError as error:
                writer.dead_letter(str(error), raw, received_ts)
                continue
            clock.trade(trade.ts, received_ts)
            self._silence.heard(market, trade.symbol, received_ts)
            writer.trade(market, trade)
        for reason, bad in frame.bad:
            writer.dead_letter(reason, bad, received_ts)
        metrics.IGNORED.inc(frame.ignored)
        if frame.trades:
            metrics.RECEIVED.labels(market).inc(len(frame.trades))
            metrics.RECEIVE_DELAY.labels(market).observe((received_ts - frame.trades[-1].t * 1_000) / SECOND_US)
            metrics.CLOCK_SKEW.labels(market).set(clock.least_lag / SECOND_US)

    def _cluster(self, market: str) -> Cluster:
        settings = self._settings
        prefix, symbols = ("T", settings.symbols) if market == "stocks" else ("XT", settings.crypto_symbols)

        def silence_timeout_s() -> float:
            usual = settings.silence_timeout_s
            return usual if self._is_open(market, wall_us()) else usual * QUIET_TIMES

        return Cluster(
            market,
            settings.url(market),
            settings.api_key,
            tuple(f"{prefix}.{symbol}" for symbol in symbols),
            self._queue,
            silence_timeout_s=silence_timeout_s,
            max_frame_bytes=settings.max_frame_bytes,
        )

    def _clock(self, market: str) -> LiveClock:
        settings = self._settings
        delay = settings.stocks_feed_delay_s if market == "stocks" else settings.crypto_feed_delay_s
        return LiveClock(
            settings.allowance_ms * 1_000,
            round(delay * SECOND_US),
            settings.max_hold_ms * 1_000,
            self._writer.newest_clock(market),
        )

    def _clocks_health(self) -> tuple[bool, object]:
        age = time.monotonic() - self._clock_written
        started = any(cluster.last_frame_ts for cluster in self._clusters.values())
        return started and age < self._settings.gap_timeout_s + 15, {"seconds_since_clock": round(age, 1)}

    def _connections_health(self) -> tuple[bool, object]:
        now = time.monotonic()
        outages = {m: round(now - c.lost_at, 1) for m, c in self._clusters.items() if c.lost_at is not None}
        heard = all(cluster.last_frame_ts for cluster in self._clusters.values())
        return heard and all(s < 60 for s in outages.values()), {"outage_seconds": outages}
