"""A partition of a topic, and records as librdkafka gives them sorted by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from confluent_kafka import Message

Place = tuple[str, int]
"""(topic, partition)."""


def by_place(messages: Iterable[Message]) -> Iterator[tuple[Place, list[Message]]]:
    """Stretches of consecutive ``messages`` that stand in one partition, in order; a partition may come repeatedly.

    Grouped by C functions, with no call of ours for each record: the processing waits for what is done here.
    """
    for topic, of_topic in groupby(messages, Message.topic):
        for partition, some in groupby(of_topic, Message.partition):
            yield (topic or "", partition or 0), list(some)
