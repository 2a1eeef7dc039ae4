"""Outputs of one partition: what stands in the topic already is suppressed, the rest is produced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from marketdata.records import Src
from streaming.producer import DeliveryCallback, Headers, check_delivery, produce

EVERYTHING: Final[Src] = (2**62, 0, 0)
"""A tail that no src is greater than."""
_Output = tuple[bytes, bytes | None, Headers | None]


class Ticket:
    """One run of input records under way: done when it is processed and all its outputs are delivered.

    Only the last output to each topic is asked about (of each part, where a run pauses): one partition's records are
    delivered in order, and a gapless producer that has lost one delivers none after it. Word of each would cost as
    much as the record.
    """

    __slots__ = ("on_done", "pending")

    def __init__(self, on_done: Callable[[], None]) -> None:
        self.on_done = on_done
        self.pending = 1  # the processing itself

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """The delivery callback of the last output to each topic."""
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
        self._last: dict[str, _Output] = {}  # of the run under way: it may be its last to the topic
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
        """The run is over."""
        self.hand_over()
        self._ticket = None

    def hand_over(self) -> None:
        """Send what was last to each topic and ask about it: what follows of the run may take its time."""
        ticket = self._ticket
        if ticket is None:
            return
        for topic, output in self._last.items():
            ticket.pending += 1
            self._send(topic, output, ticket.delivered)
        self._last.clear()

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
        if self._ticket is None:
            raise RuntimeError(f"an output for {topic} outside of any run")
        if self._trace is not None:
            headers = [*(headers or ()), self._trace]
        self.emitted += 1
        before = self._last.get(topic)
        if before is not None:
            self._send(topic, before)
        self._last[topic] = (value, key, headers)

    def _send(self, topic: str, output: _Output, on_delivery: DeliveryCallback | None = None) -> None:
        value, key, headers = output
        try:
            self._produce(topic, value, key, self._partition, on_delivery, headers=headers)
        except BufferError:
            produce(self._producer, topic, value, key, self._partition, headers, on_delivery)
