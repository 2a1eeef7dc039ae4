"""The live source: both clusters into one queue, one writer, and the clocks between."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from functools import partial

import msgspec
import structlog
import uvloop

from marketdata.clock import LiveClock
from marketdata.normalise import NormaliseError, normalise
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from marketdata.vendor import CryptoTrade, StockTrade, VendorTrade
from services.ingest import metrics
from services.ingest.backfill import Backfiller
from services.ingest.banding import take_bands
from services.ingest.cluster import Cluster, cancelled
from services.ingest.corrections import Corrections, Log
from services.ingest.frames import read_frame
from services.ingest.gaps import Gaps
from services.ingest.hostclock import HOST, SkewWatch, wall_us
from services.ingest.hours import MarketHours
from services.ingest.keeper import LeaseKeeper
from services.ingest.left import Left
from services.ingest.queue import FrameQueue
from services.ingest.quoting import Quoting
from services.ingest.rest import RestClient
from services.ingest.retry import Retry
from services.ingest.segments import Received
from services.ingest.settings import IngestSettings
from services.ingest.silence import ClusterSilence, SilenceWatch
from services.ingest.spool import Spool
from services.ingest.writer import Writer
from streaming.ops import Health
from streaming.pace import Pace

log = structlog.stdlib.get_logger()
SLICE_FRAMES = 64
STEADY_US = 2 * SECOND_US
"""A subscription that brings no data counts as restored after this: a server may confirm it and then cut."""
FINISH_S = 2.0
"""Time for the queue at a stop."""
LOOP_TURNS = 3
"""Turns of the event loop that bring a frame from the socket into the queue."""
MAX_LOOKS = 32
"""Each look reads some 256 KiB of a socket that holds so much, so that this many empty the kernel's buffer."""
QUIET_TIMES = 20
"""Outside market hours a stream may be silent this many times longer before it is taken for dead."""


def run_live(
    settings: IngestSettings,
    writer: Writer,
    health: Health,
    left: Left,
    *,
    lease: LeaseKeeper,
    stopping: threading.Event,
) -> None:
    """Read the feed until SIGTERM or SIGINT; what was received is written, or kept on disk for the next start."""
    uvloop.run(Live(settings, writer, MarketHours(settings), lease).run(health, left, stopping))


class Live:
    """One task a cluster reads; this one writes, in the order in which frames were received."""

    def __init__(
        self,
        settings: IngestSettings,
        writer: Writer,
        hours: MarketHours,
        lease: LeaseKeeper,
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._writer = writer
        self._is_open = hours.is_open
        self._spool = Spool(settings.spool, settings.spool_bytes)
        self._queue = FrameQueue(settings.queue_frames, settings.queue_bytes, self._spool)
        self._clusters = {market: self._cluster(market) for market in MARKETS}
        self._clocks = {market: self._clock(market) for market in MARKETS}
        half = settings.allowance_ms * 1_000 // 2
        self._skews = {market: SkewWatch(market, half) for market in MARKETS}
        self._rest = RestClient(settings.rest, settings.api_key, settings.rest_calls_per_minute)
        subscribed = {"stocks": settings.symbols, "crypto": settings.crypto_symbols}
        self._backfiller = Backfiller(self._rest, writer, subscribed, self._may_write, self._delay_us)
        self._corrections = Corrections(
            self._backfiller,
            writer,
            Log(settings.kafka_bootstrap_servers, settings.topics.trades, settings.partitions),
            every_s=settings.corrections_every_s,
            window_us=round(settings.corrections_window_s * SECOND_US),
            delay_us=self._delay_us,
        )
        gap_us = round(settings.gap_timeout_s * SECOND_US)
        self._gaps = Gaps(writer, self._backfiller, self._corrections, gap_us)
        self._retry = Retry(settings.kafka_bootstrap_servers, settings.topics)
        self._quoting = self._quotes() if settings.quotes else None
        self._looked = self._mark = 0
        self._ticked = True
        self._silence = SilenceWatch(subscribed)
        self._newest_trades = dict.fromkeys(MARKETS, 0)
        self._quiet = ClusterSilence(hours, self._newest, wall_us(), settings.silence_timeout_s, HOST.peek)
        self._pace = Pace(time.monotonic)
        self._stopping = False
        self._clock_written = time.monotonic()

    async def run(self, health: Health, left: Left, stopping: threading.Event) -> None:
        """Read and write until a signal; then write what is in the queue.

        ``left`` is what a predecessor did not get to. ``stopping`` is set where a signal came before.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._stopping = stopping.is_set()
        health.add("clocks", self._clocks_health)
        health.add("connections", self._connections_health)
        health.add("data", self._quiet.health)
        self._show_metrics()
        for market in MARKETS:
            if start := left.starts.get(market) or self._writer.newest_clock(market):
                self._gaps.begin(market, start, wall_us(), left.inside(market))
        self._corrections.take_up(left)
        self._spool.adopt({market: self._writer.known_from(market) + self._delay_us(market) for market in MARKETS})
        readers = [asyncio.create_task(cluster.run()) for cluster in self._clusters.values()]
        readers.append(asyncio.create_task(self._corrections.run()))
        readers.append(asyncio.create_task(self._retry.run(self._writer, self._may_write)))
        while not self._stopping:
            await self._step()
            self._gaps.check()
            if dead := next((task for task in readers if task.done()), None):
                dead.result()  # a reader only ends by an error
        for task in readers:
            await cancelled(task)
        await self._gaps.stop()
        self._finish()
        await self._rest.close()
        self._retry.close()

    def _finish(self) -> None:
        """Write what is in the queue, as far as Kafka takes it in a short time; the rest is left on disk."""
        deadline = time.monotonic() + FINISH_S
        while self._may_write() and time.monotonic() < deadline and (frame := self._queue.take()) is not None:
            self._write(frame)
            self._writer.poll()
        self._queue.close()

    def _may_write(self) -> bool:
        """Whether this instance holds the lease beyond doubt and Kafka takes what it writes."""
        return self._lease.holds() and not self._writer.crowded

    def _stop(self) -> None:
        self._stopping = True

    async def _step(self) -> None:
        """Write a slice of frames, and the clocks once all is written that came before their time."""
        if not self._may_write():
            self._writer.poll()
            self._show_queue()
            await asyncio.sleep(0.01)
            return
        if self._ticked and any(clock.is_due(wall_us()) for clock in self._clocks.values()):
            await self._look()
        frame, before = None, self._writer.records
        for _ in range(SLICE_FRAMES):
            taken = self._queue.take()
            if taken is None:
                break
            self._write(frame := taken)
        if frame is not None:
            metrics.WRITE_DELAY.labels(frame.market).observe((wall_us() - frame.received_ts) / SECOND_US)
        self._pace.took(self._writer.records - before)
        if not self._ticked and self._queue.taken >= self._mark:
            self._ticked = True
            for market in MARKETS:
                self._tick(market, self._looked)
        self._writer.poll()
        self._show_queue()
        self._silence.look(wall_us(), self._is_open)
        if len(self._queue):
            await asyncio.sleep(0)
        else:
            now = wall_us()
            next_in = min(clock.next_in(now) for clock in self._clocks.values()) / SECOND_US + 0.0005
            if self._pace.crowded:  # fewer turns, and fewer and larger requests
                await asyncio.sleep(min(self._pace.gather_s, next_in))
            else:
                await self._queue.wait(next_in)

    async def _look(self) -> None:
        """Read all that the sockets hold now, and note how far the queue must be written until it all is.

        A clock speaks for what was received, not for what was read: after a stall the sockets hold trades that are
        older than the allowance.
        """
        self._looked, self._ticked = wall_us(), False
        for _ in range(MAX_LOOKS):
            before = self._queue.added
            for _ in range(LOOP_TURNS):
                await asyncio.sleep(0)
            if self._queue.added == before or self._queue.full:
                break
        self._mark = self._queue.added
        if self._queue.full:  # the sockets hold more, all of it later than the oldest frame here
            self._looked = min(self._looked, self._queue.oldest_ts or self._looked)
            self._mark = self._queue.taken

    def _tick(self, market: str, now: int) -> None:
        cluster, gaps, clock = self._clusters[market], self._gaps, self._clocks[market]
        delay, skew = self._delay_us(market), clock.skew(now)
        self._skews[market].look(skew, clock.hold(now))
        if skew is not None:
            HOST.trades_say(skew)
        lost, cluster.missing_from = cluster.missing_from, None
        if lost is not None and (clock.last or cluster.last_data_ts):  # also where it is back already
            gaps.begin(market, lost - delay - self._settings.allowance_ms * 1_000, now)
        if cluster.flowing or (cluster.connected and now - cluster.connected_ts > STEADY_US):
            gaps.flows(market, cluster.connected_ts - delay, now)
        elif not gaps.is_open(market):
            return  # nothing was received yet
        value = clock.due(now, gaps.limit(market, now))
        if value is not None:
            if market == "stocks" and self._quoting is not None:
                self._quoting.before_clock(value)
            self._writer.clock(market, value)
            self._clock_written = time.monotonic()

    def _show_queue(self) -> None:
        metrics.QUEUE_FRAMES.set(len(self._queue))
        metrics.QUEUE_FILL.set(self._queue.fill)

    def _show_metrics(self) -> None:
        """A clock's age is that of each scrape: one that stands gets older."""
        for market in MARKETS:
            metrics.CLOCK_LAG.labels(market).set_function(partial(self._clock_age_s, market))
            metrics.FEED_DELAY.labels(market).set(self._delay_us(market) / SECOND_US)

    def _clock_age_s(self, market: str) -> float:
        newest = self._writer.newest_clock(market)
        return (HOST.peek() - newest) / SECOND_US if newest else 0.0

    def _write(self, received: Received) -> None:
        market, received_ts, raw = received
        quoting = self._quoting
        frame = read_frame(raw, luld=self._settings.luld, quotes=quoting is not None)
        if quoting is not None and frame.quotes:
            quoting.take(market, frame.quotes, received_ts)
        writer = self._writer
        if frame.trades:
            self._write_trades(market, frame.trades, received_ts)
        take_bands(writer, market, frame.bands, received_ts)
        for reason, bad in frame.bad:
            writer.dead_letter(reason, bad, received_ts)
        metrics.IGNORED.inc(frame.ignored)

    def _write_trades(self, market: str, events: list[VendorTrade], received_ts: int) -> None:
        """Write the trades of one frame; what is the same for all of them is asked once."""
        writer, quoting, overlap = self._writer, self._quoting, self._backfiller.overlap(market)
        epoch, own = writer.epoch, StockTrade if market == "stocks" else CryptoTrade
        heard, newest = self._silence.of(market), 0
        for event in events:
            if type(event) is not own:
                reason = f"{type(event).__name__} on the {market} cluster"
                writer.dead_letter(reason, msgspec.json.encode(event), received_ts)
                continue
            try:
                trade = normalise(event, received_ts, epoch)
            except NormaliseError as error:
                writer.dead_letter(str(error), msgspec.json.encode(event), received_ts)
                continue
            if quoting is not None:
                trade = quoting.stamped(market, trade)
            if trade.ts > newest:
                newest = trade.ts
            if trade.symbol in heard:
                heard[trade.symbol] = received_ts
            writer.trade(market, trade)
            if overlap is not None:
                overlap.heard(trade)
        if newest:
            self._clocks[market].trade(newest, received_ts)  # of trades received together the newest lags least
        self._newest_trades[market] = received_ts
        metrics.RECEIVED.labels(market).inc(len(events))
        metrics.RECEIVE_DELAY.labels(market).observe((received_ts - events[-1].t * 1_000) / SECOND_US)

    def _quotes(self) -> Quoting:
        settings = self._settings
        return Quoting(
            self._writer,
            settings.reference_symbols,
            (settings.allowance_ms + settings.max_hold_ms) * 1_000,
            self._delay_us("stocks") - self._delay_us("crypto"),
            lambda market: self._clusters[market].connected_ts,
        )

    def _cluster(self, market: str) -> Cluster:
        settings = self._settings

        def silence_timeout_s() -> float:
            usual = settings.silence_timeout_s
            return usual if self._is_open(market, wall_us()) else usual * QUIET_TIMES

        return Cluster(
            market,
            settings.url(market),
            settings.api_key,
            settings.channels(market),
            self._queue,
            silence_timeout_s=silence_timeout_s,
            max_frame_bytes=settings.max_frame_bytes,
        )

    def _clock(self, market: str) -> LiveClock:
        settings = self._settings
        return LiveClock(
            settings.allowance_ms * 1_000,
            self._delay_us(market),
            settings.max_hold_ms * 1_000,
            self._writer.newest_clock(market),
        )

    def _delay_us(self, market: str) -> int:
        settings = self._settings
        delay = settings.stocks_feed_delay_s if market == "stocks" else settings.crypto_feed_delay_s
        return round(delay * SECOND_US)

    def _newest(self, market: str) -> tuple[int, int]:
        return self._clusters[market].last_data_ts, self._newest_trades[market]

    def _clocks_health(self) -> tuple[bool, object]:
        age = time.monotonic() - self._clock_written
        started = any(cluster.last_frame_ts for cluster in self._clusters.values())
        return started and age < self._settings.gap_timeout_s + 15, {"seconds_since_clock": round(age, 1)}

    def _connections_health(self) -> tuple[bool, object]:
        now = time.monotonic()
        outages = {m: round(now - c.lost_at, 1) for m, c in self._clusters.items() if c.lost_at is not None}
        heard = all(cluster.last_frame_ts for cluster in self._clusters.values())
        return heard and all(s < 60 for s in outages.values()), {"outage_seconds": outages}
