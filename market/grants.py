"""What a user of Kafka may do, as access control lists: the pipeline itself, and programs that only read."""

from __future__ import annotations

from typing import Final

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from marketdata.topics import Topics, TopicSpec
from streaming.kafkaclient import client_config

ANSWER_S: Final = 30.0
_PIPELINE: Final = (
    AclOperation.READ,
    AclOperation.WRITE,
    AclOperation.CREATE,
    AclOperation.DESCRIBE,
    AclOperation.DESCRIBE_CONFIGS,
)
_READER: Final = (AclOperation.READ, AclOperation.DESCRIBE)


def reader_acls(user: str, specs: list[TopicSpec], groups: str) -> list[AclBinding]:
    """``user`` may read the public topics among ``specs``, in groups whose names begin with ``groups``."""
    public = [_allow(user, ResourceType.TOPIC, spec.name, operation)
              for spec in specs if spec.public for operation in _READER]  # fmt: skip
    return public + [_allow(user, ResourceType.GROUP, groups, one, prefixed=True) for one in _READER]


def pipeline_acls(user: str, topics: Topics) -> list[AclBinding]:
    """``user`` may make, read and write all topics of the namespace; without a namespace that is every topic."""
    name, prefixed = (topics.namespace, True) if topics.namespace else ("*", False)
    made = [_allow(user, ResourceType.TOPIC, name, operation, prefixed=prefixed) for operation in _PIPELINE]
    return made + [_allow(user, ResourceType.GROUP, "*", operation) for operation in _READER]


def grant(bootstrap: str, acls: list[AclBinding]) -> None:
    """Add ``acls`` to those that are there.

    Raises:
        KafkaException: the broker did not answer, has no authorizer, or we may not.
    """
    admin = AdminClient(client_config(bootstrap, {"log_level": 2}))
    for future in admin.create_acls(acls, request_timeout=ANSWER_S).values():
        future.result()


def _allow(
    user: str, kind: ResourceType, name: str, operation: AclOperation, *, prefixed: bool = False
) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
