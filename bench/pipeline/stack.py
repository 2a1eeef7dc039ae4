"""The feed and every service at work, and where they stand."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Self

from bench.context import Bench, BenchError, say
from bench.live import start_feed, start_ingest
from bench.pipeline.check import Before, sent_before
from bench.pipeline.lags import Sample
from bench.progress import Processed
from bench.rows import Stored, drop_schema
from bench.service import Service, running
from bench.usage import Meter, server_pids
from market.export import export_topics
from marketdata.topics import MARKETS

CONNECT_S: Final = 60.0
DRAIN_S: Final = 180.0
HISTORY_TRADES: Final = 2_000_000
HISTORY_S: Final = 1_800
SERVERS_S: Final = 60.0
SERVERS_RATE: Final = 5_000
SPARE: Final = 1.5
"""What the feed's history has room for, as a multiple of what the run needs: trades go on while things start."""


class Pipeline:
    """The services with their default settings, on a feed that stands still until ``go``."""

    def __init__(self, bench: Bench, rate: int, seconds: float) -> None:
        self._bench = bench
        self._rate = rate
        self._seconds = seconds
        self._stack = ExitStack()
        self.schema = f"bench_pipeline_{rate}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        drop_schema(self._bench, self.schema)

    def go(self) -> None:
        """Let the feed send."""
        self.feed.go()

    def sample(self) -> Sample:
        """Where everything stands; what is downstream is asked first, so no lag is made to look smaller.

        Raises:
            BenchError: something ended by itself.
        """
        self._alive()
        topics = self._bench.topics
        stored = self._stored.positions()
        processed = self._processed.records()
        logs = [topics.trades("stocks"), topics.trades("crypto")]
        ends = self._bench.broker.ends([*logs, *export_topics(topics)])
        written = self._written()
        sent = self._sent()

        def summed(places: dict[tuple[str, int], int], *names: str) -> int:
            return sum(end for (topic, _), end in places.items() if topic in names)

        candles = [topic for topic in export_topics(topics) if topic != topics.ratios]
        return Sample(
            at=time.monotonic(), sent=sent, written=written, stocks=summed(ends, logs[0]),
            crypto=summed(ends, logs[1]), ratios=summed(ends, topics.ratios), processed=processed,
            stored=summed(stored, topics.ratios), candles=summed(ends, *candles),
            candles_stored=summed(stored, *candles),
        )  # fmt: skip

    def drain(self) -> int:
        """Stop the feed's market and wait until all of it has gone through; up to where candles are stored, in µs.

        Raises:
            BenchError: it did not within three minutes.
        """
        self.feed.halt()
        deadline = time.monotonic() + DRAIN_S
        sent = self._sent()
        self._until(lambda: self._written() >= sent, deadline, lambda: f"{self._written():,} of {sent:,} in the log")
        reached = time.time_ns() // 1_000  # a clock above this stands behind all of them
        self._until(lambda: self._processed.closed() > reached, deadline, lambda: "candles were still to be made")
        ends = self._bench.broker.ends(export_topics(self._bench.topics))
        self._until(
            lambda: all(self._stored.positions().get(place, 0) >= end for place, end in ends.items()),
            deadline, lambda: "rows were still to be written",
        )  # fmt: skip
        return reached

    def stop_services(self) -> None:
        """The log and the tables stand still from now on; the feed's REST side stays."""
        for service in reversed(self._services.values()):
            service.child.stop()

    def _start(self) -> None:
        bench, stack = self._bench, self._stack
        drop_schema(bench, self.schema)
        bench.broker.recreate(bench.specs())
        names = ("sink", "aggregator", "ratio")
        self._services: dict[str, Service] = {
            name: stack.enter_context(running(bench, name, DATABASE_SCHEMA=self.schema)) for name in names
        }
        for service in self._services.values():
            service.wait_healthy()
        needed = SPARE * self._seconds + DRAIN_S
        self.feed = start_feed(
            bench, self._rate, stack, "--admin",
            "--history-trades", str(max(HISTORY_TRADES, int(needed * self._rate))),
            "--history-minutes", str(max(HISTORY_S, needed) / 60),
        )  # fmt: skip
        self.feed.halt()
        self._sent_before = self.feed.sent()
        self.before: Before = sent_before(self.feed)
        spool = bench.directory / f"spool-{self._rate}"  # none of the frames that another rate's run left
        ingest = start_ingest(bench, self.feed, stack, SPOOL_DIR=str(spool))
        self._services["ingest"] = ingest
        ingest.child.wait_until(lambda: ingest.metric("ingest_connected") == len(MARKETS), CONNECT_S, pause=0.1)
        self._stored = stack.enter_context(Stored(bench, self.schema))
        self._processed = stack.enter_context(Processed(bench))
        order = ("ingest", "ratio", "aggregator", "sink")
        own = {"feed": self.feed.child.pid} | {name: self._services[name].child.pid for name in order}
        self.meter = Meter(own | server_pids(bench))

    def _sent(self) -> int:
        return self.feed.sent() - self._sent_before

    def _written(self) -> int:
        return int(self._services["ingest"].metric("ingest_trades_written_total"))

    def _until(self, done: Callable[[], bool], deadline: float, state: Callable[[], str]) -> None:
        while not done():
            self._alive()
            if time.monotonic() > deadline:
                raise BenchError(f"it had not gone through {DRAIN_S:.0f} s after the feed was stopped: {state()}")
            time.sleep(0.25)

    def _alive(self) -> None:
        for service in self._services.values():
            if service.finished():
                raise BenchError(f"{service.child.name} ended by itself:\n{service.child.output()[-1_500:]}")
        if not self.feed.child.running:
            raise self.feed.child.died()


def warm_up(bench: Bench, rate: int = SERVERS_RATE) -> None:
    """Run everything for a minute at ``rate`` trades a second, for servers that were just started.

    Java compiles meanwhile, beside the work, and compiles what a lower rate never made hot when a higher one comes;
    the database's log has no files yet to use again.
    """
    say(f"warming the servers up: {SERVERS_S:.0f} s of everything at {rate:,}/s")
    with Pipeline(bench, rate, SERVERS_S) as pipeline:
        pipeline.go()
        time.sleep(SERVERS_S)
