"""The log's offsets, asked while another process has its topics made."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from services.ingest import follow

PLACE = ("trades.stocks", 0)


class Admin:
    """Answers with each of ``errors`` first."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def list_offsets(self, wanted: dict[TopicPartition, Any], request_timeout: float) -> dict[TopicPartition, Any]:
        future: Future[Any] = Future()
        if self.errors:
            future.set_exception(KafkaException(KafkaError(self.errors.pop(0))))
        else:
            future.set_result(SimpleNamespace(offset=7, timestamp=1_000))
        return dict.fromkeys(wanted, future)


def test_a_partition_that_is_still_being_placed_is_asked_again() -> None:
    admin: Any = Admin(KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.NOT_LEADER_FOR_PARTITION)
    assert follow._offsets(admin, [PLACE], None) == {PLACE: (7, 1_000)}


def test_one_that_is_never_placed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PLACED_S", 0.0)
    admin: Any = Admin(*[KafkaError.NOT_LEADER_FOR_PARTITION] * 3)
    with pytest.raises(KafkaException):
        follow._offsets(admin, [PLACE], None)


def test_another_error_is_not_waited_out() -> None:
    admin: Any = Admin(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        follow._offsets(admin, [PLACE], None)
    assert not admin.errors
