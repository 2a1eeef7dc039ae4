"""What is on its way to Kafka: of each output partition one batch at a time, and the rest waits behind it.

An idempotent librdkafka producer keeps one batch of a partition under way, and while the next one is due its thread
asks the socket without a pause, tens of thousands of times a second on a busy machine. So the next one waits here and
grows meanwhile: the busier the broker, the fewer and larger its requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streaming.fatal import die
from streaming.producer import Headers, check_delivery, produce, serve_deliveries

BATCH: Final = 1_000
"""Records handed over at once, about: half of what one request holds, for records of 500 bytes."""
Output = tuple[bytes, bytes | None, Headers | None]
"""Value, key and headers."""


class Ticket:
    """One run of input records under way: done when it is processed and all its outputs are delivered."""

    __slots__ = ("on_done", "pending")

    def __init__(self, on_done: Callable[[], None]) -> None:
        self.on_done = on_done
        self.pending = 1  # the processing itself

    def settle(self) -> None:
        """One thing less to wait for: the processing, or one topic's outputs."""
        self.pending -= 1
        if not self.pending:
            self.on_done()

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """The delivery callback of a record that the run waits for."""
        check_delivery(error, message)
        self.settle()


class Outbox:
    """A producer and the outlets that have a batch waiting. Used from one thread, but for ``producer.flush``."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.waiting: set[Outlet] = set()
        self._free: deque[Outlet] = deque()

    def freed(self, outlet: Outlet) -> None:
        """Nothing of ``outlet`` is under way any more. From a delivery callback, in which nothing may be produced."""
        self._free.append(outlet)

    def serve(self) -> None:
        """Have delivery callbacks called, and send what waited for them."""
        serve_deliveries(self.producer)
        while self._free:
            self._free.popleft().send()

    def send_all(self) -> None:
        """Let nothing wait any longer: what follows is a flush."""
        for outlet in list(self.waiting):
            outlet.send_all()


class Outlet:
    """One partition of one output topic. Records are in the order of ``open``; ``close`` ends what belongs together.

    Only a batch's last record is asked about: one partition's records are delivered in order, and a gapless producer
    that has lost one delivers none after it. Word of each would cost as much as the record.
    """

    __slots__ = ("_closed", "_outbox", "_partition", "_topic", "_under_way", "open")

    def __init__(self, outbox: Outbox, topic: str, partition: int) -> None:
        self.open: list[Output] = []
        self._outbox = outbox
        self._topic = topic
        self._partition = partition
        self._closed: deque[tuple[list[Output], Ticket | None]] = deque()
        self._under_way: deque[list[Ticket]] = deque()  # of each batch, who waits for it

    @property
    def held(self) -> int:
        """How many records are not handed to the producer yet."""
        return len(self.open) + sum(len(outputs) for outputs, _ in self._closed)

    def close(self, ticket: Ticket | None) -> None:
        """What is open goes out now, or behind what is under way; ``ticket`` waits for it."""
        outputs, self.open = self.open, []
        while len(outputs) > BATCH:
            self._closed.append((outputs[:BATCH], None))
            outputs = outputs[BATCH:]
        if ticket is not None:
            ticket.pending += 1
        self._closed.append((outputs, ticket))
        self.send()

    def send(self) -> None:
        """Hand over the next batch, unless one is under way."""
        if not self._under_way and self._closed:
            self._send_batch()
        if self._closed:
            self._outbox.waiting.add(self)
        else:
            self._outbox.waiting.discard(self)

    def send_all(self) -> None:
        """Hand over all there is, whatever is under way."""
        while self._closed:
            self._send_batch()
        self._outbox.waiting.discard(self)

    def _send_batch(self) -> None:
        outputs, tickets = self._next_batch()
        self._under_way.append(tickets)
        last = len(outputs) - 1
        topic, partition, hand_over = self._topic, self._partition, self._outbox.producer.produce
        for number, (value, key, headers) in enumerate(outputs):
            on_delivery = self._delivered if number == last else None
            try:
                hand_over(topic, value, key, partition, on_delivery, headers=headers)
            except BufferError:
                produce(self._outbox.producer, topic, value, key, partition, headers, on_delivery)
            except KafkaException as error:
                die("a record was not delivered", error=str(error), topic=topic, partition=partition)

    def _next_batch(self) -> tuple[list[Output], list[Ticket]]:
        outputs, ticket = self._closed.popleft()
        tickets = [ticket] if ticket is not None else []
        while self._closed and len(outputs) + len(self._closed[0][0]) <= BATCH:
            more, ticket = self._closed.popleft()
            outputs += more
            if ticket is not None:
                tickets.append(ticket)
        return outputs, tickets

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        check_delivery(error, message)
        tickets = self._under_way.popleft()
        if self._closed and not self._under_way:
            self._outbox.freed(self)
        for ticket in tickets:
            ticket.settle()
