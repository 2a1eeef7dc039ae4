"""How a service made of stages starts and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any, NoReturn

import faust
import structlog
import uvloop

from streaming.admin import PartitionMismatchError, await_topics
from streaming.fatal import die
from streaming.heap import give_back_freed_memory
from streaming.interpreter import tune_for_records
from streaming.logs import configure_logs
from streaming.ops import Health, OpsServer
from streaming.processor import Stage
from streaming.settings import ServiceSettings
from streaming.stage import StageWorker
from streaming.watch import Watchdog

log = structlog.stdlib.get_logger()
STOP_WITHIN_S = 7.0
"""Faust can wait for ever if it is told to stop while it joins its group. Nothing it then holds would be missed."""


class _Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, with logging and the terminal left as they are, and with an end to its stopping."""

    def __init__(self, worker: StageWorker, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(worker.app, loop=loop, quiet=True)
        self.spinner = None  # even a quiet one writes cursor codes to stdout
        self._leaving = threading.Timer(STOP_WITHIN_S, _leave, [worker])
        self._leaving.daemon = True

    def _schedule_shutdown(self, signal: Any) -> None:
        if not self._signal_stop_time:
            self._leaving.start()
        super()._schedule_shutdown(signal)

    def _setup_logging(self) -> None:
        """Faust would replace the handlers and the standard streams."""


def _leave(worker: StageWorker) -> NoReturn:
    left = worker.outbox.producer.flush(2)  # no more is handed over: the loop's thread may be at it
    log.warning("stopped", undelivered=left, reason=f"Faust did not stop within {STOP_WITHIN_S:g} s")
    os._exit(0)


def run_stages(settings: ServiceSettings, service: str, stages: tuple[Stage, ...]) -> None:
    """Run ``stages`` until SIGTERM or SIGINT; returns when what was in hand is delivered."""
    configure_logs(service, settings.log_level, settings.log_format)
    give_back_freed_memory()
    # Until Faust has its own: to the first process of a container the system's default means nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    health = Health()
    health.add("progress", lambda: (False, {"waiting_for": "Kafka and its topics"}))
    ops = OpsServer(health, settings.metrics_host, settings.metrics_port).start()
    try:
        await_topics(settings.kafka_bootstrap_servers, _wanted(settings, stages))
    except PartitionMismatchError as error:
        die(str(error), service=service)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = StageWorker(settings, service, stages)
    watchdog = Watchdog(worker, settings.kafka_bootstrap_servers, settings.stall_timeout_s)
    health.add("progress", watchdog.health)
    health.add_life("loop", worker.pulse.check)
    watchdog.start()
    log.info("started", inputs=[s.input for s in stages], metrics_port=ops.port)
    tune_for_records()
    worker.restore_ahead()
    try:
        _Worker(worker, loop).execute_from_commandline()
    finally:
        log.info("stopped", undelivered=worker.leave())


def _wanted(settings: ServiceSettings, stages: tuple[Stage, ...]) -> dict[str, int]:
    names = {name for stage in stages for name in (stage.input, *stage.outputs, *stage.paced)}
    if settings.snapshot_every_s:
        names |= {settings.topics.state(stage.name) for stage in stages}
    return dict.fromkeys(names, settings.partitions)
