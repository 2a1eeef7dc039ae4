"""What the sink's integration tests share: records, a Kafka to send them to, and a sink to watch."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from marketdata.records import Candle, PriceBlock, Ratio, RatioBlock, encode
from marketdata.topics import Topics
from services.sink.intake import Intake
from services.sink.settings import SinkSettings

BASE_US = 1_514_903_400_000_000  # 2018-01-02 14:30 UTC
PARTITIONS = 2
INTERVALS = ("500ms", "1m")
Row = tuple[Any, ...]


def at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def ratio(n: int, *, price: float = 20.0, size: float = 5.0, src_offset: int | None = None, **changes: Any) -> Ratio:
    """The nth ratio record; its src is (0, n, 0) unless told."""
    record = Ratio(
        symbol="MARA", ts=BASE_US + n * 1_000, received_ts=BASE_US + n * 1_000, exchange=4, id=f"t{n}", epoch=1,
        stock_price=price, stock_size=size, stock_volume=int(size), eligible=True, updates_open_close=True,
        updates_volume=True, src=(0, n if src_offset is None else src_offset, changes.pop("src_n", 0)),
        timestamp_out=time.time_ns() // 1000, reference="BTC-USD", btc_price=100_000.0, btc_ts=BASE_US - 5,
        btc_age_us=5 + n * 1_000, btc_volume=0.25, ratio=price / 100_000, inverse_ratio=100_000 / price, reason=None,
    )  # fmt: skip
    return msgspec.structs.replace(record, **changes)


_UNSET = object()
_made = iter(range(10**9))


def candle(n: int, *, close: float = 2.0, out: int = 0, ratio: Any = _UNSET, **changes: Any) -> Candle:
    """The nth candle of 500 ms (or of ``interval``); each call has a greater src."""
    start = BASE_US + n * 500_000
    block = RatioBlock(open=0.0001, high=0.0005, low=0.0001, close=0.0004, avg=0.0003, twap=0.00035, tick_count=3)
    record = Candle(
        symbol="MARA", interval="500ms", hours="all", timestamp_in=start, end=start + 500_000,
        timestamp_out=BASE_US + out, latency_ms=1.5, revision=0,
        price=PriceBlock(open=1.0, high=9.0, low=0.5, close=close, avg=2.5, vwap=2.25, volume=10.5, tick_count=3,
                         trade_count=4),
        ratio=block if ratio is _UNSET else ratio, src=(0, next(_made), 0),
    )  # fmt: skip
    return msgspec.structs.replace(record, **changes)


def expected_ticks(ratios: list[Ratio]) -> list[Row]:
    """(time, symbol, trade_id, stock_price, ratio, stock_size, btc_price, src_offset) of each record, sorted."""
    return sorted(
        (at(r.ts), r.symbol, r.id, *(None if v is None else Decimal(repr(v)) for v in
                                     (r.stock_price, r.ratio, r.stock_size, r.btc_price)), r.src[1])
        for r in ratios
    )  # fmt: skip


def eventually(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def read_all(kafka: str, topic: str, partition: int = 0) -> list[bytes]:
    """The values of a partition up to its present end."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "test-reader", "enable.auto.commit": False})
    place = TopicPartition(topic, partition, 0)
    _, end = consumer.get_watermark_offsets(place, timeout=10)
    consumer.assign([place])
    values: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(values) < end and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            values.append(message.value())
    consumer.close()
    return values


@dataclass
class Process:
    """A running sink."""

    process: subprocess.Popen[bytes]
    log: Path

    def port(self) -> int:
        eventually(lambda: b"metrics_port" in self.log.read_bytes() or self.process.poll() is not None, "a sink")
        found = re.search(rb'"metrics_port": (\d+)', self.log.read_bytes())
        assert found, self.log.read_text()
        return int(found[1])

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def value(self, metric: str) -> float:
        """Of the running or, after its end, the last state of the sink."""
        text = self.last if self.process.poll() is not None else self.get("/metrics")
        found = re.search(rf"^{metric} (\S+)$", text, re.MULTILINE)
        assert found, metric
        return float(found[1])

    last: str = ""

    def stop(self) -> None:
        """SIGTERM; it must end by itself, cleanly and soon."""
        if self.process.poll() is None:
            self.port()
            self.last = self.get("/metrics")
            began = time.monotonic()
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(15)
            assert time.monotonic() - began < 10, self.log.read_text()
        assert self.process.returncode == 0, self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@dataclass
class Bench:
    """Topics, a database and the means to fill and to look."""

    kafka: str
    database: str
    topics: Topics
    producer: Producer
    started: list[Process] = field(default_factory=list)

    def send(self, topic: str, value: bytes, kind: bytes | None, partition: int = 0) -> None:
        headers = None if kind is None else [("kind", kind)]
        self.producer.produce(topic, value, b"MARA", partition, headers=headers)
        self.producer.poll(0)

    def send_ratios(self, ratios: list[Ratio], partition: int = 0) -> None:
        for record in ratios:
            self.send(self.topics.ratios, encode(record), b"ratio", partition)
        self.producer.flush(30)

    def send_candles(self, candles: list[Candle]) -> None:
        for record in candles:
            self.send(self.topics.candles("stocks", record.interval), encode(record), b"candle")
        self.producer.flush(30)

    def send_noise(self, count: int) -> None:
        """Clocks and BTC copies, which the sink need not decode: these could not be."""
        for n in range(count):
            self.send(self.topics.ratios, b"not even JSON", (b"clock", b"reference")[n % 2])
        self.producer.flush(30)

    def start(self, **settings: str) -> Process:
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "POSTGRES_DSN": self.database, "NAMESPACE": self.topics.namespace,
            "PARTITIONS": str(PARTITIONS), "INTERVALS": ",".join(INTERVALS), "METRICS_PORT": "0",
            "LOG_FORMAT": "json", "PYTHONFAULTHANDLER": "1",
        } | settings  # fmt: skip
        log = Path(tempfile.mkstemp(prefix="sink-", suffix=".log")[1])
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "services.sink"], env=environment, stderr=output)
        self.started.append(Process(process, log))
        return self.started[-1]

    @contextlib.contextmanager
    def sink(self, **settings: str) -> Iterator[Process]:
        """A sink that is stopped by SIGTERM at the end and must then exit with 0."""
        process = self.start(**settings)
        yield process
        process.stop()

    def ends(self) -> dict[tuple[str, int], int]:
        """The end of every partition the sink reads."""
        read = set(Intake(SinkSettings(namespace=self.topics.namespace, intervals=INTERVALS), lambda: 0).topics)
        specs = [spec for spec in self.topics.specs(PARTITIONS, INTERVALS) if spec.name in read]
        assert len(specs) == len(read)
        places = [TopicPartition(spec.name, p) for spec in specs for p in range(spec.partitions)]
        deadline = time.monotonic() + 30
        while True:  # a broker that has just come back does not know its partitions at once
            consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "test-ends", "log_level": 2})
            try:
                return {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=10)[1] for p in places}
            except KafkaException:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            finally:
                consumer.close()

    def positions(self) -> dict[tuple[str, int], int]:
        with contextlib.suppress(psycopg.errors.UndefinedTable, psycopg.OperationalError):
            return {(t, p): o for t, p, o in self.rows("SELECT topic, partition, next_offset FROM sink_positions")}
        return {}

    def wait_positions(self) -> None:
        """Until every stored position is the end of its partition."""
        self.producer.flush(30)
        ends = self.ends()

        def settled() -> bool:
            nonlocal ends
            positions = self.positions()
            if any(positions.get(place, -1) < end for place, end in ends.items()):
                return False
            ends = self.ends()  # they grow: the sink also reads the letters that it writes
            return positions == ends

        try:
            eventually(settled, "positions at the ends")
        except AssertionError:
            raise AssertionError(f"{self.positions()}\nnot at {self.ends()}\n{self.autopsy()[-12_000:]}") from None

    def autopsy(self) -> str:
        """Ends the sinks that still run, so that their logs also say where each thread stood."""
        for process in self.started:
            process.process.send_signal(signal.SIGABRT)
            process.process.wait(10)
        return self.logs()

    def visible_after(self, record: Ratio) -> float:
        began = time.monotonic()
        self.send_ratios([record])
        query = f"SELECT 1 FROM ratio_ticks_live WHERE trade_id = '{record.id}'"
        with psycopg.connect(self.database, autocommit=True) as connection:
            while not connection.execute(query).fetchall():
                assert time.monotonic() - began < 10
                time.sleep(0.002)
        return time.monotonic() - began

    def rows(self, query: str) -> list[Row]:
        with psycopg.connect(self.database, options="-c timezone=UTC") as connection:
            return connection.execute(query.encode()).fetchall()

    def logs(self) -> str:
        return "".join(process.log.read_text() for process in self.started)


@pytest.fixture
def bench(kafka: str, database: str, namespace: str, topics: Any) -> Iterator[Bench]:
    names = Topics(namespace)
    topics(*(spec.name for spec in names.specs(PARTITIONS, INTERVALS) if spec.partitions != 1), partitions=PARTITIONS)
    topics(*(spec.name for spec in names.specs(PARTITIONS, INTERVALS) if spec.partitions == 1), partitions=1)
    made = Bench(kafka, database, names, Producer({"bootstrap.servers": kafka, "linger.ms": 2}))
    yield made
    made.producer.flush(10)
    for process in made.started:
        process.kill()
        process.log.unlink()
