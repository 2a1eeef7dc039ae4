"""Outputs of one partition: what stands in the topic already is suppressed, the rest is produced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from marketdata.records import Src
from streaming.producer import Headers, check_delivery, produce

EVERYTHING: Final[Src] = (2**62, 0, 0)
"""A tail that no src is greater than."""


class Ticket:
    """One run of input records under way: done when it is processed and all its outputs are delivered."""

    __slots__ = ("last_offset", "on_done", "pending", "size")

    def __init__(self, last_offset: int, size: int, on_done: Callable[[], None]) -> None:
        self.last_offset = last_offset
        self.size = size
        self.on_done = on_done
        self.pending = 1  # the processing itself

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """The delivery callback of each output."""
        if error is not None:
            check_delivery(error, message)
        self.pending -= 1
        if not self.pending:
            self.on_done()

    def processed(self) -> None:
        """The run's records are all processed."""
        self.pending -= 1
        if not self.pending:
            self.on_done()


class Emitter:
    """Writes the outputs of one source partition to the partitions of the same number.

    For each topic on its own, what is not greater than that partition's tail is suppressed.
    """

    def __init__(self, producer: Producer, partition: int, topics: Iterable[str]) -> None:
        self._producer = producer
        self._produce = producer.produce
        self._partition = partition
        self._tails: dict[str, Src | None] = dict.fromkeys(topics)
        self._ticket: Ticket | None = None
        self._trace: tuple[str, bytes] | None = None
        self.emitted = 0
        self.suppressed = 0

    def resume(self, tails: dict[str, Src]) -> None:
        """Take the topics' tails as they were just read."""
        for topic in self._tails:
            self._tails[topic] = tails.get(topic)

    def mute(self) -> None:
        """Suppress everything until ``resume``: records are read again, and all that they give was delivered."""
        self._tails = dict.fromkeys(self._tails, EVERYTHING)

    def begin(self, ticket: Ticket) -> None:
        """What follows belongs to ``ticket``'s run."""
        self._ticket = ticket

    def end(self) -> None:
        """The run is over; what it held on to can go, also when the partition moves away."""
        self._ticket = None

    def wants(self, topic: str, src: Src) -> bool:
        """Whether ``src`` is not yet in ``topic``: ask before encoding."""
        tail = self._tails[topic]
        if tail is None:
            return True
        if src <= tail:
            self.suppressed += 1
            return False
        self._tails[topic] = None  # src only grows: from here on nothing is suppressed
        return True

    def offer(self, topic: str, key: bytes, value: bytes) -> bool:
        """Queue a record that no run waits for and nothing is promised of; False where the queue is full."""
        try:
            self._produce(topic, value, key, self._partition)
        except BufferError:
            return False
        return True

    def trace(self, header: tuple[str, bytes] | None) -> None:
        """Let outputs carry ``header`` (its name and value) besides their own, until called with None."""
        self._trace = header

    def emit(self, topic: str, key: bytes | None, value: bytes, headers: Headers | None = None) -> None:
        """Queue one record that ``wants`` let through."""
        ticket = self._ticket
        if ticket is None:
            raise RuntimeError(f"an output for {topic} outside of any run")
        if self._trace is not None:
            headers = [*(headers or ()), self._trace]
        ticket.pending += 1
        self.emitted += 1
        try:
            self._produce(topic, value, key, self._partition, ticket.delivered, headers=headers)
        except BufferError:
            produce(self._producer, topic, value, key, self._partition, headers, ticket.delivered)
