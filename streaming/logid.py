"""Which log it is: a topic made anew under the same name begins at offset 0 again, and its id tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

TIMEOUT_S = 15.0


def topic_ids(admin: AdminClient, names: Iterable[str]) -> dict[str, str]:
    """The id of each topic, 32 hexadecimal digits.

    Raises:
        KafkaException: the broker did not answer, or a topic is gone.
    """
    described = admin.describe_topics(TopicCollection(sorted(set(names))), request_timeout=TIMEOUT_S)
    return {name: _hex(future.result().topic_id) for name, future in described.items()}


def _hex(uuid: Any) -> str:
    high, low = uuid.get_most_significant_bits(), uuid.get_least_significant_bits()
    return f"{high & 2**64 - 1:016x}{low & 2**64 - 1:016x}"
