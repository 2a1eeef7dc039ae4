"""The ends of partitions: what was written last, and up to which ``src`` a predecessor has already written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from marketdata.records import UNREADABLE, Src
from streaming.admin import await_bounds

LOOK_BACK = 5_000
"""Records read back from the end. Repeats of a paused writer can stand last, so the greatest src counts."""

TIMEOUT_S = 30.0
Place = tuple[str, int]


class _WithSrc(msgspec.Struct):
    src: Src | None = None


_decode = msgspec.json.Decoder(_WithSrc).decode


class TailError(RuntimeError):
    """The end of a partition could not be read."""


def read_tails(bootstrap: str, places: Iterable[Place], look_back: int = LOOK_BACK) -> dict[Place, Src]:
    """The greatest ``src`` among the last ``look_back`` records of each (topic, partition); none for an empty one.

    Raises:
        TailError: the broker did not give all of them within 30 s.
    """
    tails: dict[Place, Src] = {}
    for place, value in read_back(bootstrap, places, look_back):
        try:
            src = _decode(value).src
        except UNREADABLE:
            continue  # not a record of ours: it cannot be our tail
        if src is not None and src > tails.get(place, (-1, -1, -1)):
            tails[place] = src
    return tails


def read_back(bootstrap: str, places: Iterable[Place], look_back: int) -> Iterator[tuple[Place, bytes]]:
    """The values of the last ``look_back`` records of each (topic, partition), each partition's in order.

    Raises:
        TailError: the broker did not give all of them within 30 s.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tails", "enable.auto.commit": False})
    deadline = time.monotonic() + TIMEOUT_S
    try:
        ends = {place: await_bounds(consumer, place, deadline) for place in places}
        bounds = {place: (max(low, high - look_back), high) for place, (low, high) in ends.items()}
        waiting = {place for place, (low, high) in bounds.items() if high > low}
        consumer.assign([TopicPartition(*place, bounds[place][0]) for place in waiting])
        while waiting:
            if time.monotonic() > deadline:
                raise TailError(f"the broker did not give the ends of {sorted(waiting)} within {TIMEOUT_S:.0f} s")
            for message in consumer.consume(5_000, 0.05):
                if (error := message.error()) is not None:
                    raise TailError(f"cannot read the ends of the topics: {error}")
                place, next_offset = (message.topic() or "", message.partition() or 0), (message.offset() or 0) + 1
                yield place, message.value() or b""
                if next_offset >= bounds[place][1]:
                    waiting.discard(place)
    except KafkaException as error:
        raise TailError(f"cannot read the ends of the topics: {error}") from error
    finally:
        consumer.close()
