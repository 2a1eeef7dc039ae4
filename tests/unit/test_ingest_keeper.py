"""What the keeper of the lease says when Kafka refuses it."""

import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.ingest import keeper
from services.ingest.keeper import LeaseKeeper


class DiedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "Kafka was made anew"),
        (KafkaError._UNKNOWN_TOPIC, "Kafka was made anew"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "the lease cannot be kept"),
    ],
)
def test_a_topic_that_is_gone_is_named_whoever_meets_it_first(
    code: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(said: str, **_: Any) -> None:
        raise DiedError(said)

    def turn() -> None:
        raise KafkaException(KafkaError(code))

    kept = LeaseKeeper.__new__(LeaseKeeper)  # without a broker
    kept._topic, kept._stopping = "ingest.lease", threading.Event()
    monkeypatch.setattr(kept, "_turn", turn)
    monkeypatch.setattr(keeper, "die", die)
    with pytest.raises(DiedError, match=reason):
        kept._run()
