"""The image is built and the compose file started, where a Docker engine answers and the images can be had."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from market.native import choose_port

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"
VERSION = "0.0.0"
IMAGE = f"market-pipeline:{VERSION}"
OURS = {"feed", "ingest", "ratio", "aggregator", "sink"}
ALL = {*OURS, "kafka", "database"}
UP_S = 600
READY_S = 10.0  # on a machine that has nothing else to do
PASSWORD = secrets.token_hex(8)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except DockerException:
        pytest.skip("not run: no Docker engine answers, so no image was built and compose was not started")
    with contextlib.closing(client):
        yield client


@pytest.fixture(scope="module")
def base(engine: Any) -> Any:
    return needed(engine, next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:4] == "ARG ")
                  .partition("=")[2])  # fmt: skip


@pytest.fixture(scope="module")
def image(engine: Any, base: Any) -> Iterator[Any]:
    built, _ = engine.images.build(path=str(ROOT), tag=IMAGE, rm=True, buildargs={"VERSION": VERSION})
    yield built
    engine.images.remove(IMAGE, force=True)


def needed(engine: Any, name: str) -> Any:
    from docker.errors import APIError, ImageNotFound

    try:
        return engine.images.get(name)
    except ImageNotFound:
        try:
            return engine.images.pull(name)
        except APIError as error:
            pytest.skip(f"not run: a Docker engine answers but cannot pull {name}: {str(error)[:200]}")


class Stack:
    """The compose file under a name and on ports of its own.

    `ready` is, once it is up, how many seconds after its start each container was healthy; `load` is how many
    processes waited for each processor before.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"market-test-{secrets.token_hex(4)}"
        self.port = choose_port()
        self.ready: dict[str, float] = {}
        self.load = os.getloadavg()[0] / (os.cpu_count() or 1)
        self._env = {**os.environ, "MARKET_VERSION": VERSION, "POSTGRES_PASSWORD": PASSWORD,
                     "GRAFANA_PASSWORD": "none",
                     "POSTGRES_PORT": str(self.port), "KAFKA_PORT": str(choose_port()),
                     "COMPOSE_PROFILES": "demo,candles"}  # fmt: skip
        (folder / "env").touch()
        self._command = [str(Path(sys.executable).parent / "docker-compose"), "--project-name", self.name, "--file",
                         str(COMPOSE), "--env-file", str(folder / "env")]  # fmt: skip

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
        return done.stdout

    def images(self) -> set[str]:
        return {service["image"] for service in json.loads(self("config", "--format", "json"))["services"].values()}


@pytest.fixture(scope="module")
def stack(engine: Any, image: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("compose"))
    for name in stack.images() - {IMAGE}:
        needed(engine, name)
    try:
        with the_events_of(engine, stack) as events:
            stack("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(UP_S))
            stack.ready = seconds_until_healthy(events)
        yield stack
    except AssertionError:
        print(stack("logs", "--no-color", "--tail", "15"))
        raise
    finally:
        stack("down", "--volumes", "--timeout", "20")


def the_events_of(engine: Any, stack: Stack) -> Any:
    """Starts and changes of health, as a stream: the engine itself keeps only the newest few hundred events."""
    wanted = {"label": f"com.docker.compose.project={stack.name}", "event": ["start", "health_status"]}
    events = engine.events(until=int(time.time()) + UP_S + 30, filters=wanted, decode=True)
    return contextlib.closing(events)


def seconds_until_healthy(events: Iterator[dict[str, Any]]) -> dict[str, float]:
    started: dict[str, int] = {}
    ready: dict[str, float] = {}
    for event in events:
        name = event["Actor"]["Attributes"]["com.docker.compose.service"]
        if event["Action"] == "start":
            started[name] = event["timeNano"]
        elif event["Action"] == "health_status: healthy":
            ready.setdefault(name, (event["timeNano"] - started[name]) / 1e9)
        if set(ready) == ALL:
            break
    return ready


def containers(engine: Any, stack: Stack) -> dict[str, Any]:
    found = engine.containers.list(all=True, filters={"label": f"com.docker.compose.project={stack.name}"})
    return {container.labels["com.docker.compose.service"]: container for container in found}


def test_the_image_is_small_and_says_what_it_is(image: Any, base: Any, measured: Callable[[str], None]) -> None:
    over = image.attrs["Size"] - base.attrs["Size"]
    measured(f"the image: {over / 1e6:.0f} MB over its base of {base.attrs['Size'] / 1e6:.0f} MB")
    assert over <= 250e6
    config = image.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/opt/market/bin/python", "-m"]
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "/opt/market/bin/python"]
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION


def test_compose_starts_works_is_locked_down_and_stops(
    engine: Any, stack: Stack, measured: Callable[[str], None]
) -> None:
    all_are_healthy(containers(engine, stack))
    each_is_ready_in_time(stack, measured)
    candles_reach_the_database(stack)
    for name in sorted(OURS):
        writes_only_where_it_must(containers(engine, stack)[name])
    stack("stop", "--timeout", "20", *sorted(OURS))
    for name in OURS:
        container = containers(engine, stack)[name]
        assert container.attrs["State"]["ExitCode"] == 0, f"{name}: {container.logs(tail=20)!r}"


def all_are_healthy(running: dict[str, Any]) -> None:
    assert set(running) == ALL
    for name, container in sorted(running.items()):
        assert container.attrs["State"]["Health"]["Status"] == "healthy", name
        assert container.attrs["RestartCount"] == 0, container.logs(tail=20)


def each_is_ready_in_time(stack: Stack, measured: Callable[[str], None]) -> None:
    """A machine with other work is allowed longer, by as much as its processors are shared."""
    figures = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(stack.ready.items()))
    measured(f"healthy after the start of its container: {figures}; {stack.load:.1f} processes a processor before")
    allowed = READY_S * max(1.0, stack.load)
    assert {name: stack.ready[name] for name in OURS if stack.ready[name] > allowed} == {}


def candles_reach_the_database(stack: Stack) -> None:
    with psycopg.connect(
        f"postgresql://market:{PASSWORD}@127.0.0.1:{stack.port}/market", autocommit=True
    ) as database:
        for table in ("ratio_ticks_live", "candles"):
            assert rows_of(database, table), f"no row reached {table}"


def rows_of(database: psycopg.Connection[Any], table: str) -> int:
    deadline = time.monotonic() + 120
    while True:
        found = database.execute(f"SELECT count(*) FROM {table}").fetchone()
        if (found is not None and found[0]) or time.monotonic() > deadline:
            return found[0] if found else 0
        time.sleep(0.5)


def writes_only_where_it_must(container: Any) -> None:
    script = "import os, sys; assert os.getuid() == 10001; open(sys.argv[1], 'w')"
    for folder in ("/", "/opt/market", "/etc", "/usr/local"):
        status, said = container.exec_run(["/opt/market/bin/python", "-c", script, f"{folder}/written"])
        assert status != 0, folder
        assert b"Read-only file system" in said or b"Permission denied" in said, said
    assert container.exec_run(["/opt/market/bin/python", "-c", script, "/tmp/written"])[0] == 0  # noqa: S108
