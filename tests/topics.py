"""Creating topics so that a test can use them at once."""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

_FUTURE_SECONDS = 20


def create_topics(admin: AdminClient, names: list[str], partitions: int, config: dict[str, str]) -> None:
    """Create them and wait until every partition has a leader that clients can see."""
    wanted = [NewTopic(name, partitions, 1, config=config) for name in names]
    for future in admin.create_topics(wanted).values():
        future.result(_FUTURE_SECONDS)
    deadline = time.monotonic() + _FUTURE_SECONDS
    while not all(_ready(admin, name, partitions) for name in names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"topics without leaders after {_FUTURE_SECONDS} s: {names}")
        time.sleep(0.02)


def _ready(admin: AdminClient, name: str, partitions: int) -> bool:
    found = admin.list_topics(name, timeout=5).topics[name].partitions
    return len(found) == partitions and all(partition.leader >= 0 for partition in found.values())


def delete_topics(admin: AdminClient, names: list[str]) -> None:
    """Ask for their deletion; a topic the test has deleted itself, or a broker it has stopped, is no error here."""
    if not names:
        return
    for future in admin.delete_topics(names, request_timeout=5).values():
        try:
            future.result(_FUTURE_SECONDS)
        except KafkaException as error:
            print(f"a test topic was not deleted: {error}")
