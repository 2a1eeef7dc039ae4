"""Settings that every service shares, read from environment variables (table: docs/configuration.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from marketdata.topics import Topics


def comma_list(value: object) -> object:
    """``a, b,c`` as a tuple; anything but a string as it is (for a before-validator)."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_list)]
"""A setting written as ``a,b,c``."""


class ServiceSettings(BaseSettings):
    """What each service needs to reach Kafka, to log and to be watched."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    namespace: str = Field("", pattern=r"^([A-Za-z0-9._-]+\.)?$", description="prefix of topics and groups")
    partitions: int = Field(6, ge=1, le=4096, description="partitions of every topic keyed by symbol")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    session_timeout_s: float = Field(6.0, ge=6.0, description="after it a silent worker loses its partitions")
    stall_timeout_s: float = Field(60.0, ge=5, description="a position that stands still this long ends the process")
    snapshot_every_s: float = Field(5.0, ge=0, description="how often state is stored; 0 = never, all is read again")
    dead_letter_share: float = Field(0.5, gt=0, le=1, description="unreadable among the last 1,000 records at most")
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535, description="/metrics and /health; 0 takes any free port")

    @property
    def topics(self) -> Topics:
        """Topic names of this namespace."""
        return Topics(self.namespace)

    def group(self, name: str) -> str:
        """The consumer group of ``name`` in this namespace."""
        return f"{self.namespace}{name}"
