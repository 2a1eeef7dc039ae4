"""How every Kafka client is told to connect: one place for servers, TLS and passwords."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from streaming.settings import KafkaSecurity


def client_config(bootstrap: str, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings for a confluent-kafka client: ``own`` with the servers and what KAFKA_* says of security.

    Raises:
        pydantic.ValidationError: the KAFKA_* variables contradict each other.
    """
    return {"bootstrap.servers": bootstrap} | security_config(KafkaSecurity()) | dict(own or {})


def bounded_queue(kbytes: int, refill_ms: int = 5) -> dict[str, int]:
    """A consumer's settings for a queue of at most ``kbytes``, asked for more ``refill_ms`` after it was found full.

    The two belong together: by itself librdkafka waits a second whenever the queue is full.
    """
    return {"queued.max.messages.kbytes": kbytes, "fetch.queue.backoff.ms": refill_ms}


def security_config(security: KafkaSecurity) -> dict[str, str]:
    """The same for librdkafka; nothing for PLAINTEXT, its default."""
    if security.kafka_security_protocol == "PLAINTEXT":
        return {}
    config: dict[str, str] = {"security.protocol": security.kafka_security_protocol}
    if security.uses_sasl:
        config |= {
            "sasl.mechanism": security.kafka_sasl_mechanism,
            "sasl.username": security.kafka_sasl_username,
            "sasl.password": _shown(security.kafka_sasl_password),
        }
    if security.uses_tls:
        files = {
            "ssl.ca.location": security.kafka_ssl_ca,
            "ssl.certificate.location": security.kafka_ssl_cert,
            "ssl.key.location": security.kafka_ssl_key,
        }
        config |= {name: str(path) for name, path in files.items() if path is not None}
        if security.kafka_ssl_key_password is not None:
            config["ssl.key.password"] = _shown(security.kafka_ssl_key_password)
    return config


def faust_credentials(security: KafkaSecurity) -> Any:
    """The same for Faust, which reads through aiokafka; None for PLAINTEXT."""
    import faust

    context = _context(security) if security.uses_tls else None
    if security.uses_sasl:
        return faust.SASLCredentials(
            username=security.kafka_sasl_username,
            password=_shown(security.kafka_sasl_password),
            ssl_context=context,
            mechanism=security.kafka_sasl_mechanism,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _context(security: KafkaSecurity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=security.kafka_ssl_ca)
    if security.kafka_ssl_cert is not None:
        password = _shown(security.kafka_ssl_key_password) or None
        context.load_cert_chain(security.kafka_ssl_cert, security.kafka_ssl_key, password)
    return context


def _shown(secret: Any) -> str:
    return "" if secret is None else str(secret.get_secret_value())
