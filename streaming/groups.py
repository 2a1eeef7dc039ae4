"""A consumer group as its coordinator sees it.

By the older of the client's two calls, deprecated as it is: the newer one, describe_consumer_groups, aborts the
process where the broker goes away meanwhile (librdkafka issue 4605).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from streaming.places import Place


@dataclass(frozen=True, slots=True)
class Group:
    """Whether its members are settled, how many they are, and which partitions they have."""

    stable: bool = False
    members: int = 0
    held: frozenset[Place] = frozenset()


def read_group(admin: AdminClient, group: str, timeout: float) -> Group:
    """``group`` as it is now; without members where there is none. It blocks.

    Raises:
        KafkaException: the broker did not answer within ``timeout`` seconds.
        ValueError: a member has an assignment of another protocol.
    """
    found = next((one for one in admin.list_groups(group, timeout) if one.id == group), None)
    if found is None:
        return Group()
    held = frozenset(place for member in found.members for place in assigned(member.assignment or b""))
    return Group(found.state == "Stable", len(found.members), held)


def assigned(assignment: bytes) -> list[Place]:
    """The partitions of a member's assignment. Source: Kafka's ConsumerProtocolAssignment, all versions.

    Raises:
        ValueError: it is none.
    """
    if not assignment:
        return []
    places = []
    try:
        (topics,) = struct.unpack_from(">i", assignment, 2)
        at = 6
        for _ in range(topics):
            (length,) = struct.unpack_from(">h", assignment, at)
            topic = assignment[at + 2 : at + 2 + length].decode()
            at += 2 + length
            (count,) = struct.unpack_from(">i", assignment, at)
            places += [(topic, p) for p in struct.unpack_from(f">{count}i", assignment, at + 4)]
            at += 4 + 4 * count
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"not a member's assignment: {error}") from error
    return places
