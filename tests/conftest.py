"""Fixtures for tests that need real services; each starts when the first test asks for it, once a session."""

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import structlog
from confluent_kafka.admin import AdminClient
from hypothesis import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.services import Services
from tests.topics import create_topics, delete_topics

# How long an example takes says more about the machine's load than about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

_SERVICES = pytest.StashKey[Services]()


class MakeTopics(Protocol):
    """The `topics` fixture: creates topics under the test's namespace and gives their full names."""

    def __call__(self, *names: str, partitions: int = 1, **config: str | int) -> list[str]: ...


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVICES] = Services()
    # As in the services: what a feed beside a command says must not stand in the command's answer.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def pytest_report_header() -> str:
    named = [name for name in ("TEST_KAFKA_BOOTSTRAP", "TEST_POSTGRES_DSN") if os.environ.get(name)]
    source = f"{', '.join(named)} from the environment" if named else "containers or native processes, when asked for"
    return f"services: {source}; SHARED_DATA: {os.environ.get('SHARED_DATA') or 'not set'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    services = config.stash[_SERVICES]
    parts = {"services": services.ran, "measured": services.measured, "not run": services.not_run}
    for title, lines in parts.items():
        if lines:
            terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests run in several processes (-n), each tells the first what it has started, measured and left out."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        services = session.config.stash[_SERVICES]
        output["ran"], output["measured"], output["not_run"] = services.ran, services.measured, services.not_run


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    services, output = node.config.stash[_SERVICES], getattr(node, "workeroutput", {})
    services.ran += output.get("ran", [])
    services.measured += output.get("measured", [])
    services.not_run += [line for line in output.get("not_run", []) if line not in services.not_run]


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVICES].close()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> str:
    """Bootstrap servers of a real Kafka."""
    return request.config.stash[_SERVICES].kafka()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> str:
    """URL of a real PostgreSQL where databases may be created; tests want `database`."""
    return request.config.stash[_SERVICES].postgres()


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """URL of an empty database of this test's own, dropped at its end."""
    name = f"test_{secrets.token_hex(6)}"  # not `random`: the tests seed that one alike in every run
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield _with_database(postgres, name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory for servers of a test's own, removed at its end.

    Use it in place of tmp_path, which is closed to the account that PostgreSQL runs under for root: the server would
    keep its data elsewhere, and it would stay there.
    """
    with tempfile.TemporaryDirectory(prefix="market-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def namespace() -> str:
    """A topic prefix no other test has, its dot included."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
def topics(kafka: str, namespace: str) -> Iterator[MakeTopics]:
    """A factory: `topics("trades.stocks", "ratios", partitions=6)` creates both and returns their full names.

    Records keep for ever (retention.ms -1), whatever event time they carry, unless `config` says otherwise, where
    an underscore stands for a dot (cleanup_policy="compact"). A name that has the prefix already is taken as it is.
    """
    admin = AdminClient({"bootstrap.servers": kafka})
    created: list[str] = []

    def make(*names: str, partitions: int = 1, **config: str | int) -> list[str]:
        full = [name if name.startswith(namespace) else namespace + name for name in names]
        settings = {"retention.ms": "-1"} | {key.replace("_", "."): str(value) for key, value in config.items()}
        create_topics(admin, full, partitions, settings)
        created.extend(full)
        return full

    yield make
    delete_topics(admin, created)


@pytest.fixture(scope="session")
def not_run(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Call it with what a test had to leave out and why: the terminal summary lists it."""
    lines = request.config.stash[_SERVICES].not_run

    def note(line: str) -> None:
        if line not in lines:
            lines.append(line)

    return note


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Call it with a figure that a test has seen: the terminal summary lists it, whether the test passes or not."""
    return request.config.stash[_SERVICES].measured.append


@pytest.fixture
def shared_data(request: pytest.FixtureRequest, not_run: Callable[[str], None]) -> Path | None:
    """The directory of recordings that SHARED_DATA names, or None: the test then runs the bundled sample instead.

    The terminal summary names each test that had to.
    """
    named = os.environ.get("SHARED_DATA")
    if not named:
        not_run(f"{request.node.nodeid} on the recordings of SHARED_DATA (not set): the bundled sample instead")
        return None
    path = Path(named).expanduser().absolute()
    if not path.is_dir():
        pytest.fail(f"SHARED_DATA names {path}, which is no directory", pytrace=False)
    return path


def _with_database(dsn: str, name: str) -> str:
    if "://" not in dsn:
        return make_conninfo(dsn, dbname=name)
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
