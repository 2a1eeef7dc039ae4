"""Topics: created with exactly P partitions, and checked at each start."""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from marketdata.topics import TopicSpec
from streaming.kafkaclient import client_config

TIMEOUT_S = 30.0
CREATE_S = 120.0
"""A broker that is itself just starting makes a partition in 20 to 100 ms, one by one; there are hundreds."""
BROKERS_CHOICE = -1
PROBE_S = 2.0
LONGEST_WAIT_S = 5.0
log = structlog.stdlib.get_logger()


class PartitionMismatchError(RuntimeError):
    """A topic has another number of partitions than configured: its keys would be placed elsewhere."""


def ensure_topics(bootstrap: str, specs: Iterable[TopicSpec], *, replication: int = BROKERS_CHOICE) -> None:
    """Create what is missing, then check every topic's partition count.

    ``replication`` is the number of copies; the broker's default.replication.factor unless it is named.

    Raises:
        PartitionMismatchError: a topic exists with another number of partitions.
        KafkaException: the broker refused, did not answer within 30 s or make the topics within two minutes.
    """
    admin = AdminClient(client_config(bootstrap))
    wanted = {spec.name: spec for spec in specs}
    existing = admin.list_topics(timeout=TIMEOUT_S).topics
    missing = [
        NewTopic(s.name, s.partitions, replication, config=s.config)
        for s in wanted.values()
        if s.name not in existing
    ]
    if missing:
        for future in admin.create_topics(missing, request_timeout=CREATE_S).values():
            _created(future)
        _await_leaders(bootstrap, [(s.name, p) for s in wanted.values() for p in range(s.partitions)])
    check_partitions(bootstrap, {s.name: s.partitions for s in wanted.values()})


def _await_leaders(bootstrap: str, places: list[tuple[str, int]]) -> None:
    """Wait until each new partition can be read: the broker places them after it has answered."""
    consumer = Consumer(client_config(bootstrap, {"group.id": "topics", "log_level": 2}))
    deadline = time.monotonic() + CREATE_S
    try:
        for place in places:
            await_bounds(consumer, place, deadline)
    finally:
        consumer.close()


def await_bounds(consumer: Consumer, place: tuple[str, int], deadline: float) -> tuple[int, int]:
    """(first offset, end) of a partition, asked again until ``deadline`` while the broker is still placing it."""
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(*place), timeout=5)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return low, high


def _created(future: object) -> None:
    try:
        future.result()  # type: ignore[attr-defined]
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def await_topics(bootstrap: str, wanted: dict[str, int]) -> None:
    """Wait until Kafka answers and has every topic of ``wanted``, for as long as that takes, and say what is missing.

    Raises:
        PartitionMismatchError: a topic has another number of partitions.
    """
    admin = AdminClient(client_config(bootstrap, {"log_level": 0}))
    wait = 0.5
    while missing := _missing(admin, wanted):
        log.warning("waiting for Kafka", missing=missing, action=f"looking again in {wait:g} s")
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)
    check_partitions(bootstrap, wanted)


def _missing(admin: AdminClient, wanted: Iterable[str]) -> str:
    try:
        found = admin.list_topics(timeout=PROBE_S).topics
    except KafkaException as error:
        return str(error)
    return ", ".join(sorted(set(wanted) - set(found)))


def check_partitions(bootstrap: str, wanted: dict[str, int]) -> None:
    """Raise PartitionMismatchError unless every topic in ``wanted`` has that many partitions."""
    existing = AdminClient(client_config(bootstrap)).list_topics(timeout=TIMEOUT_S).topics
    for name, partitions in wanted.items():
        found = len(existing[name].partitions) if name in existing else 0
        if found not in (0, partitions):
            raise PartitionMismatchError(
                f"topic {name} has {found} partitions, the configuration says {partitions}: set PARTITIONS={found}, "
                "or create a new generation of topics under another NAMESPACE"
            )
