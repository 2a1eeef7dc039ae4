"""The Kafka side: the consumer's settings, its errors, and the ids of the log."""

from __future__ import annotations

import threading
from typing import Any

import structlog
from confluent_kafka import Consumer, Message, TopicCollection
from confluent_kafka.admin import AdminClient

from services.sink.patience import answer
from services.sink.positions import LogId
from streaming.clienterrors import ClientErrors
from streaming.kafkaclient import bounded_queue, client_config

TIMEOUT_S = 15.0
CLOSE_S = 2.0
log = structlog.stdlib.get_logger()


def make_consumer(bootstrap: str, group: str, wait_ms: int) -> Consumer:
    """A consumer that keeps no position of its own: the database has it.

    ``wait_ms``: how long the broker gathers records for one answer.
    """
    return Consumer(
        client_config(
            bootstrap,
            {
                "group.id": group,
                "client.id": "sink",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "range",  # one partition number of all topics goes to one sink
                "session.timeout.ms": 10_000,
                "heartbeat.interval.ms": 1_000,
                "max.poll.interval.ms": 300_000,
                "queued.min.messages": 20_000,
                **bounded_queue(16_384, refill_ms=20),
                # Each fetch names all of some two hundred partitions; the broker would answer at any one's record.
                "fetch.min.bytes": 262_144,
                "fetch.wait.max.ms": wait_ms,
                "topic.metadata.refresh.interval.ms": 10_000,
                "log_level": 2,  # not librdkafka's own lines: many a second while the broker is away
                "error_cb": ClientErrors("consumer"),
            },
        )
    )


_on_message_error = ClientErrors("consumer")


def close_soon(consumer: Consumer) -> None:
    """Leave the group, or, where Kafka is away, leave it to find out: the client alone would wait for it for long."""
    closing = threading.Thread(target=consumer.close, name="closing", daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    if closing.is_alive():
        log.info("left without a word to Kafka", reason="it does not answer")


def records_of(messages: list[Any]) -> list[Any]:
    """``messages`` without the errors among them, which are logged (a fatal one ends the process)."""
    if not any(map(Message.error, messages)):
        return messages
    for message in messages:
        if message.error() is not None:
            _on_message_error(message.error())
    return [message for message in messages if message.error() is None]


def read_log_id(bootstrap: str, topics: list[str], stop: threading.Event) -> LogId:
    """The ids of the cluster and of ``topics``.

    Raises:
        KafkaException: the broker did not answer, or a topic is gone.
        StoppedError: ``stop`` was set meanwhile.
    """
    admin = AdminClient(client_config(bootstrap))
    cluster = answer(admin.describe_cluster(request_timeout=TIMEOUT_S), stop).cluster_id
    described = admin.describe_topics(TopicCollection(sorted(set(topics))), request_timeout=TIMEOUT_S)
    return LogId(cluster, {name: _hex(answer(future, stop).topic_id) for name, future in described.items()})


def _hex(uuid: Any) -> str:
    high, low = uuid.get_most_significant_bits(), uuid.get_least_significant_bits()
    return f"{high & 2**64 - 1:016x}{low & 2**64 - 1:016x}"
