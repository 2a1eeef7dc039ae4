"""Where the fixtures' services come from, and that a run says so."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from testcontainers.core.config import testcontainers_config

from tests.services import POSTGRES_IMAGE, Services

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


class EngineWithoutImages(BaseHTTPRequestHandler):
    """A Docker engine that answers and has no way to pull an image; its `asked` are the paths of the questions."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        known = {"_ping": "OK", "version": {"ApiVersion": "1.44", "MinAPIVersion": "1.24"}, "info": {}}
        answer = known.get(self.path.rsplit("/", 1)[-1])
        self._answer(404 if answer is None else 200, answer or {"message": "No such image"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(500, {"message": "the registry cannot be reached"})

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), EngineWithoutImages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    for name in ("TEST_KAFKA_BOOTSTRAP", "TEST_POSTGRES_DSN", "TEST_KAFKA_IMAGE", "TEST_POSTGRES_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    services = Services()
    yield services
    services.close()


def test_services_named_in_the_environment_are_used(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KAFKA_BOOTSTRAP", "named:9092")
    monkeypatch.setenv("TEST_POSTGRES_DSN", "postgresql://named/x")
    assert (services.kafka(), services.postgres()) == ("named:9092", "postgresql://named/x")
    assert services.ran == ["Kafka: from TEST_KAFKA_BOOTSTRAP", "PostgreSQL: from TEST_POSTGRES_DSN"]


def test_an_engine_that_cannot_pull_gives_way_to_native_processes(
    services: Services, engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine)
    monkeypatch.setenv("TEST_KAFKA_IMAGE", "mirror.example/kafka:1")
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)  # it would be the first to be asked for
    with psycopg.connect(services.postgres()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert AdminClient({"bootstrap.servers": services.kafka()}).list_topics(timeout=10).brokers
    printed = capsys.readouterr().out
    for name in ("PostgreSQL", "Kafka"):
        assert f"{name}: a Docker engine answers but the container did not start:" in printed
    assert [line.split(" (")[0] for line in services.ran if "a native process" in line][
        -1
    ] == "Kafka: a native process"
    assert len(services.ran) == 4
    images = [path.partition("/images/")[2].removesuffix("/json") for path in EngineWithoutImages.asked]
    assert [name for name in images if name] == [POSTGRES_IMAGE, "mirror.example/kafka:1"]


SUITE = """
import psycopg

def test_a(database, shared_data, not_run, measured):
    assert shared_data is None
    not_run("the thing that needs a licence")
    measured("the thing weighs 3 g")
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE t ()")
    print("DATABASE", database)

def test_b(database):
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 't'").fetchone() == (0,)
    print("DATABASE", database)
"""


def test_a_run_has_a_database_a_test_and_says_what_ran_and_what_not(postgres: str, tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    env = {**os.environ, "TEST_POSTGRES_DSN": postgres, "PYTHONPATH": str(ROOT)}
    env.pop("SHARED_DATA", None)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "tests.conftest", "-c", os.devnull, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PostgreSQL: from TEST_POSTGRES_DSN" in done.stdout
    assert re.search(r"= measured =+\nthe thing weighs 3 g\n", done.stdout)
    not_run = done.stdout.split("not run")[1]
    assert "the thing that needs a licence" in not_run
    assert re.search(r"test_suite.py::test_a on the recordings of SHARED_DATA \(not set\)", not_run)
    used = re.findall(r"DATABASE \S+/(test_\w+)", done.stdout)
    assert len(set(used)) == 2
    with psycopg.connect(postgres) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname = ANY(%s)", [used]).fetchall()
    assert left == []
