"""Which seek a run belongs to, when a read is under way while another seek is made."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message
from faust.types import TP

from streaming.logreader import LogReader, Run
from streaming.pace import GATHER_S
from streaming.runs import RunThread

PLACE = TP("trades.stocks", 0)


def message(offset: int, partition: int = 0, error: Any = None) -> Message:
    return Message(topic="trades.stocks", partition=partition, offset=offset, error=error)


class FakeConsumer:
    """librdkafka: gives what stands from the position on. ``gate`` holds up each read until it is set."""

    def __init__(self) -> None:
        self.oldest, self.position, self.end = 0, 0, 0
        self.error: KafkaError | None = None
        self.gate, self.asked = threading.Event(), threading.Event()
        self.gate.set()

    def assign(self, places: list[Any]) -> None:
        self.position = self.oldest if places[0].offset == OFFSET_BEGINNING else places[0].offset

    def poll(self, timeout: float) -> Message | None:
        self.asked.set()
        assert self.gate.wait(5)
        if self.error is not None:
            return message(0, error=self.error)
        return next(iter(self.consume(1, 0)), None)

    def consume(self, most: int, timeout: float) -> list[Message]:
        offsets = range(self.position, min(self.end, self.position + most))
        self.position += len(offsets)
        return [message(offset) for offset in offsets]


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def reader(consumer: FakeConsumer, monkeypatch: pytest.MonkeyPatch) -> LogReader:
    monkeypatch.setattr("streaming.logreader.Consumer", lambda _config: consumer)
    return LogReader("nowhere:1", "group", 0)


@pytest.fixture
def thread(reader: LogReader) -> Iterator[Any]:
    made: Any = RunThread.__new__(RunThread)  # without its thread: what runs in it is called here
    made.consumer = SimpleNamespace(flow_active=True)
    made._reader, made._reading = reader, ThreadPoolExecutor(1)
    fetcher = SimpleNamespace(_subscriptions=SimpleNamespace(fetch_context=contextlib.nullcontext))
    made._consumer = SimpleNamespace(_fetcher=fetcher, pause=lambda *_: None, _max_poll_records=1_000)
    yield made
    made._reading.shutdown()


def fetch(thread: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(thread.read({PLACE}))


async def test_what_was_read_before_a_seek_belongs_to_the_time_before_it(thread: Any, consumer: FakeConsumer) -> None:
    consumer.end = 6_000
    await thread.seek_all({PLACE: 5_000}, 1)
    consumer.gate.clear()
    before = fetch(thread)
    assert await asyncio.to_thread(consumer.asked.wait, 5)
    seek = asyncio.create_task(thread.seek_all({PLACE: 0}, 2))
    await asyncio.sleep(0.05)
    assert not seek.done()  # it waits for the read, or the read would bring records from after it
    consumer.gate.set()
    ((old,),) = [sweep.runs for sweep in (await before)[PLACE]]
    await seek
    ((new,),) = [sweep.runs for sweep in (await fetch(thread))[PLACE]]
    assert (old.generation, old.records[0].offset(), old.last_offset) == (1, 5_000, 5_999)
    assert (new.generation, new.records[0].offset(), new.last_offset) == (2, 0, 999)


async def test_nothing_is_read_before_a_seek_nor_while_faust_has_a_partition_waiting(
    thread: Any, consumer: FakeConsumer
) -> None:
    consumer.end = 10
    assert await fetch(thread) == {}
    await thread.seek_all({PLACE: 0}, 1)
    assert await thread.read(set()) == {}
    thread.consumer.flow_active = False
    assert await fetch(thread) == {}
    thread.consumer.flow_active = True
    assert set(await fetch(thread)) == {PLACE}


async def test_a_read_without_records_is_no_run(thread: Any) -> None:
    await thread.seek_all({PLACE: 0}, 1)
    assert await fetch(thread) == {}


async def test_all_runs_of_a_topic_are_one_event(thread: Any) -> None:
    runs = [Run(topic, n, 3, [message(n)]) for topic in ("trades.stocks", "ratios") for n in (1, 0)]
    thread._reader.read = lambda *_: {(run.topic, run.partition): run for run in runs}
    thread._reader.places = {PLACE}
    swept = await fetch(thread)
    assert set(swept) == {TP("ratios", 0), TP("trades.stocks", 0)}
    for (sweep,) in swept.values():
        assert (sweep.generation, [run.partition for run in sweep.runs]) == (3, [0, 1])


def test_records_of_several_partitions_are_a_run_each(reader: LogReader, consumer: FakeConsumer) -> None:
    given = [[message(0)], [message(7, 1), message(8, 1), message(1, 0)]]
    consumer.consume = lambda *_: given.pop(0)  # type: ignore[method-assign]
    runs = reader.read(1_000, 0)
    assert {place[1]: [record.offset() for record in run.records] for place, run in runs.items()} == {
        0: [0, 1], 1: [7, 8],
    }  # fmt: skip


def test_a_position_that_is_gone_is_an_error(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.error = KafkaError(KafkaError._AUTO_OFFSET_RESET)
    with pytest.raises(KafkaException):
        reader.read(10, 0)


def test_an_error_that_may_pass_is_no_record(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    consumer.end = 2
    (run,) = reader.read(10, 0).values()
    assert [record.offset() for record in run.records] == [0, 1]


def test_without_a_position_it_begins_at_the_oldest_record(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.oldest, consumer.end = 7, 9
    reader.seek({PLACE: 0}, 1)
    assert [record.offset() for record in reader.read(10, 0)[PLACE].records] == [7, 8]


def test_what_comes_while_it_gathers_is_in_the_same_read(
    reader: LogReader, consumer: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        consumer.end += 3

    monkeypatch.setattr("streaming.logreader.time.sleep", sleep)
    consumer.end = 1
    assert [record.offset() for record in reader.read(10, 0)[PLACE].records] == [0, 1, 2, 3]
    consumer.end += 1
    assert [record.offset() for record in reader.read(2, 0, 0.02)[PLACE].records] == [4, 5]
    assert slept == [GATHER_S, 0.02]
    assert reader.is_behind
    reader.read(10, 0, 0)
    assert slept == [GATHER_S, 0.02], "behind the log's end nothing is waited for"


async def test_behind_the_end_it_reads_without_a_hand_over(thread: Any, consumer: FakeConsumer) -> None:
    consumer.end = 2_500
    await thread.seek_all({PLACE: 0}, 1)
    threads = []
    read = thread._reader.read
    thread._reader.read = lambda *given: (threads.append(threading.current_thread()), read(*given))[1]
    ends = [(await fetch(thread))[PLACE][0].runs[0].last_offset for _ in range(3)]
    assert ends == [999, 1_999, 2_499]
    assert [of is threading.main_thread() for of in threads] == [False, True, True]
    assert await fetch(thread) == {}
    assert threads[-1] is not threading.main_thread()


async def test_behind_the_end_it_goes_on_where_the_seek_says(thread: Any, consumer: FakeConsumer) -> None:
    consumer.end = 2_500
    await thread.seek_all({PLACE: 0}, 1)
    await fetch(thread)
    await thread.seek_all({PLACE: 2_000}, 2)
    ((run,),) = [sweep.runs for sweep in (await fetch(thread))[PLACE]]
    assert (run.generation, run.records[0].offset()) == (2, 2_000)
