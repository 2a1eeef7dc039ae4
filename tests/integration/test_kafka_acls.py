"""A Kafka with access control: a reader reads the public topics, nothing else; services use TLS and a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.guarded import PASSWORDS, Site, guarded_kafka
from tests.support.logs import BTC, T0, LogBuilder, write
from tests.support.topics import read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 2
INTERVALS = "500ms,1s"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with guarded_kafka(PARTITIONS, INTERVALS) as made:
        yield made


def test_the_pipeline_works_by_tls_and_password_and_the_reader_reads_the_public_topics(
    site: Site, tmp_path: Path
) -> None:
    log = LogBuilder(PARTITIONS)
    log.crypto(BTC, T0, 50_000.0, "b")
    log.stock("MARA", T0 + 1_000, 10.0, "a")
    log.clock(T0 + 50_000)
    write(site.open, "", log.entries)
    security = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "pipeline", "KAFKA_SSL_CA": str(site.ca),
        "KAFKA_SASL_PASSWORD": PASSWORDS["pipeline"], "PARTITIONS": str(PARTITIONS),
    }  # fmt: skip
    with Worker("services.ratio", site.tls, "", tmp_path / "ratio.log", **security) as ratio:
        ratio.wait_for("partitions assigned")
        eventually(lambda: any(read_topic(site.open, "ratios")), lambda: f"a ratio\n{ratio.output()}")
        assert PASSWORDS["pipeline"] not in ratio.output()
    public = {spec.name for spec in site.specs if spec.public}
    reader = Consumer(site.client("reader", {"group.id": "reader-1", "auto.offset.reset": "earliest"}))
    try:
        seen = set(reader.list_topics(timeout=20).topics)
        assert seen == public
        for spec in site.specs:
            if spec.public:
                assert reader.get_watermark_offsets(TopicPartition(spec.name, 0), timeout=20)[0] == 0
        reader.subscribe(["ratios", "trades.stocks"])
        topics: set[str] = set()
        eventually(lambda: _note(reader, topics) or topics == {"ratios", "trades.stocks"}, lambda: f"only {topics}")
    finally:
        reader.close()


def test_the_reader_may_do_nothing_else(site: Site) -> None:
    admin = AdminClient(site.client("reader"))
    for spec in site.specs:
        if not spec.public:
            found = admin.list_topics(spec.name, timeout=20).topics[spec.name]
            assert found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, spec.name
            assert not found.partitions
    assert _refusal_to_read(site, "ratio.state", "reader-2") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert _refusal_to_read(site, "ratios", "sink") == KafkaError.GROUP_AUTHORIZATION_FAILED
    refused: list[KafkaError] = []
    producer = Producer(site.client("reader"))
    for topic in ("ratios", "trades.stocks", "ingest.lease", "ratio.state"):
        producer.produce(topic, b"{}", on_delivery=lambda error, _: refused.append(error))
    producer.flush(20)
    assert [error.code() for error in refused] == [KafkaError.TOPIC_AUTHORIZATION_FAILED] * 4
    for futures in (admin.create_topics([NewTopic("mine", 1, 1)]), admin.delete_topics(["ratios"])):
        for future in futures.values():
            with pytest.raises(KafkaException) as error:
                future.result(20)
            assert error.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_wrong_password_is_not_let_in(site: Site) -> None:
    errors: list[KafkaError] = []
    wrong = AdminClient(site.client("reader", {"sasl.password": "another", "error_cb": errors.append}))
    with pytest.raises(KafkaException):
        wrong.list_topics(timeout=3)
    eventually(lambda: wrong.poll(0.1) or errors, "word of the wrong password", 20)
    assert KafkaError._AUTHENTICATION in {error.code() for error in errors}


def _note(reader: Consumer, topics: set[str]) -> None:
    message = reader.poll(0.2)
    if message is not None:
        assert message.error() is None, message.error()
        topics.add(message.topic() or "")


def _refusal_to_read(site: Site, topic: str, group: str) -> int | None:
    """The code of the error that a consumer is given."""
    consumer = Consumer(site.client("reader", {"group.id": group, "auto.offset.reset": "earliest"}))
    try:
        consumer.subscribe([topic])
        error = eventually(lambda: consumer.poll(0.2), f"an error for {topic}", 30).error()
        return None if error is None else int(error.code())
    finally:
        consumer.close()
