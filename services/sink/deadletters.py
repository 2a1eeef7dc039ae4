"""What the sink could not read goes to its dead letter topic, delivered before the position passes it."""

from __future__ import annotations

from confluent_kafka import Producer

from marketdata.records import DeadLetter, encode
from services.sink import metrics
from streaming.fatal import die
from streaming.producer import exact_producer, produce

FLUSH_S = 60.0


class DeadLetters:
    """Writes DeadLetter records to one topic; the producer is made with the first of them."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer: Producer | None = None

    def send(self, letters: list[DeadLetter]) -> None:
        """Deliver ``letters`` or end the process; a batch that is read again sends its letters again."""
        if not letters:
            return
        self._producer = self._producer or exact_producer(self._bootstrap, name="sink")
        for letter in letters:
            produce(self._producer, self._topic, encode(letter), None, 0, [("kind", b"dead_letter")])
        if self._producer.flush(FLUSH_S):
            die("dead letters were not delivered in time", topic=self._topic, letters=len(letters))
        metrics.DEAD.inc(len(letters))
