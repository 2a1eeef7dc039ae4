"""What the sink could not read goes to its dead letter topic, delivered before the position passes it."""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import Producer

from marketdata.records import DeadLetter, encode
from services.sink.patience import StoppedError
from streaming.metrics import DEAD_LETTERS
from streaming.producer import exact_producer, produce

FLUSH_S = 0.5
SAY_EVERY_S = 10.0
log = structlog.stdlib.get_logger()


class DeadLetters:
    """Writes DeadLetter records to one topic; the producer is made with the first of them."""

    def __init__(self, bootstrap: str, topic: str, stop: threading.Event) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._stop = stop
        self._producer: Producer | None = None

    def send(self, letters: list[DeadLetter]) -> None:
        """Deliver ``letters``, however long Kafka is away; a batch that is read again sends its letters again.

        Raises:
            StoppedError: the process ends first.
        """
        if not letters:
            return
        self._producer = self._producer or exact_producer(self._bootstrap, name="sink")
        for letter in letters:
            produce(self._producer, self._topic, encode(letter), None, 0, [("kind", b"dead_letter")])
        said = time.monotonic()
        while waiting := self._producer.flush(FLUSH_S):
            if self._stop.is_set():
                raise StoppedError
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                log.warning("dead letters wait for Kafka", topic=self._topic, letters=waiting, action="waiting on")
        DEAD_LETTERS.inc(len(letters))
