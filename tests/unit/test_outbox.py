"""One batch of a partition is under way at a time; what comes meanwhile waits, and goes as one batch."""

from collections import deque
from typing import Any

from streaming import outbox
from streaming.outbox import Outbox, Outlet, Ticket

TOPIC = "ratios"


class Producer:
    """Acknowledges a record that is asked about when a test says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.asked: deque[Any] = deque()
        self.words = 0

    def produce(self, topic: str, value: bytes, _key: Any, partition: int, done: Any, headers: Any = None) -> None:
        assert (topic, partition, headers) == (TOPIC, 3, None)
        self.written.append(value)
        if done is not None:
            self.asked.append(done)

    def poll(self, _timeout: float) -> int:
        for _ in range(min(self.words, len(self.asked))):
            self.asked.popleft()(None, None)
        self.words = 0
        return 0


class Line:
    """An outlet and its producer."""

    def __init__(self) -> None:
        self.producer = Producer()
        producer: Any = self.producer
        self.outbox = Outbox(producer)
        self.outlet = Outlet(self.outbox, TOPIC, 3)
        self.done: list[int] = []

    def write(self, *values: int) -> None:
        """A run's outputs; it is done when its last one is delivered."""
        ticket = Ticket(lambda: self.done.append(values[-1]))
        self.outlet.open += [(b"%d" % value, None, None) for value in values]
        self.outlet.close(ticket)
        ticket.settle()

    def acknowledge(self) -> None:
        self.producer.words = 1
        self.outbox.serve()

    @property
    def written(self) -> list[int]:
        return [int(value) for value in self.producer.written]


def test_what_comes_while_a_batch_is_under_way_goes_as_one_behind_it() -> None:
    line = Line()
    line.write(1, 2)
    line.write(3)
    line.write(4, 5)
    assert line.written == [1, 2]
    assert line.outbox.waiting == {line.outlet}
    line.acknowledge()
    assert line.written == [1, 2, 3, 4, 5]
    assert (line.done, line.outlet.held, line.outbox.waiting) == ([2], 0, set())
    assert len(line.producer.asked) == 1, "one word for the whole batch"
    line.acknowledge()
    assert line.done == [2, 3, 5]


def test_without_a_word_nothing_more_is_sent() -> None:
    line = Line()
    line.write(1)
    line.write(2)
    for _ in range(3):
        line.outbox.serve()
    assert (line.written, line.done, line.outlet.held) == ([1], [], 1)


def test_a_great_many_go_in_parts_and_the_run_waits_for_the_last(monkeypatch: Any) -> None:
    monkeypatch.setattr(outbox, "BATCH", 10)
    line = Line()
    line.write(*range(25))
    assert line.written == list(range(10))
    line.write(25, 26)
    line.acknowledge()
    assert line.written == list(range(20))
    line.acknowledge()
    assert line.written == list(range(27)), "the rest and what came behind it are one batch"
    assert line.done == []
    line.acknowledge()
    assert line.done == [24, 26]


def test_before_a_flush_all_goes_out_in_order_and_words_count_for_their_own() -> None:
    line = Line()
    line.write(1)
    line.write(2)
    line.outbox.send_all()
    line.write(3)
    assert line.written == [1, 2]
    line.acknowledge()
    assert (line.written, line.done) == ([1, 2], [1]), "one of two words"
    line.acknowledge()
    assert (line.written, line.done) == ([1, 2, 3], [1, 2])
    line.acknowledge()
    assert line.done == [1, 2, 3]
