"""What Kafka's clients say of their trouble: a fatal error ends the process, anything else is said now and then."""

from __future__ import annotations

import time
from typing import Final

import structlog
from confluent_kafka import KafkaError

from streaming.fatal import die

log = structlog.stdlib.get_logger()
SAY_EVERY_S: Final = 10.0


class ClientErrors:
    """The error callback of a ``producer`` or ``consumer``: says at most every ten seconds that there is trouble."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._said = -SAY_EVERY_S

    def __call__(self, error: KafkaError) -> None:
        """The client has met ``error``."""
        if error.fatal():
            die(f"the {self._client} failed for good", error=error.str())
        now = time.monotonic()
        if now - self._said >= SAY_EVERY_S:
            self._said = now
            log.warning("Kafka error", error=error.str(), action="the client tries again by itself")
