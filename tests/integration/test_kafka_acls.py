"""A Kafka with access control: a reader reads the public topics, nothing else; services use TLS and a password."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from typer.testing import CliRunner

from market.cli import app
from market.native import KafkaBroker
from market.native.ports import choose_ports
from marketdata.topics import Topics, TopicSpec
from tests.support.logs import BTC, T0, LogBuilder, write
from tests.support.topics import read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 2
INTERVALS = "500ms,1s"
MECHANISM = "SCRAM-SHA-512"
PASSWORDS = {"reader": "of the reader", "pipeline": "of the pipeline"}
JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Site(NamedTuple):
    """Where the broker listens: ``open`` for its owner alone, the others ask for a password, ``tls`` is encrypted."""

    open: str
    password: str
    tls: str
    ca: Path
    specs: list[TopicSpec]

    def client(self, user: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.password,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": PASSWORDS[user],
            "log_level": 0,
        } | (more or {})


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="market-test-") as name:
        folder = Path(name)
        certificate = _certificate(folder)
        password, tls = choose_ports(None, None)
        broker = KafkaBroker(folder / "kafka", choose_ports(None)[0], properties=_guarded(password, tls, folder))
        broker.start()
        try:
            specs = Topics().specs(PARTITIONS, tuple(INTERVALS.split(",")))
            _prepare(broker.bootstrap)
            yield Site(broker.bootstrap, f"127.0.0.1:{password}", f"127.0.0.1:{tls}", certificate, specs)
        finally:
            broker.stop()


def _guarded(password: int, tls: int, folder: Path) -> dict[str, str]:
    listeners = f"SASL_PLAINTEXT://127.0.0.1:{password},SASL_SSL://127.0.0.1:{tls}"
    return {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        "sasl.enabled.mechanisms": MECHANISM,
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": JAAS,
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": JAAS,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority; the broker's file holds the key too."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    (folder / "broker.pem").write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    return folder / "ca.pem"


def _prepare(bootstrap: str) -> None:
    """Users, topics and grants, the latter two by the command that the documentation names."""
    secret = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    users = [UserScramCredentialUpsertion(user, secret, word.encode()) for user, word in PASSWORDS.items()]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.alter_user_scram_credentials(users).values():
        future.result(20)
    env = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PARTITIONS": str(PARTITIONS), "INTERVALS": INTERVALS}
    for arguments in (
        ["create"],
        ["grant", "reader", "--role", "reader"],
        ["grant", "pipeline", "--role", "pipeline"],
    ):
        done = CliRunner().invoke(app, ["topics", *arguments], env=env)
        assert done.exit_code == 0, done.output


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
