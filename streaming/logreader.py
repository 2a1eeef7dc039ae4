"""Reads the log by librdkafka, whose threads fetch and unpack without the interpreter's lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streaming.kafkaclient import bounded_queue, client_config
from streaming.pace import Pace
from streaming.places import Place, by_place

log = structlog.stdlib.get_logger()
FATAL: Final = frozenset({
    KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.TOPIC_AUTHORIZATION_FAILED,
})  # fmt: skip
"""Errors that no waiting mends: the position is gone from the log, or we may not read it."""
SETTINGS: Final[dict[str, str | int | bool]] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "error",  # the position is ours: where it is gone, nothing else will do
    "log_level": 3,
    # Answered at each record, with a request for each few, the broker and its readers would be busy with nothing
    # else: while as many as this wait to be taken, no more is asked for. So a quiet log's records come at once, and a
    # busy one's as they are taken (docs/decisions/020).
    "queued.min.messages": 100,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 50,
}
QUEUE_KBYTES: Final = 32_768
"""Large: with 4 MB, always full, a topic's last partitions were seen to get nothing for a minute while another's were
behind, most likely because librdkafka asks first for those that waited least for room."""


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition in order, as one read gave them; ``generation`` tells what a seek has outdated."""

    topic: str
    partition: int
    generation: int
    records: list[Message]

    @property
    def last_offset(self) -> int:
        """The offset of the run's last record: what Faust acknowledges."""
        return self.records[-1].offset() or 0

    @property
    def last_ms(self) -> int:
        """Kafka's time of the run's last record."""
        return int(self.records[-1].timestamp()[1])


class LogReader:
    """Reads the partitions it was last told to seek, for any thread, one at a time; it joins no group.

    ``group``: whose right to read it uses. ``rest_ms``: how long no more is asked for where enough waits here.
    ``is_behind``: the last read gave as much as was asked for, so there is most likely more.
    """

    def __init__(self, bootstrap: str, group: str, rest_ms: int) -> None:
        own = {"group.id": group, **bounded_queue(QUEUE_KBYTES, rest_ms)}
        self._consumer = Consumer(client_config(bootstrap, {**SETTINGS, **own}))
        self.places: frozenset[Place] = frozenset()
        self.generation = 0
        self.is_behind = False
        self._one_at_a_time = threading.Lock()
        self._pace = Pace(time.monotonic)

    def seek(self, positions: Mapping[Place, int], generation: int) -> None:
        """Read on at ``positions`` and nowhere else; all that is read from here on belongs to ``generation``.

        A position of 0 is the oldest record there is: the first ones may have expired.
        """
        wanted = [TopicPartition(*place, at or OFFSET_BEGINNING) for place, at in positions.items()]
        with self._one_at_a_time:
            self._consumer.assign(wanted)
            self.places, self.generation = frozenset(positions), generation

    def read(self, most: int, timeout: float, gather: float | None = None) -> dict[Place, Run]:
        """Up to ``most`` records: those within ``gather`` seconds of the first, or none after ``timeout`` seconds.

        Without ``gather`` it is what the log's pace asks for.

        Raises:
            KafkaException: a partition cannot be read, or not at its position; what may pass is logged.
        """
        with self._one_at_a_time:
            first = self._consumer.poll(timeout)
            messages = [] if first is None else [first, *self._gathered(most - 1, gather)]
            self._pace.took(len(messages))
            self.is_behind = len(messages) == most
            return self._runs(messages)

    def _gathered(self, most: int, seconds: float | None) -> list[Message]:
        # Asleep: a consume that waits is woken by each record, and each waking costs more than the record.
        if seconds := self._pace.gather_s if seconds is None else seconds:
            time.sleep(seconds)
        messages: list[Message] = self._consumer.consume(most, 0)
        return messages

    def _runs(self, messages: list[Message]) -> dict[Place, Run]:
        found: dict[Place, list[Message]] = {}
        for place, some in by_place(messages):
            records = [each for each in some if _is_record(each)] if any(map(Message.error, some)) else some
            if records:
                found.setdefault(place, []).extend(records)
        return {place: Run(*place, self.generation, records) for place, records in found.items()}

    def close(self) -> None:
        """Give the connections back."""
        self._consumer.close()


def _is_record(message: Message) -> bool:
    """False for word of an error that may pass (our watchdog ends the process if it stays)."""
    if (error := message.error()) is None:
        return True
    if error.fatal() or error.code() in FATAL:
        raise KafkaException(error)
    log.warning("the log cannot be read now", topic=message.topic() or "", partition=message.partition(),
                error=str(error), action="read on")  # fmt: skip
    return False
