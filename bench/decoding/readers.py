"""The ways in which a topic's records are taken and decoded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioTopicPartition
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from bench.kafka import FETCH, Broker
from marketdata.records import Clock, Reference, Trade
from services.ratio.processor import decode as decode_as_product
from streaming.logreader import LogReader
from streaming.settings import ServiceSettings
from streaming.stage import READ_AT_ONCE

READ_S: Final = 0.05
_FETCH_WAIT_MS: Final[int] = ServiceSettings.model_fields["fetch_wait_ms"].default
_decode: Final = msgspec.json.Decoder(Trade | Reference | Clock).decode


@dataclass(frozen=True, slots=True)
class Log:
    """A topic that is read: its records, and the sum of their event times in µs."""

    broker: Broker
    topic: str
    records: int
    sum_ts: int


Batches = Generator[tuple[int, int], None, None]
"""Of each batch that is taken and decoded: how many records, and the sum of their times in µs. It never ends."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One way to do it."""

    name: str
    label: str
    batches: Callable[[Log], Batches]


def product(log: Log) -> Batches:
    """The product's reader as the transport of its stages calls it, and the decoder of its ratio service."""
    reader = LogReader(log.broker.bootstrap, "bench", _FETCH_WAIT_MS)
    try:
        reader.seek({(log.topic, p): 0 for p in range(log.broker.partitions)}, 0)
        while True:
            runs = reader.read(READ_AT_ONCE, 0, 0) if reader.is_behind else reader.read(READ_AT_ONCE, READ_S)
            count = total = 0
            for run in runs.values():
                count += len(run.records)
                for message in run.records:
                    total += decode_as_product(message.value() or b"").ts
            yield count, total
    finally:
        reader.close()


def loop(log: Log) -> Batches:
    """A hand-written loop over confluent-kafka's batches."""
    for batch in _consumed(log):
        total = 0
        for message in batch:
            total += _decode(message.value()).ts
        yield len(batch), total


def loop_json(log: Log) -> Batches:
    """The same with the standard library's JSON."""
    loads = json.loads
    for batch in _consumed(log):
        total = 0
        for message in batch:
            total += loads(message.value())["ts"]
        yield len(batch), total


def _consumed(log: Log) -> Iterator[list[Any]]:
    consumer = log.broker.consumer()
    try:
        consumer.assign([TopicPartition(log.topic, p, OFFSET_BEGINNING) for p in range(log.broker.partitions)])
        while True:
            yield consumer.consume(FETCH, READ_S)
    finally:
        consumer.close()


def aiokafka(log: Log) -> Batches:
    """What Faust reads with: getmany, in an event loop of its own."""
    with asyncio.Runner() as runner:
        consumer: Any = runner.run(_consumer(log))
        try:
            while True:
                yield runner.run(_getmany(consumer))
        finally:
            runner.run(consumer.stop())


async def _consumer(log: Log) -> Any:
    consumer = AIOKafkaConsumer(bootstrap_servers=log.broker.bootstrap, enable_auto_commit=False)
    await consumer.start()
    places = [AioTopicPartition(log.topic, p) for p in range(log.broker.partitions)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    return consumer


async def _getmany(consumer: Any) -> tuple[int, int]:
    count = total = 0
    for records in (await consumer.getmany(timeout_ms=int(READ_S * 1_000), max_records=FETCH)).values():
        count += len(records)
        for record in records:
            total += _decode(record.value).ts
    return count, total


READERS: Final = (
    Reader("product", "the product's reader and decoder", product),
    Reader("loop", "hand-written: confluent-kafka, msgspec", loop),
    Reader("aiokafka", "aiokafka's getmany, msgspec", aiokafka),
    Reader("json", "hand-written: confluent-kafka, json.loads", loop_json),
)
NAMES: Final = tuple(reader.name for reader in READERS)
