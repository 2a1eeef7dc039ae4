"""Topics: created with exactly P partitions, and checked at each start."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from marketdata.topics import TopicSpec

TIMEOUT_S = 30.0


class PartitionMismatchError(RuntimeError):
    """A topic has another number of partitions than configured: its keys would be placed elsewhere."""


def ensure_topics(bootstrap: str, specs: Iterable[TopicSpec], *, replication: int = 1) -> None:
    """Create what is missing, then check every topic's partition count.

    Raises:
        PartitionMismatchError: a topic exists with another number of partitions.
        KafkaException: the broker refused or did not answer within 30 s.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = {spec.name: spec for spec in specs}
    existing = admin.list_topics(timeout=TIMEOUT_S).topics
    missing = [
        NewTopic(s.name, s.partitions, replication, config=s.config)
        for s in wanted.values()
        if s.name not in existing
    ]
    if missing:
        for future in admin.create_topics(missing, request_timeout=TIMEOUT_S).values():
            _created(future)
    check_partitions(bootstrap, {s.name: s.partitions for s in wanted.values()})


def _created(future: object) -> None:
    try:
        future.result()  # type: ignore[attr-defined]
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def check_partitions(bootstrap: str, wanted: dict[str, int]) -> None:
    """Raise PartitionMismatchError unless every topic in ``wanted`` has that many partitions."""
    existing = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=TIMEOUT_S).topics
    for name, partitions in wanted.items():
        found = len(existing[name].partitions) if name in existing else 0
        if found not in (0, partitions):
            raise PartitionMismatchError(
                f"topic {name} has {found} partitions, the configuration says {partitions}: set PARTITIONS={found}, "
                "or create a new generation of topics under another NAMESPACE"
            )
