"""TLS and passwords reach every client of Kafka and of the database, and contradictions are refused."""

import socket
import threading
from pathlib import Path

import psycopg
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import ValidationError

from services.ingest.settings import IngestSettings
from streaming.kafkaclient import client_config, faust_credentials, security_config
from streaming.settings import KafkaSecurity

ROOT = Path(__file__).parents[2]
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_USERNAME": "ratio", "KAFKA_SASL_PASSWORD": "hidden"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in KafkaSecurity.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def set_all(environment: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


def test_plaintext_adds_nothing(environment: pytest.MonkeyPatch) -> None:
    assert client_config("k:1", {"group.id": "g"}) == {"bootstrap.servers": "k:1", "group.id": "g"}
    assert faust_credentials(KafkaSecurity()) is None


def test_user_and_password_reach_both_client_libraries(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, **SASL, KAFKA_SASL_MECHANISM="SCRAM-SHA-256")
    assert client_config("k:1") == {
        "bootstrap.servers": "k:1",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "ratio",
        "sasl.password": "hidden",
    }
    told = credentials_to_aiokafka_auth(faust_credentials(KafkaSecurity()))
    assert (told["security_protocol"], told["sasl_mechanism"]) == ("SASL_PLAINTEXT", "SCRAM-SHA-256")
    assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("ratio", "hidden")
    assert told["ssl_context"] is None


def test_tls_checks_the_brokers_name(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, **SASL | {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
    told = credentials_to_aiokafka_auth(faust_credentials(KafkaSecurity()))
    assert told["security_protocol"] == "SASL_SSL"
    assert told["ssl_context"].check_hostname


def test_tls_without_a_password(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, KAFKA_SECURITY_PROTOCOL="SSL")
    told = credentials_to_aiokafka_auth(faust_credentials(KafkaSecurity()))
    assert told["security_protocol"] == "SSL"
    assert security_config(KafkaSecurity()) == {"security.protocol": "SSL"}


def test_the_files_of_tls_are_named(environment: pytest.MonkeyPatch) -> None:
    values = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA": "/ca.pem",
        "KAFKA_SSL_CERT": "/us.pem",
        "KAFKA_SSL_KEY": "/us.key",
        "KAFKA_SSL_KEY_PASSWORD": "hidden",
    }
    set_all(environment, **values)
    assert security_config(KafkaSecurity()) == {
        "security.protocol": "SSL",
        "ssl.ca.location": "/ca.pem",
        "ssl.certificate.location": "/us.pem",
        "ssl.key.location": "/us.key",
        "ssl.key.password": "hidden",
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_SASL_USERNAME"),
        (SASL | {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "would not use it"),
        ({"KAFKA_SSL_CA": "/ca.pem"}, "without TLS"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT": "/us.pem"}, "belong together"),
    ],
)
def test_half_a_setting_is_refused(environment: pytest.MonkeyPatch, values: dict[str, str], said: str) -> None:
    set_all(environment, **values)
    with pytest.raises(ValidationError, match=said) as refused:
        client_config("k:1")
    assert "hidden" not in str(refused.value)


def test_a_services_settings_have_them_and_hide_the_password(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, **SASL)
    settings = IngestSettings()
    assert settings.uses_sasl
    assert "hidden" not in repr(settings)


def test_no_client_is_made_past_the_one_place() -> None:
    own = {
        ROOT / "streaming" / "kafkaclient.py",
        ROOT / "market" / "native" / "kafka.py",
    }  # the latter starts its broker
    for package in ("streaming", "services", "market"):
        for path in (ROOT / package).rglob("*.py"):
            assert path in own or "bootstrap.servers" not in path.read_text(), path


@pytest.mark.parametrize("way", ["dsn", "environment"])
def test_the_database_is_not_entered_without_the_tls_that_was_asked_for(
    way: str, environment: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_refuse_tls, args=[server], daemon=True).start()
        dsn = f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/market?gssencmode=disable"
        if way == "dsn":
            dsn += "&sslmode=require"
        else:
            environment.setenv("PGSSLMODE", "require")
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            psycopg.connect(dsn, connect_timeout=10)


def _refuse_tls(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(8)  # PostgreSQL's SSLRequest
        connection.sendall(b"N")
        connection.recv(1)
