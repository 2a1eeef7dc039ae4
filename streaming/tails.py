"""Parts of partitions, read apart from any group: what stands last, up to which ``src`` a predecessor has written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from marketdata.records import UNREADABLE, Src
from streaming.admin import await_bounds
from streaming.kafkaclient import client_config
from streaming.places import Place, by_place

LOOK_BACK = 1_000
"""Records read back from the end. Repeats of a paused writer can stand last, so the greatest src counts; if more of
them stand there, what is written again is for the reader's rule to drop. More would make every take-over wait."""

TIMEOUT_S = 30.0


class _WithSrc(msgspec.Struct):
    src: Src | None = None


_decode = msgspec.json.Decoder(_WithSrc).decode


END: Final = 2**62
READER: Final[dict[str, str | int | float | bool]] = {
    "group.id": "tails",
    "enable.auto.commit": False,
    "log_level": 2,
    "queued.min.messages": 50_000,
    "fetch.queue.backoff.ms": 10,
    # What is wanted stands in the log: a fetch of a partition already read to its end must not hold up the next.
    "fetch.wait.max.ms": 20,
}


class TailError(RuntimeError):
    """A part of a partition could not be read."""


class ExpiredError(TailError):
    """The first records wanted are no longer in the log."""


class Read(NamedTuple):
    """One record as it stands in the log."""

    place: Place
    offset: int
    key: bytes
    value: bytes


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
    wanted = dict.fromkeys(places, (-look_back, END))
    for read in read_ranges(bootstrap, wanted, time.monotonic() + TIMEOUT_S):
        yield read.place, read.value


def read_ranges(
    bootstrap: str, ranges: Mapping[Place, tuple[int, int]], deadline: float | None = None
) -> Iterator[Read]:
    """The records of each (topic, partition) from an offset up to another, itself excluded, in order.

    A negative first offset counts from the end; ``END`` is the end as it is now. Without a ``deadline`` (of
    time.monotonic) it goes on as long as records come.

    Raises:
        TailError: the broker did not give all of them in time, or what stood first is gone.
    """
    for place, messages in read_batches(bootstrap, ranges, deadline):
        for message in messages:
            yield Read(place, message.offset() or 0, message.key() or b"", message.value() or b"")


def read_batches(
    bootstrap: str, ranges: Mapping[Place, tuple[int, int]], deadline: float | None = None
) -> Iterator[tuple[Place, list[Message]]]:
    """The same as librdkafka's messages, some of a partition at a time: for who reads millions."""
    consumer = Consumer(client_config(bootstrap, READER))
    patience = deadline or time.monotonic() + TIMEOUT_S
    try:
        ends = {place: _bounds(place, wanted, consumer, patience) for place, wanted in ranges.items()}
        waiting = {place for place, (first, end) in ends.items() if end > first}
        consumer.assign([TopicPartition(*place, ends[place][0]) for place in waiting])
        while waiting:
            messages = consumer.consume(5_000, 0.05)
            if messages and deadline is None:
                patience = time.monotonic() + TIMEOUT_S
            elif not messages and time.monotonic() > patience:
                raise TailError(f"the broker did not give {sorted(waiting)} within {TIMEOUT_S:.0f} s")
            if error := next(filter(None, map(Message.error, messages)), None):
                raise TailError(f"cannot read the topics: {error}")
            for place, some in by_place(messages):
                if place not in waiting:
                    continue
                end = ends[place][1]
                if (some[-1].offset() or 0) + 1 < end:
                    yield place, some
                    continue
                waiting.discard(place)
                consumer.pause([TopicPartition(*place)])
                yield place, [message for message in some if (message.offset() or 0) < end]
    except KafkaException as error:
        raise TailError(f"cannot read the topics: {error}") from error
    finally:
        consumer.close()


def _bounds(place: Place, wanted: tuple[int, int], consumer: Consumer, deadline: float) -> tuple[int, int]:
    low, high = await_bounds(consumer, place, deadline)
    first, end = wanted
    if first < 0:
        return max(low, high + first), high
    end = min(end, high)
    if first < low < end:
        raise ExpiredError(f"{place[0]}/{place[1]} begins at {low}, {first} was wanted")
    return first, end
