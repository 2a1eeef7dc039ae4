"""Outputs of a run: what stands already is suppressed, and a run is done when all else is delivered."""

from collections.abc import Callable
from typing import Any

import pytest

from streaming.emitter import Emitter
from streaming.outbox import Outbox, Ticket

RATIOS, PROGRESS = "ratios", "candles.progress.stocks"


class FakeProducer:
    """Takes records into a queue of limited length; a test delivers them when it likes."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.queue: list[tuple[str, bytes | None, bytes | None, int, Any]] = []
        self.callbacks: list[Callable[[Any, Any], None]] = []
        self.polls = 0

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Any = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        if len(self.callbacks) >= self.room:
            raise BufferError("queue full")
        self.queue.append((topic, value, key, partition, headers))
        self.callbacks.append(on_delivery)

    def poll(self, timeout: float = 0) -> int:
        self.polls += 1
        return self.deliver(1)

    def deliver(self, number: int) -> int:
        due, self.callbacks = self.callbacks[:number], self.callbacks[number:]
        for callback in due:
            if callback is not None:
                callback(None, None)
        return len(due)


class Under:
    """An emitter of partition 2 with one run under way."""

    def __init__(self, room: int = 1_000) -> None:
        self.done = 0
        self.producer = FakeProducer(room)
        self.outbox = Outbox(self.producer)
        self.emitter = Emitter(self.outbox, 2, (RATIOS, PROGRESS))
        self.ticket = self.run()

    def run(self) -> Ticket:
        def done() -> None:
            self.done += 1

        ticket = Ticket(done)
        self.emitter.begin(ticket)
        return ticket

    def processed(self) -> None:
        self.emitter.end()
        self.ticket.settle()

    def wanted(self, topic: str, offsets: range) -> list[int]:
        return [offset for offset in offsets if self.emitter.wants(topic, (2, offset, 0))]


def test_an_output_goes_to_the_partition_of_its_source() -> None:
    under = Under()
    under.emitter.emit(RATIOS, b"MARA", b"{}", [("kind", b"ratio")])
    under.emitter.emit(PROGRESS, None, b"[]")
    under.emitter.end()
    assert under.producer.queue == [
        (RATIOS, b"{}", b"MARA", 2, [("kind", b"ratio")]),
        (PROGRESS, b"[]", None, 2, None),
    ]
    assert under.emitter.emitted == 2


def test_an_empty_topic_suppresses_nothing() -> None:
    under = Under()
    under.emitter.resume({})
    assert under.wanted(RATIOS, range(3)) == [0, 1, 2]
    assert under.emitter.suppressed == 0


def test_each_topic_is_suppressed_up_to_its_own_tail() -> None:
    under = Under()
    under.emitter.resume({RATIOS: (2, 4, 0), PROGRESS: (2, 1, 0)})
    assert under.wanted(RATIOS, range(8)) == [5, 6, 7]
    assert under.wanted(PROGRESS, range(8)) == [2, 3, 4, 5, 6, 7]
    assert under.emitter.suppressed == 5 + 2


def test_a_tail_in_the_middle_of_one_records_outputs_suppresses_only_those_before_it() -> None:
    under = Under()
    under.emitter.resume({RATIOS: (2, 4, 1)})
    outputs = [(2, 4, n) for n in range(4)]
    assert [src for src in outputs if under.emitter.wants(RATIOS, src)] == [(2, 4, 2), (2, 4, 3)]


def test_a_fresh_tail_counts_again_when_the_partition_is_assigned_anew() -> None:
    under = Under()
    under.emitter.resume({RATIOS: (2, 0, 0)})
    assert under.wanted(RATIOS, range(1, 3)) == [1, 2]
    under.emitter.resume({RATIOS: (2, 5, 0)})  # another worker wrote up to there meanwhile
    assert under.wanted(RATIOS, range(3, 8)) == [6, 7]
    under.emitter.resume({})  # the topic was made anew
    assert under.wanted(RATIOS, range(3, 5)) == [3, 4]


def test_a_run_is_done_when_it_is_processed_and_all_is_delivered() -> None:
    under = Under()
    under.emitter.emit(RATIOS, None, b"1")
    under.emitter.emit(PROGRESS, None, b"2")
    under.processed()
    assert under.done == 0
    under.producer.deliver(1)
    assert under.done == 0
    under.producer.deliver(1)
    assert under.done == 1


def test_only_the_last_output_to_each_topic_is_asked_about() -> None:
    under = Under()
    for value in (b"1", b"2", b"3"):
        under.emitter.emit(RATIOS, None, value)
        under.emitter.emit(PROGRESS, None, value)
    under.processed()
    asked = [
        (topic, value)
        for (topic, value, *_), callback in zip(under.producer.queue, under.producer.callbacks, strict=True)
        if callback is not None
    ]
    assert [value for topic, value, *_ in under.producer.queue if topic == RATIOS] == [b"1", b"2", b"3"]
    assert asked == [(RATIOS, b"3"), (PROGRESS, b"3")]


def test_deliveries_before_the_end_of_the_processing_do_not_finish_the_run() -> None:
    under = Under()
    under.emitter.emit(RATIOS, None, b"1")
    under.emitter.hand_over()
    under.emitter.emit(RATIOS, None, b"2")
    under.producer.deliver(1)
    under.emitter.end()
    under.producer.deliver(1)
    assert under.done == 0
    under.ticket.settle()
    assert under.done == 1


def test_a_run_without_outputs_is_done_when_it_is_processed() -> None:
    under = Under()
    under.processed()
    assert under.done == 1


def test_each_run_waits_for_its_own_outputs_only() -> None:
    under = Under()
    under.emitter.emit(RATIOS, None, b"first run")
    first = under.ticket
    under.emitter.end()
    second = under.run()
    under.emitter.emit(RATIOS, None, b"second run")
    under.emitter.end()
    first.settle()
    second.settle()
    under.producer.deliver(1)
    assert (under.done, first.pending, second.pending) == (1, 0, 1)


def test_a_full_queue_waits_for_deliveries_and_loses_nothing() -> None:
    under = Under(room=2)
    for i in range(5):
        under.emitter.emit(RATIOS, None, b"%d" % i)
    under.emitter.end()
    assert [value for _, value, *_ in under.producer.queue] == [b"0", b"1", b"2", b"3", b"4"]
    assert under.producer.polls == 3
    under.ticket.settle()
    under.producer.deliver(2)
    assert under.done == 1


def test_an_output_outside_of_any_run_is_refused() -> None:
    emitter = Emitter(Outbox(FakeProducer()), 0, (RATIOS,))
    with pytest.raises(RuntimeError, match="an output for ratios outside of any run"):
        emitter.emit(RATIOS, None, b"{}")


def test_a_failed_delivery_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndedError(Exception):
        pass

    def ended(reason: str, **where: object) -> None:
        raise EndedError(reason, where)

    class Failure:
        def str(self) -> str:
            return "message timed out"

    class Place:
        def topic(self) -> str:
            return RATIOS

        def partition(self) -> int:
            return 2

    monkeypatch.setattr("streaming.producer.die", ended)
    under = Under()
    under.emitter.emit(RATIOS, None, b"{}")
    under.emitter.end()
    with pytest.raises(EndedError) as raised:
        under.producer.callbacks[0](Failure(), Place())
    assert raised.value.args[0] == "a record was not delivered"
    assert raised.value.args[1] == {"error": "message timed out", "topic": RATIOS, "partition": 2}
    assert under.ticket.pending == 2  # never counted as delivered
