"""Structured logs: JSON where nobody watches (containers, files), plain coloured lines on a terminal."""

from __future__ import annotations

import logging
import sys
import time

import structlog
from structlog.typing import Processor


class Sparing(logging.Filter):
    """Lets a library say the same thing once in ten seconds: an outage of Kafka makes it say hundreds of lines."""

    EVERY_S = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may pass."""
        key, now = (record.name, record.lineno), time.monotonic()
        if now - self._said.get(key, -self.EVERY_S) < self.EVERY_S:
            return False
        self._said[key] = now
        return True


def configure_logs(service: str, level: str = "INFO", log_format: str = "auto") -> None:
    """Send structlog's events and the libraries' own log records to stderr, one event a line."""
    terminal = sys.stderr.isatty() if log_format == "auto" else log_format == "console"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor]
    if terminal:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # The libraries narrate every rebalance at INFO; ours says it once, with the position.
    for noisy in ("faust", "mode", "aiokafka", "asyncio", "httpx", "websockets", "kafka", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    for repeating in ("aiokafka", "aiokafka.conn", "aiokafka.cluster", "aiokafka.consumer.fetcher",
                      "aiokafka.consumer.group_coordinator"):  # fmt: skip
        logging.getLogger(repeating).addFilter(Sparing())
    structlog.contextvars.bind_contextvars(service=service)
