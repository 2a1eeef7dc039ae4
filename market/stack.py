"""The whole stack on one machine as processes: Kafka, PostgreSQL, the feed and the services."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from market.native import Child, KafkaBroker, NativeError, PostgresServer, check_tools, choose_ports
from marketdata.topics import DEFAULT_INTERVALS, Topics
from streaming.admin import ensure_topics

METRICS_PORTS: Final = {"ingest": 9101, "ratio": 9102, "aggregator": 9103, "sink": 9104}
FEED_PORTS: Final = (8765, 8766)
START_ORDER: Final = ("sink", "aggregator", "ratio", "ingest")
HEALTH_TIMEOUT_S: Final = 120.0
Say = Callable[[str], None]


class StackError(RuntimeError):
    """The stack cannot start or go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where Kafka and PostgreSQL are."""

    bootstrap: str
    dsn: str


@dataclass(slots=True)
class Options:
    """What to run. ``environment`` is added to every service's, ``workers`` is the number of processes a stage."""

    data_dir: Path
    namespace: str = ""
    schema: str = "public"
    partitions: int = 6
    workers: int = 1
    feed: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> Topics:
        """Topic names of this run."""
        return Topics(self.namespace)


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock: two brokers on one folder would spoil it.

    Raises:
        StackError: another stack runs on it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(f"another stack runs on {data_dir}: stop it first (Ctrl-C where it runs)") from error
        yield


class ServerPair:
    """Kafka and PostgreSQL, started side by side; what is found in the state file can be used by others."""

    def __init__(self, data_dir: Path) -> None:
        self._state = data_dir / "servers.json"
        self.kafka = KafkaBroker(data_dir / "kafka")
        self.postgres = PostgresServer(data_dir / "postgres")

    def start(self, say: Say) -> Servers:
        """Start both; the first time on a machine this fetches the broker's jars."""
        if missing := check_tools():
            raise StackError("\n".join(missing))
        say("starting Kafka and PostgreSQL (the first time fetches the broker, about 44 MB)")
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(self.kafka.start), pool.submit(self.postgres.start)]:
                started.result()
        servers = Servers(self.kafka.bootstrap, self.postgres.dsn)
        self._state.write_text(json.dumps({"bootstrap": servers.bootstrap, "dsn": servers.dsn}))
        return servers

    def stop(self) -> None:
        """Shut both down; their data stays."""
        self._state.unlink(missing_ok=True)
        with ThreadPoolExecutor(2) as pool:
            for stopped in [pool.submit(self.kafka.stop), pool.submit(self.postgres.stop)]:
                stopped.result()


def running_servers(data_dir: Path) -> Servers | None:
    """The servers of a stack that runs on this data folder, if one does."""
    try:
        found = json.loads((data_dir / "servers.json").read_text())
    except (OSError, ValueError):
        return None
    return Servers(found["bootstrap"], found["dsn"])


class Services:
    """The services of one namespace, and the feed if one is wanted."""

    def __init__(self, options: Options, servers: Servers, say: Say) -> None:
        self._options = options
        self._servers = servers
        self._say = say
        self._children: list[Child] = []
        self.metrics: dict[str, int] = {}
        self.feed_url: str | None = None
        self.rest_url = ""

    def start(self) -> None:
        """Create the topics, then start the feed and every service."""
        options = self._options
        intervals = tuple(options.environment.get("INTERVALS", ",".join(DEFAULT_INTERVALS)).split(","))
        ensure_topics(self._servers.bootstrap, options.topics.specs(options.partitions, intervals))
        if options.feed:
            self._start_feed()
        names = [(name, k) for name in START_ORDER for k in range(options.workers if name != "ingest" else 1)]
        ports = choose_ports(*(METRICS_PORTS[name] if k == 0 else None for name, k in names))
        for (name, k), port in zip(names, ports, strict=True):
            self.metrics[name if k == 0 else f"{name}-{k + 1}"] = port
            self._start_service(name, k, port)

    def wait_healthy(self, timeout: float = HEALTH_TIMEOUT_S) -> None:
        """Wait (seconds) until every service reports progress; ingest of files may be done sooner."""
        deadline = time.monotonic() + timeout
        for name, port in self.metrics.items():
            while not self._healthy(name, port):
                self.check()
                if time.monotonic() > deadline:
                    raise StackError(f"{name} is not healthy after {timeout:.0f} s; see {self._log(name)}")
                time.sleep(0.1)

    def check(self) -> None:
        """Raise StackError if a service has ended with an error."""
        for child in self._children:
            if child.popen.poll() not in (None, 0):
                raise StackError(str(child.died()))

    def finished(self, name: str) -> bool:
        """Whether the one process of ``name`` has ended well."""
        self.check()
        return next(child for child in self._children if child.name == name).popen.poll() == 0

    def stop(self) -> None:
        """Ask all to finish what is in hand, source first; kill what does not within 12 s."""
        for child in reversed(self._children):
            if child.running:
                child.popen.terminate()
        for child in reversed(self._children):
            child.stop(timeout=12)
        self._children.clear()

    def _healthy(self, name: str, port: int) -> bool:
        child = next(child for child in self._children if child.name == name)
        return child.popen.poll() == 0 or get_health(port)[0]

    def _log(self, name: str) -> Path:
        return self._options.data_dir / "logs" / f"{self._options.namespace}{name}.log"

    def _start_service(self, name: str, k: int, port: int) -> None:
        label = name if k == 0 else f"{name}-{k + 1}"
        env = self._environment() | {"METRICS_PORT": str(port)}
        child = Child.start(label, [sys.executable, "-m", f"services.{name}"], self._log(label), env=env)
        self._children.append(child)

    def _environment(self) -> dict[str, str]:
        options = self._options
        env = {
            "KAFKA_BOOTSTRAP_SERVERS": self._servers.bootstrap,
            "POSTGRES_DSN": self._servers.dsn,
            "NAMESPACE": options.namespace,
            "DATABASE_SCHEMA": options.schema,
            "PARTITIONS": str(options.partitions),
            "LOG_FORMAT": "json",
        }
        if self.feed_url:
            env |= {"STOCKS_URL": f"{self.feed_url}/stocks", "CRYPTO_URL": f"{self.feed_url}/crypto"}
            env["REST_URL"] = self.rest_url
        return env | options.environment

    def _start_feed(self) -> None:
        ws, rest = choose_ports(*FEED_PORTS)
        command = [sys.executable, "-m", "feed", "--ws-port", str(ws), "--rest-port", str(rest)]
        child = Child.start("feed", command, self._log("feed"))
        self._children.append(child)
        child.wait_until(lambda: get_health(rest)[0], 30)
        self.feed_url, self.rest_url = f"ws://127.0.0.1:{ws}", f"http://127.0.0.1:{rest}"


def get_health(port: int) -> tuple[bool, Mapping[str, Any]]:
    """(healthy, the report) of the service whose /health is on ``port``; unhealthy where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return True, json.load(answer)
    except urllib.error.HTTPError as error:
        return False, json.load(error)
    except (OSError, ValueError):
        return False, {}


def real_feed_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a key is set and no dry run asked for: then the vendor's feed is read, else the bundled one."""
    dry = environment.get("DRY_RUN", "").lower() in ("1", "true", "yes")
    return bool(environment.get("POLYGON_API_KEY")) and not dry


__all__ = ["NativeError", "Options", "ServerPair", "Servers", "Services", "StackError", "get_health", "only_one"]
