"""Partitions of a settled group that nobody has are found on a real broker, and nothing is where all are taken."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Consumer

from marketdata.topics import Topics
from services.sink.loop import Sink
from services.sink.settings import SinkSettings
from services.sink.unclaimed import UnclaimedWatch
from streaming.admin import ensure_topics
from streaming.metrics import REBALANCES
from tests.integration.test_sink_support import INTERVALS, PARTITIONS, Bench, bench, eventually, ratio
from tests.support.topics import new_namespace

pytestmark = pytest.mark.integration
__all__ = ["bench"]
EVERY_S = 0.5


@contextmanager
def member(kafka: str, group: str, topics: list[str]) -> Iterator[Consumer]:
    """A consumer with an assignment of ``topics``."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "log_level": 0})
    consumer.subscribe(topics)

    def assigned() -> bool:
        consumer.poll(0.1)
        return len(consumer.assignment()) == PARTITIONS * len(topics)

    eventually(assigned, "an assignment")
    try:
        yield consumer
    finally:
        consumer.close()


@pytest.fixture
def watched(kafka: str) -> Iterator[Callable[[str, list[str]], UnclaimedWatch]]:
    stop = threading.Event()
    yield lambda group, topics: UnclaimedWatch(kafka, group, topics, stop, EVERY_S).start()
    stop.set()


def test_what_nobody_has_is_found_and_a_full_group_left_alone(
    kafka: str, watched: Callable[[str, list[str]], UnclaimedWatch]
) -> None:
    group = uuid4().hex
    with new_namespace(kafka, PARTITIONS) as name:
        topics = Topics(name)
        ensure_topics(kafka, topics.specs(PARTITIONS))
        both = [topics.trades("stocks"), topics.trades("crypto")]
        with member(kafka, group, both[:1]):
            complete, not_there = watched(group, both[:1]), watched(group, [*both[:1], f"{name}not-there"])
            lacking = watched(group, both)
            for _ in range(2):  # by then the others have looked as often as it takes
                eventually(lacking.found, "the partitions that nobody has")
            assert not complete.found()
            assert not not_there.found()


def test_a_sink_that_joins_anew_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SinkSettings(
        kafka_bootstrap_servers=bench.kafka,
        postgres_dsn=bench.database,
        namespace=bench.topics.namespace,
        partitions=PARTITIONS,
        intervals=INTERVALS,
    )
    found, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(UnclaimedWatch, "found", lambda _: found.is_set() and found.clear() is None)
    joined = REBALANCES._value.get()
    sink = threading.Thread(target=Sink(settings, stop).run)
    sink.start()
    try:
        bench.send_ratios([ratio(n) for n in range(50)])
        bench.wait_positions()
        assert REBALANCES._value.get() == joined + 1
        found.set()
        bench.send_ratios([ratio(n) for n in range(50, 100)])
        eventually(lambda: REBALANCES._value.get() == joined + 2, "a second assignment")
        bench.send_ratios([ratio(n) for n in range(100, 150)])
        bench.wait_positions()
    finally:
        stop.set()
        sink.join(15)
    assert not sink.is_alive()
    assert bench.rows("SELECT count(*), count(DISTINCT src_offset) FROM ratio_ticks_live") == [(150, 150)]
