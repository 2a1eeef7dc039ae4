"""Kafka as a benchmark needs it: topics made anew, their ends, what stands in them, whether all of it was read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from marketdata.topics import TopicSpec
from streaming.admin import ensure_topics
from streaming.tails import read_tails

FETCH: Final = 5_000
TIMEOUT_S: Final = 15.0


class Broker:
    """One broker and its topics, all with the same number of partitions."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def recreate(self, specs: Sequence[TopicSpec]) -> None:
        """Delete what exists of these topics and create them empty.

        Raises:
            TimeoutError: the broker does not come to delete them.
        """
        existing = self._admin.list_topics(timeout=TIMEOUT_S).topics
        doomed = [spec.name for spec in specs if spec.name in existing]
        for future in self._admin.delete_topics(doomed).values() if doomed else ():
            future.result()
        self._wait_until_gone(doomed)
        ensure_topics(self.bootstrap, specs)
        self._wait_for_leaders(specs)

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """End offset of every partition of ``topics``."""
        wanted = {TopicPartition(topic, p): OffsetSpec.latest() for topic in topics for p in range(self.partitions)}
        found = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
        return {(place.topic, place.partition): future.result().offset for place, future in found.items()}

    def records(self, *topics: str) -> int:
        """Records that ``topics`` hold together; none of them may have expired."""
        return sum(self.ends(topics).values())

    def followed(self, source: str, output: str) -> bool:
        """Whether the last record of each of the source's partitions has left its trace (src) in ``output``.

        True only where the last one gives an output: of trades.* and ratios it is a clock, which does.
        """
        tails = read_tails(self.bootstrap, [(output, p) for p in range(self.partitions)])
        ends = self.ends([source])
        return all(tails.get((output, p), (0, -1, 0))[1] == ends[source, p] - 1 for p in range(self.partitions))

    def census(self, topic: str) -> Counter[str]:
        """How many records of each kind ``topic`` holds, by their ``kind`` header."""
        return Counter(kind_of(message) for batch in self.batches([topic]) for message in batch)

    def batches(self, topics: Sequence[str], size: int = FETCH) -> Iterator[list[Any]]:
        """All records that ``topics`` hold now, as bare consume(size, ...) calls return them.

        Raises:
            KafkaException: the broker reports an error on the way.
        """
        ends = {place: end for place, end in self.ends(topics).items() if end}
        left = sum(ends.values())
        consumer = self.consumer()
        try:
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic, p in ends])
            while left > 0:
                batch = consumer.consume(size, 0.05)
                if batch and any(message.error() is not None for message in batch):
                    raise KafkaException(next(m.error() for m in batch if m.error() is not None))
                left -= len(batch)
                if batch:
                    yield batch
        finally:
            consumer.close()

    def consumer(self, settings: Mapping[str, str | int] | None = None) -> Consumer:
        """A consumer with librdkafka's fetching but for ``settings``, to be given its partitions by assign()."""
        own = {"bootstrap.servers": self.bootstrap, "group.id": "bench", "enable.auto.commit": False}
        return Consumer(own | dict(settings or {}))

    def _wait_until_gone(self, topics: Sequence[str]) -> None:
        """The controller answers first; as long as the broker still names a topic, nobody would create it anew."""
        deadline = time.monotonic() + TIMEOUT_S
        while topics and not self._admin.list_topics(timeout=TIMEOUT_S).topics.keys().isdisjoint(topics):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker has not deleted {', '.join(topics)} within {TIMEOUT_S:g} s")
            time.sleep(0.05)

    def _wait_for_leaders(self, specs: Sequence[TopicSpec]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        wanted = {TopicPartition(spec.name, p): OffsetSpec.latest() for spec in specs for p in range(spec.partitions)}
        while True:
            try:
                for future in self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S).values():
                    future.result()
            except KafkaException as error:
                known = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE)
                if error.args[0].code() not in known or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def kind_of(message: Any) -> str:
    """The record's kind by its header; empty where it has none."""
    return next((bytes(value).decode() for name, value in message.headers() or () if name == "kind"), "")
