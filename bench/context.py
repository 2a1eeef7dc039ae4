"""What every measurement shares: servers, a folder of its own, the choices of the command line."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.kafka import Broker
from market.native import KafkaBroker, NativeError, PostgresServer, check_tools
from market.stack import Servers
from marketdata.topics import DEFAULT_INTERVALS, Topics, TopicSpec

PARTITIONS: Final = 6
SYMBOLS: Final = 200


class BenchError(RuntimeError):
    """A measurement that could not be made; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The command line's."""

    trades: int = 300_000
    runs: int = 3
    seconds: float = 20.0
    rates: tuple[int, ...] = (1_000, 5_000)
    burst: float = 1.0
    only: str | None = None
    partitions: int = PARTITIONS

    def wants(self, name: str) -> bool:
        """Whether this measurement is asked for."""
        return self.only in (None, name)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements run."""

    servers: Servers
    broker: Broker
    directory: Path
    choices: Choices
    namespace: str

    @property
    def topics(self) -> Topics:
        """Names of the topics under measurement."""
        return Topics(self.namespace)

    def specs(self, *names: str) -> list[TopicSpec]:
        """The topics of these names and the internal ones, or all of them, as the product creates them."""
        specs = self.topics.specs(self.broker.partitions, DEFAULT_INTERVALS)
        return [spec for spec in specs if not names or not spec.public or spec.name in names]


def say(text: str) -> None:
    """A line of progress, apart from the report on standard output."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def servers_of(directory: Path) -> Iterator[tuple[Servers, bool]]:
    """(the servers the environment names, False), or (a pair started in ``directory``, True).

    Raises:
        NativeError: they cannot be started.
    """
    bootstrap, dsn = os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), os.environ.get("POSTGRES_DSN")
    if bootstrap and dsn:
        yield Servers(bootstrap, dsn), False
        return
    if missing := check_tools():
        raise NativeError("\n".join(missing))
    postgres = PostgresServer(directory / "postgres")
    with _kafka(directory) as bootstrap:
        try:
            say("starting PostgreSQL")
            postgres.start()
            yield Servers(bootstrap, postgres.dsn), True
        finally:
            postgres.stop()
            shutil.rmtree(postgres.data_dir, ignore_errors=True)


@contextlib.contextmanager
def kafka_of(directory: Path) -> Iterator[tuple[Servers, bool]]:
    """The same where no database is needed: its DSN is empty."""
    if bootstrap := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield Servers(bootstrap, ""), False
        return
    with _kafka(directory) as bootstrap:
        yield Servers(bootstrap, ""), True


@contextlib.contextmanager
def _kafka(directory: Path) -> Iterator[str]:
    kafka = KafkaBroker(directory / "kafka")
    try:
        say("starting Kafka")
        kafka.start()
        yield kafka.bootstrap
    finally:
        kafka.stop()


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A folder that PostgreSQL's own account can enter too; removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="market-bench-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
