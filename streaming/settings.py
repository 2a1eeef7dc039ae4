"""Settings that every service shares, read from environment variables (table: docs/configuration.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from marketdata.topics import Topics


def comma_list(value: object) -> object:
    """``a, b,c`` as a tuple; anything but a string as it is (for a before-validator)."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_list)]
"""A setting written as ``a,b,c``."""


FetchWait = Annotated[int, Field(ge=1, le=1_000, description="how long fetching waits for more")]
"""In ms; each service that reads has its own default."""


class KafkaSecurity(BaseSettings):
    """How a client of Kafka proves who it is, and whom it believes; the files are PEM."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # it may be a password
    )

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca: Path | None = Field(None, description="whose certificates are believed; default: the system's")
    kafka_ssl_cert: Path | None = Field(None, description="our own certificate, where the broker asks for one")
    kafka_ssl_key: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and a password are sent."""
        return self.kafka_security_protocol.startswith("SASL")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted and the broker's name checked."""
        return self.kafka_security_protocol.endswith("SSL")

    @model_validator(mode="after")
    def _security_is_whole(self) -> Self:
        known = self.kafka_sasl_username and self.kafka_sasl_password
        if self.uses_sasl and not known:
            raise ValueError(
                f"{self.kafka_security_protocol} for Kafka needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        if not self.uses_sasl and (self.kafka_sasl_username or self.kafka_sasl_password):
            raise ValueError("a user or password for Kafka is set, but KAFKA_SECURITY_PROTOCOL would not use it")
        if not self.uses_tls and (self.kafka_ssl_ca or self.kafka_ssl_cert or self.kafka_ssl_key):
            raise ValueError("KAFKA_SSL_* is set, but KAFKA_SECURITY_PROTOCOL is without TLS")
        if (self.kafka_ssl_cert is None) != (self.kafka_ssl_key is None):
            raise ValueError("KAFKA_SSL_CERT and KAFKA_SSL_KEY belong together")
        return self


class ServiceSettings(KafkaSecurity):
    """What each service needs to reach Kafka, to log and to be watched."""

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    namespace: str = Field("", pattern=r"^([A-Za-z0-9._-]+\.)?$", description="prefix of topics and groups")
    partitions: int = Field(6, ge=1, le=4096, description="partitions of every topic keyed by symbol")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    session_timeout_s: float = Field(6.0, ge=6.0, description="after it a silent worker loses its partitions")
    stall_timeout_s: float = Field(60.0, ge=5, description="a position that stands still this long ends the process")
    fetch_wait_ms: FetchWait = 8
    snapshot_every_s: float = Field(5.0, ge=0, description="how often state is stored; 0 = never, all is read again")
    dead_letter_share: float = Field(0.5, gt=0, le=1, description="unreadable among the last 1,000 records at most")
    tracing_sample_rate: float = Field(0, ge=0, le=1, description="share of trades traced, socket to row")
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535, description="/metrics and /health; 0 takes any free port")

    @property
    def topics(self) -> Topics:
        """Topic names of this namespace."""
        return Topics(self.namespace)

    def group(self, name: str) -> str:
        """The consumer group of ``name`` in this namespace."""
        return f"{self.namespace}{name}"
