"""A tiny stage, for trials of the transport itself: each record of trades.stocks becomes one of ratios.

``python -m tests.support.echo`` reads from the environment how it is to misbehave. Its last line but one says what
was seen inside: the most unfinished records at any time, and how often Faust slept for a second with work at hand.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from pydantic import Field

from streaming import runs, service, stage
from streaming.emitter import Emitter
from streaming.processor import Stage
from streaming.producer import exact_producer
from streaming.settings import ServiceSettings
from streaming.snapshots import Capture, Snapshot

log = structlog.stdlib.get_logger()


class EchoSettings(ServiceSettings):
    """No snapshots: all is read from the beginning.

    ``echo_fail_at`` and ``echo_hang_at`` are offsets; the bound and the stop replace the usual ones."""

    snapshot_every_s: float = 0
    echo_sleep_us: int = 0
    echo_fail_at: int = -1
    echo_hang_at: int = -1
    echo_hang_on_stop: bool = False
    echo_stop_within_s: float = service.STOP_WITHIN_S
    echo_linger_ms: float = 2
    echo_bound: int = Field(runs.MAX_UNFINISHED_RECORDS)
    echo_read: int = Field(stage.READ_AT_ONCE)


class Echo:
    """Writes {"src": ...} for each record."""

    clock = 0
    postponed = False

    def __init__(self, settings: EchoSettings, partition: int, emitter: Emitter) -> None:
        self._settings = settings
        self._partition = partition
        self._emitter = emitter

    def process(self, offset: int, value: bytes, now: int) -> bool:
        settings = self._settings
        if settings.echo_sleep_us:
            time.sleep(settings.echo_sleep_us / 1e6)
        if offset == settings.echo_fail_at:
            raise RuntimeError("told to fail")
        if offset == settings.echo_hang_at:
            time.sleep(1_000)
        src = (self._partition, offset, 0)
        if self._emitter.wants(settings.topics.ratios, src):
            self._emitter.emit(settings.topics.ratios, None, b'{"src":[%d,%d,%d]}' % src)
        return False

    def finish(self, now: int) -> None:
        """Nothing is postponed."""

    def capture(self) -> Capture:
        raise NotImplementedError

    def restore(self, snapshot: Snapshot) -> None:
        raise NotImplementedError

    def restored(self) -> None:
        raise NotImplementedError

    def after_run(self, now: int) -> None:
        """No latencies to report."""


class WatchedConsumer(runs.RunConsumer):
    """The transport's consumer, with what happens inside counted."""

    most_unfinished = 0
    idle_seconds = 0
    hang_on_stop = False

    def _to_message(self, *args: Any) -> Any:
        message = super()._to_message(*args)
        WatchedConsumer.most_unfinished = max(self.most_unfinished, self.unfinished_records)
        return message

    async def sleep(self, n: float, **options: Any) -> None:
        """Faust sleeps here where no partition may be read."""
        if n == 1 and self.most_unfinished:
            WatchedConsumer.idle_seconds += 1
        await super().sleep(n, **options)

    async def on_stop(self) -> None:
        if self.hang_on_stop:
            await asyncio.sleep(1_000)
        await super().on_stop()


def main() -> None:
    settings = EchoSettings()
    WatchedConsumer.hang_on_stop = settings.echo_hang_on_stop
    service.STOP_WITHIN_S = settings.echo_stop_within_s
    runs.MAX_UNFINISHED_RECORDS = settings.echo_bound
    stage.READ_AT_ONCE = settings.echo_read
    runs.RunConsumer = WatchedConsumer  # type: ignore[misc]
    stage.exact_producer = lambda *args, **options: exact_producer(  # type: ignore[attr-defined]
        *args, **options | {"linger_ms": settings.echo_linger_ms}
    )
    topics = settings.topics
    echo = Stage("echo", topics.trades("stocks"), (topics.ratios,), lambda p, emitter: Echo(settings, p, emitter))
    try:
        service.run_stages(settings, "ratio", (echo,))
    finally:
        seen = WatchedConsumer
        log.info("watched", most_unfinished=seen.most_unfinished, idle_seconds=seen.idle_seconds)


if __name__ == "__main__":
    main()
