"""The canonical export: what a namespace's derived topics say, in a form two runs can be compared by.

A line is ``topic partition record``: the records that the reader's rule accepts, in the order of their partition,
keys sorted, without ``timestamp_out`` and ``latency_ms``, which follow the wall clock. A candle's ``src`` is left out
too: it counts places in ``ratios``, where a restarted writer may have left repeats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from marketdata.intervals import intervals_of
from marketdata.topics import DEFAULT_INTERVALS, MARKETS, Topics
from streaming.kafkaclient import client_config
from streaming.reader import SrcFilter
from streaming.tails import READER

_WALL_CLOCK = ("timestamp_out", "latency_ms")
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.decode


@dataclass(slots=True)
class Export:
    """The hash over all lines, and what was counted on the way."""

    sha256: str = ""
    records: dict[str, int] = field(default_factory=dict)
    non_null_ratios: int = 0
    repeats_dropped: int = 0


def export_topics(topics: Topics, intervals: tuple[str, ...] = DEFAULT_INTERVALS) -> list[str]:
    """The topics an export reads: ratios, then candles by market and interval."""
    return [
        topics.ratios,
        *(topics.candles(market, i) for market in MARKETS for i in intervals_of(market, intervals)),
    ]


def canonical_export(
    bootstrap: str,
    topics: Topics,
    intervals: tuple[str, ...] = DEFAULT_INTERVALS,
    write: Callable[[bytes], object] | None = None,
) -> Export:
    """Hash the canonical lines of ``topics``' namespace, and hand each to ``write`` if given.

    Raises:
        KafkaException: a topic does not exist or the broker does not answer.
    """
    export, digest, rule = Export(), hashlib.sha256(), SrcFilter()
    prefix = len(topics.namespace)
    for topic in export_topics(topics, intervals):
        export.records[topic[prefix:]] = 0
        for partition, value in read_topic(bootstrap, topic):
            record = _decode(value)
            if not rule.accept(topic, partition, tuple(record["src"])):
                continue
            if record["kind"] not in ("ratio", "candle"):
                continue
            export.records[topic[prefix:]] += 1
            export.non_null_ratios += record["kind"] == "ratio" and record.get("ratio") is not None
            line = b"%b %d %b\n" % (topic[prefix:].encode(), partition, _canonical(record))
            digest.update(line)
            if write is not None:
                write(line)
    export.sha256, export.repeats_dropped = digest.hexdigest(), rule.dropped
    return export


def _canonical(record: dict[str, Any]) -> bytes:
    for name in _WALL_CLOCK:
        record.pop(name, None)
    if record["kind"] == "candle":
        del record["src"]
    return _encode(record)


def read_topic(bootstrap: str, topic: str) -> Iterator[tuple[int, bytes]]:
    """(partition, value) of every record that ``topic`` holds now, one partition after the other."""
    consumer = Consumer(client_config(bootstrap, READER | {"fetch.wait.max.ms": 5}))
    try:
        for partition in sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if high == low:
                continue
            consumer.assign([TopicPartition(topic, partition, low)])
            yield from _until(consumer, partition, high)
    finally:
        consumer.close()


def _until(consumer: Consumer, partition: int, end: int) -> Iterator[tuple[int, bytes]]:
    reached = 0
    while reached < end:
        for message in consumer.consume(5_000, 0.1):
            if message.error() is not None:
                raise KafkaException(message.error())
            reached = (message.offset() or 0) + 1
            if reached > end:
                return
            yield partition, message.value() or b"{}"
