"""What stands in the log of one market further back than the writer remembers: read from Kafka on demand."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from marketdata.records import UNREADABLE, Clock, Trade
from services.ingest.seen import CORRECTION_RECORDS
from services.ingest.writer import AS_QUOTE_COPY, AS_REFERENCE
from streaming.kafkaclient import bounded_queue, client_config

COPIES: Final = (AS_REFERENCE, AS_QUOTE_COPY)
MARGIN_MS: Final = 60_000
AT_ONCE: Final = 2_000
PAUSE_S: Final = 0.01
"""Between two reads, for the threads that live trades need."""
SILENT_S: Final = 20.0
REQUEST_S: Final = 10.0
_decode = msgspec.json.Decoder(Trade | Clock).decode


class StandingError(RuntimeError):
    """The log could not be read."""


def key_of(trade: Trade) -> int:
    """A trade's identity but for its day, as a number; the same only within this process."""
    correction = trade.correction if trade.correction in CORRECTION_RECORDS else 0
    return hash((trade.symbol, trade.exchange, trade.trf, trade.id, correction))


def standing(bootstrap: str, topic: str, partition: int, since: int, until: int) -> set[int]:
    """Keys of the trades with an event time from ``since`` to ``until`` (µs) that stand in a partition; it blocks.

    What an older epoch wrote below a newer one counts for no reader, and not here either.

    Raises:
        StandingError: the broker did not give them.
    """
    found: set[int] = set()
    epoch = 0
    consumer = _consumer(bootstrap)
    try:
        at = TopicPartition(topic, partition)
        (begin,) = consumer.offsets_for_times(
            [TopicPartition(topic, partition, max(since // 1_000 - MARGIN_MS, 0))], timeout=REQUEST_S
        )
        low, high = consumer.get_watermark_offsets(at, timeout=REQUEST_S)
        offset = max(begin.offset, low) if begin.offset >= 0 else high
        consumer.assign([TopicPartition(topic, partition, offset)])
        heard = time.monotonic()
        while offset < high:
            for message in consumer.consume(AT_ONCE, 0.5):
                if message.error() is not None:
                    raise StandingError(str(message.error()))
                heard = time.monotonic()
                offset = (message.offset() or 0) + 1
                record = _record(message.value() or b"")
                if record is None or record.epoch < epoch:
                    continue
                epoch = record.epoch
                if type(record) is Trade and since <= record.ts <= until:
                    found.add(key_of(record))
            if time.monotonic() - heard > SILENT_S:
                raise StandingError(f"no record of {topic} for {SILENT_S:g} s")
            time.sleep(PAUSE_S)
    except KafkaException as error:
        raise StandingError(str(error)) from error
    finally:
        consumer.close()
    return found


def first_clock(bootstrap: str, topic: str) -> int:
    """The oldest clock of partition 0 in µs, 0 where there is none yet; it blocks.

    Raises:
        StandingError: the broker did not answer.
    """
    consumer = _consumer(bootstrap)
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=REQUEST_S)
        consumer.assign([TopicPartition(topic, 0, low)])
        deadline = time.monotonic() + REQUEST_S
        while low < high and time.monotonic() < deadline:
            for message in consumer.consume(AT_ONCE, 0.2):
                if message.error() is None:
                    low = (message.offset() or 0) + 1
                    if (clock := _clock(message.value() or b"")) is not None:
                        return clock.ts
    except KafkaException as error:
        raise StandingError(str(error)) from error
    finally:
        consumer.close()
    return 0


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        client_config(
            bootstrap,
            {
                "group.id": "ingest-standing",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 3,
                # It reads at leisure, and often only the first records: what waits in memory is memory for good.
                **bounded_queue(1_024),
                "fetch.message.max.bytes": 262_144,
            },
        )
    )


def _clock(value: bytes) -> Clock | None:
    record = _record(value)
    return record if type(record) is Clock else None


def _record(value: bytes) -> Trade | Clock | None:
    if value.startswith(COPIES):
        return None
    try:
        record: Trade | Clock = _decode(value)
    except UNREADABLE:
        return None
    return record
