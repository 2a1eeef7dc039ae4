"""Whole topics read partition by partition, with and without the reader's rule, and compared."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from marketdata.topics import Topics
from streaming.admin import ensure_topics
from streaming.reader import SrcFilter
from tests.support.logs import Entry

Values = dict[str, Any]
NOT_COMPARED = ("timestamp_out", "latency_ms")


@contextlib.contextmanager
def new_namespace(bootstrap: str, partitions: int, *names: str) -> Iterator[str]:
    """A namespace with the internal topics and those named, all where none is named; deleted at the end."""
    namespace = f"t{secrets.token_hex(4)}."
    wanted = {*names, "ratio_mark"} if "ratios" in names else set(names)
    if any(name.startswith("candles.") for name in names):
        wanted |= {"candles.live.stocks", "candles.live.crypto"}
    every = Topics(namespace).specs(partitions)
    specs = [s for s in every if not names or not s.public or s.name.removeprefix(namespace) in wanted]
    ensure_topics(bootstrap, specs)
    try:
        yield namespace
    finally:
        admin = AdminClient({"bootstrap.servers": bootstrap})  # kept by its name: without it nothing is answered
        for future in admin.delete_topics([s.name for s in specs]).values():
            with contextlib.suppress(KafkaException, TimeoutError):
                future.result(20)


class Ends:
    """Asks for the end offsets of a topic's partitions, as often as a test likes; close it."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests", "log_level": 3})

    def __call__(self, topic: str) -> list[int]:
        return _ends(self._consumer, topic)

    def close(self) -> None:
        self._consumer.close()


def _ends(consumer: Consumer, topic: str) -> list[int]:
    partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    return [_end(consumer, TopicPartition(topic, p)) for p in partitions]


def _end(consumer: Consumer, place: TopicPartition) -> int:
    """A partition that was just made has no leader for a moment."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, timeout=10)[1])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def read_messages(bootstrap: str, topic: str) -> list[list[Message]]:
    """Every message that stands in the topic now, by partition."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "tests", "log_level": 3, "fetch.wait.max.ms": 20}
    consumer = Consumer(settings)
    try:
        wanted = _ends(consumer, topic)
        found: list[list[Message]] = [[] for _ in wanted]
        consumer.assign([TopicPartition(topic, p, 0) for p in range(len(wanted))])
        deadline = time.monotonic() + 30
        while sum(map(len, found)) < sum(wanted):
            assert time.monotonic() < deadline, f"{topic}: {list(map(len, found))} of {wanted} after 30 s"
            for message in consumer.consume(5_000, 0.1):
                assert message.error() is None, message.error()
                if message.offset() < wanted[message.partition()]:
                    found[message.partition()].append(message)
        return found
    finally:
        consumer.close()


def read_topic(bootstrap: str, topic: str) -> list[list[Values]]:
    """Every record that stands in the topic now, by partition, repeats included."""
    return [[msgspec.json.decode(m.value()) for m in partition] for partition in read_messages(bootstrap, topic)]


def read_entries(bootstrap: str, namespace: str, name: str) -> list[Entry]:
    """A topic as it stands, to be written into another namespace; the partitions take turns."""
    partitions = read_messages(bootstrap, namespace + name)
    entries = []
    for i in range(max(map(len, partitions))):
        for p, messages in enumerate(partitions):
            if i < len(messages):
                message = messages[i]
                headers = dict(message.headers() or ())
                entries.append(Entry(name, p, message.key(), message.value(), headers.get("kind", b"")))
    return entries


class Read(NamedTuple):
    """A topic under the reader's rule: what it accepts, by partition, and how many it has dropped."""

    partitions: list[list[Values]]
    dropped: int

    @property
    def raw(self) -> int:
        return sum(map(len, self.partitions)) + self.dropped


def under_rule(raw: list[list[Values]]) -> Read:
    """What a reader who keeps the rule sees, without what differs from run to run."""
    rule = SrcFilter()
    accepted = [[r for r in records if rule.accept("", p, tuple(r["src"]))] for p, records in enumerate(raw)]
    return Read([[_comparable(r) for r in records] for records in accepted], rule.dropped)


def _comparable(record: Values) -> Values:
    return {key: value for key, value in record.items() if key not in NOT_COMPARED}


def first_difference(expected: list[list[Values]], found: list[list[Values]]) -> str | None:
    """Where two topics differ first, in words; None where they are equal record for record."""
    for p, (wanted, got) in enumerate(zip(expected, found, strict=True)):
        for i, (a, b) in enumerate(zip(wanted, got, strict=False)):
            if a != b:
                return f"partition {p}, record {i}:\n  expected {a}\n  found    {b}"
        if len(wanted) != len(got):
            return f"partition {p}: {len(wanted)} records expected, {len(got)} found"
    return None
