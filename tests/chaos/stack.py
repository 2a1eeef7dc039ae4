"""The stack under chaos: every process under a supervisor that starts it again when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition

from feed.symbols import DEFAULT_SYMBOLS, is_pair, symbol_list
from market.native import Child, KafkaBroker, PostgresServer, choose_port, choose_ports
from market.stack import get_health
from marketdata.topics import MARKETS, Topics
from streaming.admin import ensure_topics

PARTITIONS: Final = 6
SYMBOLS: Final = 40
NAMESPACE: Final = "chaos."
SCHEMA: Final = "chaos"
RESTART_S: Final = 0.3
WORKERS: Final = {"ingest": 2, "ratio": 2, "aggregator": 2, "sink": 2}
ROOT: Final = Path(__file__).parents[2]


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


@dataclass(eq=False)
class Supervised:
    """One worker of a service, started again whenever it ends."""

    service: str
    label: str
    log: Path
    env: dict[str, str]
    port: int = field(default_factory=choose_port)
    deaths: list[int] = field(default_factory=list)
    _child: Child | None = None
    _stopping: bool = False
    _paused: bool = False

    def start(self) -> None:
        env = self.env | {"METRICS_PORT": str(self.port)}
        self._child = Child.start(self.label, [sys.executable, "-m", f"services.{self.service}"], self.log, env=env,
                                  cwd=ROOT, death_signal=signal.SIGKILL)  # fmt: skip

    def look(self) -> None:
        """Start it again if it has ended."""
        child = self._child
        if child is None or self._stopping or (code := child.popen.poll()) is None:
            return
        self.deaths.append(code)
        if code != -signal.SIGKILL:
            last = child.output().rstrip().splitlines()[-1:] or [""]
            say(f"    {self.label} ended with {code}: {last[0][:220]}")
        time.sleep(RESTART_S)
        self.start()

    @property
    def healthy(self) -> bool:
        """What its readiness probe would say."""
        return get_health(self.port)[0]

    @property
    def holds_lease(self) -> bool:
        """Of an ingest: whether it is the one that writes."""
        return '"role": "holder"' in json.dumps(get_health(self.port)[1])

    @property
    def can_be_hurt(self) -> bool:
        return self._child is not None and self._child.running and not self._paused

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()

    def pause(self, seconds: float) -> None:
        assert self._child is not None
        pid, self._paused = self._child.pid, True
        os.kill(pid, signal.SIGSTOP)

        def resume() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._paused = False

        threading.Timer(seconds, resume).start()

    def stop(self) -> int:
        """SIGTERM; the status."""
        assert self._child is not None
        self._stopping = True
        if self._child.running:
            self._child.stop(timeout=15)
        return int(self._child.popen.poll() or 0)


class Stack:
    """Kafka, PostgreSQL, the feed and the services; a thread watches over the services."""

    def __init__(self, directory: Path, rate: int, seed: int, intervals: str, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.kafka = KafkaBroker(directory / "kafka", choose_port())
        self.postgres = PostgresServer(directory / "postgres", choose_port())
        self.ledger = directory / "ledger.jsonl"
        self.intervals = intervals
        self._rate = rate
        self._seed = seed
        self._environment = dict(environment)
        self.horizon_s = self._environment.get("REVISION_HORIZON_S", "900")
        self._ws, self._rest = choose_ports(None, None)
        self._feed: Child | None = None
        self.workers: list[Supervised] = []
        self._watching = threading.Event()

    def start_servers(self) -> None:
        self.kafka.start()
        self.postgres.start()

    def start(self) -> None:
        """The feed, then every service; a supervisor watches from here on."""
        names = Topics(NAMESPACE).specs(PARTITIONS, tuple(self.intervals.split(",")))
        ensure_topics(self.kafka.bootstrap, names)
        self._start_feed()
        self.admin("stop")  # what nobody was connected for at the very beginning nobody can be asked for
        for service in ("sink", "aggregator", "ratio", "ingest"):
            self.workers += self.service(service, NAMESPACE, SCHEMA, WORKERS[service])
        self._watching.set()
        threading.Thread(target=self._watch, daemon=True).start()

    def go(self) -> None:
        """Let the market begin, once ingest listens."""

        def listens() -> bool:
            return any(_metric(w.port, "ingest_connected") == len(MARKETS) for w in self.workers)

        eventually(listens, "ingest is connected", 90)
        self.admin("go")

    def service(self, name: str, namespace: str, schema: str, count: int, first: int = 1) -> list[Supervised]:
        """Start ``count`` workers, numbered from ``first`` on; each has a spool of its own."""
        made = []
        for k in range(first - 1, first - 1 + count):
            label = f"{namespace}{name}-{k + 1}"
            env = self._env(namespace, schema) | {"SPOOL_DIR": str(self.directory / f"spool-{k}")}
            worker = Supervised(name, label, self.directory / "logs" / f"{label}.log", env)
            worker.start()
            made.append(worker)
        return made

    def _env(self, namespace: str, schema: str) -> dict[str, str]:
        symbols = symbol_list(list(DEFAULT_SYMBOLS), SYMBOLS)
        url = f"ws://127.0.0.1:{self._ws}"
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap, "POSTGRES_DSN": self.postgres.dsn,
            "NAMESPACE": namespace, "DATABASE_SCHEMA": schema, "PARTITIONS": str(PARTITIONS),
            "INTERVALS": self.intervals, "SESSION_TIMEOUT_S": "6", "SNAPSHOT_EVERY_S": "1", "LOG_FORMAT": "json",
            "DRY_RUN": "true", "SYMBOLS": ",".join(s for s in symbols if not is_pair(s)),
            "CRYPTO_SYMBOLS": ",".join(s for s in symbols if is_pair(s)),
            "STOCKS_URL": f"{url}/stocks", "CRYPTO_URL": f"{url}/crypto",
            "REST_URL": f"http://127.0.0.1:{self._rest}", "SILENCE_TIMEOUT_S": "10", "CORRECTIONS_EVERY_S": "15",
            "CORRECTIONS_WINDOW_S": "300",
            "REST_CALLS_PER_MINUTE": "6000",
        } | self._environment  # fmt: skip

    def _start_feed(self) -> None:
        options = {"symbol-count": SYMBOLS, "symbols": ",".join(DEFAULT_SYMBOLS), "seed": self._seed,
                   "rate": self._rate, "burst": 1.5, "ws-port": self._ws, "rest-port": self._rest,
                   "ledger": self.ledger, "history-minutes": 60, "history-trades": 10_000_000}  # fmt: skip
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        log = self.directory / "logs" / "feed.log"
        self._feed = Child.start("feed", [sys.executable, "-m", "feed", *arguments, "--admin"], log, cwd=ROOT,
                                 death_signal=signal.SIGKILL)  # fmt: skip
        self._feed.wait_until(lambda: get_health(self._rest)[0], 30)

    def _watch(self) -> None:
        while self._watching.is_set():
            for worker in list(self.workers):
                worker.look()
            time.sleep(0.1)

    # --- what can be done to it ------------------------------------------------------------------------------------

    def admin(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Any:
        url = f"http://127.0.0.1:{self._rest}/admin/{path}"
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own address
            return json.load(answer)

    def victims(self, service: str) -> list[Supervised]:
        """Its workers that run; of ingest the one that writes."""
        found = [w for w in self.workers if w.service == service and w.can_be_hurt]
        if service == "ingest":
            return [w for w in found if w.holds_lease] or found
        return found

    def kill_broker(self, seconds: float) -> None:
        self.kafka.kill()
        time.sleep(seconds)
        self.kafka.start()

    def stop_database(self, seconds: float) -> None:
        self.postgres.stop("immediate")
        time.sleep(seconds)
        self.postgres.start()

    # --- what it has done ------------------------------------------------------------------------------------------

    def records(self, service: str) -> int:
        """How many records a service has gone through, restarts aside."""
        topics = Topics(NAMESPACE)
        if service == "ingest":
            return sum(self.ends([topics.trades("stocks"), topics.trades("crypto")]).values())
        if service == "ratio":
            return sum(self.ends([topics.ratios]).values())
        if service == "sink":
            return self.stored(SCHEMA)
        inputs = [topics.ratios, topics.trades("crypto")]
        with self._consumer(f"{NAMESPACE}aggregator") as consumer:
            places = [TopicPartition(topic, p) for topic in inputs for p in range(PARTITIONS)]
            return sum(max(0, place.offset) for place in consumer.committed(places, timeout=10))

    def rereads(self) -> float:
        """How many stretches ingest has still to read again; without end where none of it holds the lease."""
        holders = [w for w in self.workers if w.service == "ingest" and w.holds_lease]
        return sum(_metric(w.port, "ingest_rereads_waiting") for w in holders) if holders else float("inf")

    def stored(self, schema: str) -> int:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.postgres.dsn, connect_timeout=5) as connection:
            row = connection.execute(f"SELECT sum(next_offset) FROM {schema}.sink_positions").fetchone()
            return int(row[0] or 0) if row else 0
        return 0

    def ends(self, topics: list[str]) -> dict[tuple[str, int], int]:
        with self._consumer("chaos-ends") as consumer:
            places = [(topic, p) for topic in topics for p in range(PARTITIONS)]
            return {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=10)[1] for place in places}

    @contextlib.contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        settings = {"bootstrap.servers": self.kafka.bootstrap, "group.id": group, "log_level": 2}
        consumer = Consumer(settings | {"enable.auto.commit": False})
        try:
            yield consumer
        finally:
            consumer.close()

    def idle(self, service: str, partitions: int) -> bool:
        """Whether the workers of a stage have ``partitions`` in all and are at the end of each, twice in a row."""
        for _ in range(2):
            lags: dict[str, int] = {}
            for worker in (w for w in self.workers if w.service == service):
                report = get_health(worker.port)[1]
                lags |= report.get("checks", {}).get("progress", {}).get("detail", {}).get("lag_records", {"none": 1})
            if len(lags) < partitions or any(lags.values()):
                return False
            time.sleep(2.5)
        return True

    def stored_all(self, schema: str, ends: Mapping[tuple[str, int], int]) -> bool:
        with psycopg.connect(self.postgres.dsn, connect_timeout=5) as connection:
            found = connection.execute(
                f"SELECT topic, partition, next_offset FROM {schema}.sink_positions"
            ).fetchall()
        stored = {(topic, p): offset for topic, p, offset in found}
        return all(stored.get(place, 0) >= end for place, end in ends.items())

    def stop_service(self, service: str) -> None:
        """Stop its workers for good; a status that is not 0 is said."""
        leaving = [w for w in self.workers if w.service == service]
        for worker in leaving:
            if status := worker.stop():
                say(f"    {worker.label} stopped with status {status}")
            self.workers.remove(worker)

    def stop_feed(self) -> None:
        if self._feed is not None:
            self._feed.stop(timeout=15)

    def close(self) -> None:
        self._watching.clear()
        for worker in self.workers:
            with contextlib.suppress(Exception):
                worker.kill()
        self.stop_feed()
        for stop in (self.kafka.kill, self.postgres.stop):
            with contextlib.suppress(Exception):
                stop()


def _metric(port: int, name: str) -> float:
    """The sum of a metric over its labels; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name) and line[len(name)] in " {")


def eventually(condition: Callable[[], bool], what: str, seconds: float, pause: float = 0.5) -> None:
    """Wait until ``condition`` holds; errors of Kafka and the database count as no."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(KafkaException, psycopg.Error):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
