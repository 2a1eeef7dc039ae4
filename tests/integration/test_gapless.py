"""What the stages' producer promises, on a real broker: after a lost record none is delivered to that partition.

Of many records only the last is asked about, see streaming.emitter.Ticket.
"""

import contextlib
import random
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import AdminClient, NewTopic

from streaming.producer import exact_producer
from tests.support.topics import read_messages

pytestmark = pytest.mark.integration
TOO_LARGE = random.Random(1).randbytes(5_000)


@pytest.mark.parametrize("soon", [True, False], ids=["in one batch", "in a later one"])
def test_no_record_follows_one_that_the_broker_refused(kafka: str, *, soon: bool) -> None:
    admin, topic = AdminClient({"bootstrap.servers": kafka}), f"gapless-{uuid4().hex}"
    admin.create_topics([NewTopic(topic, 1, config={"max.message.bytes": "1000"})])[topic].result(30)
    try:
        delivered: list[bytes | None] = []

        def told(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered.append(message.value())

        producer = exact_producer(kafka, linger_ms=100 if soon else 0, delivery_timeout_ms=0)
        producer.produce(topic, b"before", on_delivery=told)
        producer.flush(30)
        with contextlib.suppress(KafkaException):
            producer.produce(topic, TOO_LARGE)  # nobody asks about it
            if not soon:
                producer.flush(30)
            producer.produce(topic, b"after", on_delivery=told)
        with contextlib.suppress(KafkaException):
            producer.flush(30)
        with pytest.raises(KafkaException) as raised:
            producer.produce(topic, b"much later")
        assert raised.value.args[0].code() == KafkaError._FATAL
        assert delivered == [b"before"]
        assert [[message.value() for message in one] for one in read_messages(kafka, topic)] == [[b"before"]]
    finally:
        admin.delete_topics([topic])[topic].result(30)
