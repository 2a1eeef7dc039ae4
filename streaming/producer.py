"""The producer every service writes with: idempotent, gapless, acks=all, and fatal on any failed delivery.

What a dead or paused writer left on a partition is therefore always a prefix of what it wanted to write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streaming.clienterrors import ClientErrors
from streaming.fatal import die
from streaming.kafkaclient import client_config

Headers = list[tuple[str, bytes]]
DeliveryCallback = Callable[[KafkaError | None, Message], None]
LINGER_MS: Final = 0.5
"""What one frame or one run gives is handed over within about this time: to wait longer would gain nothing."""


def exact_producer(
    bootstrap: str,
    *,
    linger_ms: float = LINGER_MS,
    name: str = "market",
    delivery_timeout_ms: int = 300_000,
) -> Producer:
    """A confluent-kafka producer with the settings that exactness rests on.

    A ``delivery_timeout_ms`` of 0 waits for ever: a record that times out is the one loss that
    ``enable.gapless.guarantee`` does not turn into the producer's end, so whoever does not ask about each record must
    have no such limit.
    """
    return Producer(
        client_config(
            bootstrap,
            {
                "client.id": name,
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "linger.ms": linger_ms,
                "batch.num.messages": 10_000,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 500_000,
                "queue.buffering.max.kbytes": 262_144,
                "compression.type": "lz4",
                "message.max.bytes": 4_000_000,
                "delivery.timeout.ms": delivery_timeout_ms,  # a broker may be away for minutes: its clients wait
                "log_level": 2,  # not librdkafka's own lines: many a second while the broker is away
                "error_cb": ClientErrors("producer"),
            },
        )
    )


def serve_deliveries(producer: Producer) -> None:
    """Have delivery callbacks called; a producer that has lost a record ends the process, asked about it or not."""
    try:
        producer.poll(0)
    except KafkaException as error:
        die("a record was not delivered", error=str(error))


def check_delivery(error: KafkaError | None, message: Message) -> None:
    """The delivery callback that ends the process on a failure: nothing may follow a hole."""
    if error is not None:
        die(
            "a record was not delivered",
            error=error.str(),
            topic=message.topic(),
            partition=message.partition(),
        )


def produce(  # noqa: PLR0917 - the order of confluent-kafka's own produce
    producer: Producer,
    topic: str,
    value: bytes,
    key: bytes | None,
    partition: int,
    headers: Headers | None = None,
    on_delivery: DeliveryCallback | None = check_delivery,
) -> None:
    """Queue one record; where the bounded queue is full, wait for deliveries instead of failing."""
    while True:
        try:
            producer.produce(topic, value, key, partition, on_delivery=on_delivery, headers=headers)
        except BufferError:
            producer.poll(0.05)
        else:
            return
