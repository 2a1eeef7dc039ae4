"""A Kafka with access control, TLS and passwords: ``pipeline`` runs services, ``reader`` reads the public topics."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from typer.testing import CliRunner

from market.cli import app
from market.native import KafkaBroker
from market.native.ports import choose_ports
from marketdata.topics import Topics, TopicSpec

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


@contextlib.contextmanager
def guarded_kafka(partitions: int, intervals: str, namespace: str = "") -> Iterator[Site]:
    """A broker with the users, topics and grants of that namespace; it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="market-test-") as name:
        folder = Path(name)
        certificate = _certificate(folder)
        password, tls = choose_ports(None, None)
        broker = KafkaBroker(folder / "kafka", choose_ports(None)[0], properties=_guarded(password, tls, folder))
        broker.start()
        try:
            env = {"PARTITIONS": str(partitions), "INTERVALS": intervals, "NAMESPACE": namespace}
            _prepare(broker.bootstrap, env)
            specs = Topics(namespace).specs(partitions, tuple(intervals.split(",")))
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


def _prepare(bootstrap: str, env: dict[str, str]) -> None:
    """Users, topics and grants, the latter two by the command that the documentation names."""
    secret = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    users = [UserScramCredentialUpsertion(user, secret, word.encode()) for user, word in PASSWORDS.items()]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.alter_user_scram_credentials(users).values():
        future.result(20)
    for arguments in (
        ["create"],
        ["grant", "reader", "--role", "reader"],
        ["grant", "pipeline", "--role", "pipeline"],
    ):
        done = CliRunner().invoke(app, ["topics", *arguments], env=env | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap})
        assert done.exit_code == 0, done.output
