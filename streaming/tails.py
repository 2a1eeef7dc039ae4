"""The tails of output partitions: up to which ``src`` a predecessor has already written."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketdata.records import Src

LOOK_BACK = 5_000
"""Records read back from the end. Repeats of a paused writer can stand last, so the greatest src counts."""

TIMEOUT_S = 30.0


class _WithSrc(msgspec.Struct):
    src: Src | None = None


_decode = msgspec.json.Decoder(_WithSrc).decode


class TailError(RuntimeError):
    """The end of an output partition could not be read."""


def read_tails(bootstrap: str, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Src]:
    """The greatest ``src`` among the last records of each (topic, partition); none for an empty one.

    Raises:
        TailError: the broker did not give all of them within 30 s.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tails", "enable.auto.commit": False})
    try:
        ends = _ends(consumer, places)
        return _greatest(consumer, ends)
    except KafkaException as error:
        raise TailError(f"cannot read the tails of the output topics: {error}") from error
    finally:
        consumer.close()


def _ends(consumer: Consumer, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
    ends = {}
    for topic, partition in places:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_S)
        if high > low:
            ends[topic, partition] = (max(low, high - LOOK_BACK), high)
    return ends


def _greatest(consumer: Consumer, ends: dict[tuple[str, int], tuple[int, int]]) -> dict[tuple[str, int], Src]:
    tails: dict[tuple[str, int], Src] = {}
    waiting = set(ends)
    consumer.assign([TopicPartition(topic, partition, start) for (topic, partition), (start, _) in ends.items()])
    deadline = time.monotonic() + TIMEOUT_S
    while waiting:
        if time.monotonic() > deadline:
            raise TailError(f"no answer within {TIMEOUT_S:.0f} s for {sorted(waiting)}")
        for message in consumer.consume(5_000, 0.05):
            place, offset, src = _read(message)
            if src is not None and src > tails.get(place, (-1, -1, -1)):
                tails[place] = src
            if offset + 1 >= ends[place][1]:
                waiting.discard(place)
    return tails


def _read(message: Message) -> tuple[tuple[str, int], int, Src | None]:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    topic, partition, offset, value = message.topic(), message.partition(), message.offset(), message.value()
    if topic is None or partition is None or offset is None:
        raise TailError("the broker gave a record without its place")
    try:
        return (topic, partition), offset, _decode(value or b"{}").src
    except msgspec.MsgspecError:
        return (topic, partition), offset, None  # not a record of ours: it cannot be our tail
