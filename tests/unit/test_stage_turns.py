"""What was read of several partitions at about the same time: the candles that are waited for come first, of all."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message

from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.intervals import levels
from marketdata.records import Clock, Ratio, encode
from marketdata.topics import Topics
from services.aggregator.publisher import Publisher
from services.aggregator.settings import AggregatorSettings
from services.aggregator.stocks import StocksProcessor
from streaming.emitter import Emitter
from streaming.logreader import Run
from streaming.outbox import Outbox
from streaming.processor import Partition, Processor, Stage
from streaming.snapshots import SnapshotWriter
from streaming.stage import StageWorker

S = 1_000_000
BEGIN = 1_794_409_200 * S  # a full minute
END = BEGIN + 60 * S
TOPICS = Topics("")
LATE_MS = 1_000
NAMES = ("500ms", "1s", "15s", "1m")
SESSIONS = new_york_hours()
LEVELS = levels(NAMES, SESSIONS)
CANDLES = [TOPICS.candles("stocks", name) for name in NAMES]
OUTPUTS = (*CANDLES, TOPICS.progress("stocks"), TOPICS.late("stocks"))


class Producer:
    """Delivers at the next poll; keeps topic, partition and value in the order in which they were written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, int, bytes]] = []
        self.waiting: list[Callable[[Any, Any], None]] = []

    def produce(self, topic: str, value: bytes, _key: Any, partition: int, *on_delivery: Any, **_: Any) -> None:
        self.written.append((topic, partition, value))
        self.waiting += [callback for callback in on_delivery if callback is not None]

    def poll(self, _timeout: float) -> int:
        delivered, self.waiting = self.waiting, []
        for on_delivery in delivered:
            on_delivery(None, None)
        return len(delivered)


class Finished:
    """Faust's consumer: which runs were finished."""

    generation = 1

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def finished(self, run: Run) -> None:
        self.runs.append(run)


def make(partition: int, emitter: Emitter) -> Processor:
    engine = CandleEngine(LEVELS, 900 * S)
    book = FeatureBook(engine, LEVELS, FeatureSettings(sessions=SESSIONS))
    publisher = Publisher("stocks", TOPICS, LEVELS, partition, emitter, book, SESSIONS, ("all",))
    return StocksProcessor(partition, engine, book, publisher)


@pytest.fixture
def worker() -> StageWorker:
    """A worker without Kafka and without Faust's loop, with two partitions."""
    stage = Stage("stocks", TOPICS.ratios, OUTPUTS, make, (TOPICS.live("stocks"),))
    found = StageWorker(AggregatorSettings(kafka_bootstrap_servers="127.0.0.1:1"), "aggregator", (stage,))
    producer: Any = Producer()
    found.outbox, found.app = Outbox(producer), SimpleNamespace(consumer=Finished(), rebalancing=False)
    for number in (0, 1):
        emitter = Emitter(found.outbox, number, OUTPUTS)
        found.partitions[TOPICS.ratios, number] = Partition(
            stage, number, emitter, make(number, emitter), SnapshotWriter("")
        )
    return found


def ratio(ts: int) -> Ratio:
    return Ratio(
        symbol="MARA", ts=ts, received_ts=ts, exchange=1, id=str(ts), epoch=1, stock_price=10.0, stock_size=100.0,
        stock_volume=100, eligible=True, updates_open_close=True, updates_volume=True, src=(0, 0, 0),
        timestamp_out=ts, reference="BTC-USD", btc_price=1e5, btc_ts=ts, btc_age_us=0, btc_volume=1.0,
        ratio=1e-4, inverse_ratio=1e4, reason=None,
    )  # fmt: skip


def run(partition: int, *records: Ratio | Clock, begin: int = 0, late_ms: int = 0) -> Run:
    messages = []
    for offset, record in enumerate(records):
        placed = msgspec.structs.replace(record, src=(partition, begin + offset, 0))
        written = (1, int(time.time() * 1_000) - late_ms)
        messages.append(Message(TOPICS.ratios, partition, begin + offset, value=encode(placed), timestamp=written))
    return Run(TOPICS.ratios, partition, 1, messages)


def a_minute(partition: int, late_ms: int = 0) -> Run:
    """A trade in a minute's last second, the minute's end, and a trade and the second after it."""
    return run(
        partition, Clock(ts=BEGIN, epoch=1), ratio(END - 1), Clock(ts=END, epoch=1),
        ratio(END + 1), Clock(ts=END + S, epoch=1), late_ms=late_ms,
    )  # fmt: skip


def candles(worker: StageWorker) -> list[tuple[str, int]]:
    producer: Any = worker.outbox.producer
    return [(topic.rpartition(".")[2], number) for topic, number, _ in producer.written if topic in CANDLES]


FIRST = [("500ms", 0), ("1s", 0), ("500ms", 1), ("1s", 1)]
ALL = ["500ms", "1s", "15s", "1m", "500ms", "1s"]


def each_in_order(worker: StageWorker) -> bool:
    """Whether each candle is there once, and in its topic none of a later clock before one of an earlier."""
    producer: Any = worker.outbox.producer
    ends: dict[tuple[str, int], list[int]] = defaultdict(list)
    for topic, number, value in producer.written:
        if topic in CANDLES:
            ends[topic, number].append(msgspec.json.decode(value)["end"])
    complete = all(sorted(name for name, number in candles(worker) if number == p) == sorted(ALL) for p in (0, 1))
    return complete and all(sorted(found) == found for found in ends.values())


def deliver(worker: StageWorker) -> None:
    """All that was sent is acknowledged, and what waited for that is sent and acknowledged."""
    producer: Any = worker.outbox.producer
    while producer.waiting:
        worker.outbox.serve()


def test_seconds_of_all_partitions_come_before_the_minute_of_any(worker: StageWorker) -> None:
    worker._process_all([a_minute(0, LATE_MS), a_minute(1, LATE_MS)])
    deliver(worker)
    assert candles(worker)[:4] == FIRST, "the last ones too"
    assert each_in_order(worker)


def test_old_input_is_finished_at_once(worker: StageWorker) -> None:
    consumer: Any = worker.app.consumer
    worker._process_all([a_minute(0, LATE_MS), a_minute(1, LATE_MS)])
    deliver(worker)
    assert sorted(done.partition for done in consumer.runs) == [0, 1]
    assert all(partition.position == 5 for partition in worker.partitions.values())
    assert all(partition.processor.clock == END + S for partition in worker.partitions.values())


def test_the_minute_of_one_read_waits_for_the_seconds_of_the_next(worker: StageWorker) -> None:
    consumer: Any = worker.app.consumer

    async def reads() -> None:
        worker._process_all([a_minute(0)])
        worker._process_all([a_minute(1), run(0, ratio(END + 2 * S), begin=5)])
        assert candles(worker) == FIRST
        assert not consumer.runs
        assert worker.partitions[TOPICS.ratios, 0].position == 0
        for _ in range(200):
            await asyncio.sleep(0.005)
            if len(consumer.runs) == 3:
                return

    asyncio.run(reads())
    assert [done.partition for done in consumer.runs] == [0, 0, 1]
    assert [partition.position for partition in worker.partitions.values()] == [6, 5]
    assert each_in_order(worker)


def test_a_new_assignment_ends_what_has_begun_and_drops_what_has_not(worker: StageWorker) -> None:
    async def reads() -> None:
        worker._process_all([a_minute(0), a_minute(1)])
        worker._process_all([run(0, ratio(END + 2 * S), begin=5)])
        worker._turns.settle({(TOPICS.ratios, 0)})

    asyncio.run(reads())
    assert [partition.position for partition in worker.partitions.values()] == [5, 0]
    deliver(worker)
    assert sorted(name for name, number in candles(worker) if number == 0) == sorted(ALL)
    assert [name for name, number in candles(worker) if number == 1] == ALL[:2], "it is another's now"


def test_screens_are_sent_nothing_of_a_partition_whose_candles_are_half_closed(worker: StageWorker) -> None:
    sent: list[int] = []
    for (_, number), partition in worker.partitions.items():
        processor: Any = partition.processor
        processor.after_run = lambda _now, number=number: sent.append(number)

    async def read() -> None:
        worker._process_all([a_minute(0)])
        worker._send_paced()

    asyncio.run(read())
    assert sent == [1]


def test_no_partition_is_always_the_first_to_send_to_screens(worker: StageWorker) -> None:
    sent: list[int] = []
    for (_, number), partition in worker.partitions.items():
        processor: Any = partition.processor
        processor.after_run = lambda _now, number=number: sent.append(number)

    for _ in range(4):
        worker._send_paced()
    assert sent in ([0, 1, 1, 0] * 2, [1, 0, 0, 1] * 2)


def test_nothing_is_postponed_where_nothing_closes(worker: StageWorker) -> None:
    worker._process_all([run(0, ratio(BEGIN + 1), Clock(ts=BEGIN + S // 4, epoch=1))])
    assert worker.partitions[TOPICS.ratios, 0].position == 2
    assert not candles(worker)
