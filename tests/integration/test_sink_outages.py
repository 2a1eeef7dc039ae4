"""The sink while Kafka or the database is away, full, cut off or made anew: it waits, goes on, and ends when told to.

OUTAGE_S says how long each outage lasts.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from confluent_kafka import Producer

from market.native import KafkaBroker, PostgresServer, choose_port
from marketdata.topics import Topics
from streaming.admin import ensure_topics
from tests.integration.test_sink_faults import Feed
from tests.integration.test_sink_support import INTERVALS, PARTITIONS, Bench, bench, eventually, ratio

pytestmark = pytest.mark.integration
__all__ = ["bench"]
OUTAGE_S = float(os.environ.get("OUTAGE_S", "4"))
COUNT = "SELECT count(*), count(DISTINCT src_offset) FROM ratio_ticks_live"
MOST_MB = 400
# The code and not the words: when a part of a block still fits, PostgreSQL says "wrote only 4096 of 8192 bytes".
DISK_FULL = f'"sqlstate": "{psycopg.errors.DiskFull.sqlstate}"'


@pytest.fixture
def server(open_dir: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL of this test's own that answers before its last commits are on disk."""
    made = PostgresServer(open_dir / "postgres", choose_port(), settings={"synchronous_commit": "off"})
    yield made
    made.stop("immediate")


@pytest.fixture
def broker(open_dir: Path) -> Iterator[KafkaBroker]:
    made = KafkaBroker(open_dir / "kafka", choose_port())
    yield made
    made.stop()


@pytest.fixture
def own(broker: KafkaBroker) -> Iterator[Callable[[str], Bench]]:
    """A bench on the test's own broker; its topics are made by the sink."""
    made: list[Bench] = []

    def make(database: str) -> Bench:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 2, "log_level": 0})
        made.append(Bench(broker.bootstrap, database, Topics("own."), producer))
        return made[-1]

    yield make
    for process in made[0].started if made else []:
        process.kill()
        process.log.unlink()


def said(bench: Bench, text: str) -> None:
    eventually(lambda: text in bench.logs(), text)


def ends_soon(bench: Bench) -> None:
    """SIGTERM to the newest sink: it ends by itself, with 0, within 10 s."""
    bench.started[-1].stop()


def test_it_starts_before_kafka_and_the_database_do(own: Any, broker: KafkaBroker, server: PostgresServer) -> None:
    bench = own(server.dsn_of("market").replace(":0/", f":{server._wanted}/"))
    bench.start()
    said(bench, "Kafka not available")
    ends_soon(bench)
    bench.start()
    said(bench, "Kafka not available")
    broker.start()
    said(bench, "database not available")
    ends_soon(bench)
    with bench.sink():
        server.start()
        bench.send_ratios([ratio(n) for n in range(20)])
        bench.wait_positions()
    assert bench.rows(COUNT) == [(20, 20)]


@pytest.mark.long
def test_kafka_is_away_while_it_runs(own: Any, broker: KafkaBroker, database: str) -> None:
    broker.start()
    bench = own(database)
    with bench.sink():
        eventually(lambda: bool(bench.positions()), "topics and positions")
        bench.send_ratios([ratio(n) for n in range(100)])
        bench.wait_positions()
        broker.kill()
        time.sleep(OUTAGE_S)
        broker.start()
        bench.send_ratios([ratio(n) for n in range(100, 200)])
        bench.wait_positions()
        broker.kill()
        time.sleep(1)
    assert bench.rows(COUNT) == [(200, 200)]


@pytest.mark.long
def test_letters_wait_for_kafka_and_a_stop_does_not(own: Any, broker: KafkaBroker, server: PostgresServer) -> None:
    broker.start()
    server.start()
    bench = own(server.dsn)
    with bench.sink():
        eventually(lambda: bool(bench.positions()), "topics and positions")
        server.pause()  # keeps the letters in hand until Kafka is gone
        bench.send(bench.topics.ratios, b"{", b"ratio")
        bench.send_ratios([ratio(1)])
        time.sleep(1)
        broker.pause()
        server.resume()
        time.sleep(2)
    broker.resume()
    with bench.sink():
        bench.wait_positions()
    assert bench.rows(COUNT) == [(1, 1)]
    assert bench.rows('SELECT "offset" FROM dead_letters') == [(0,)]


def test_kafka_made_anew_under_a_running_sink(own: Any, broker: KafkaBroker, database: str) -> None:
    broker.start()
    bench = own(database)
    with bench.sink():
        eventually(lambda: bool(bench.positions()), "topics and positions")
        bench.send_ratios([ratio(n) for n in range(80)])
        bench.wait_positions()
        broker.kill()
        shutil.rmtree(broker.data_dir)
        broker.start()
        ensure_topics(broker.bootstrap, bench.topics.specs(PARTITIONS, INTERVALS))
        bench.producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 2})
        bench.send_ratios([ratio(n) for n in range(60, 100)])
        bench.wait_positions()
    assert "another one than the stored positions belong to" in bench.logs()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(100,)]


def test_three_immediate_stops_lose_nothing_though_commits_were_not_on_disk(
    bench: Bench, server: PostgresServer
) -> None:
    server.start()
    bench.database = server.dsn
    feed = Feed(bench).start()
    with bench.sink(BATCH_ROWS="500", BATCH_MS="5"):
        for outage in (0, OUTAGE_S, 0):
            time.sleep(2)
            server.stop("immediate")
            time.sleep(outage)
            server.start()
        feed.check()


def test_a_database_dropped_and_made_anew_under_a_running_sink(bench: Bench) -> None:
    admin, name = bench.database.rsplit("/", 1)
    with bench.sink():
        bench.send_ratios([ratio(n) for n in range(50)])
        bench.wait_positions()
        with psycopg.connect(bench.database, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        eventually(lambda: bench.positions() != {}, "tables made again")
        bench.wait_positions()
        assert bench.rows(COUNT) == [(50, 50)]
        with psycopg.connect(f"{admin}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            time.sleep(1)
            connection.execute(f"CREATE DATABASE {name}")
        bench.send_ratios([ratio(n) for n in range(50, 60)])
        eventually(lambda: bench.positions() != {}, "tables made again")
        bench.wait_positions()
    assert bench.rows(COUNT) == [(60, 60)]


class Proxy(threading.Thread):
    """Passes bytes on to a server; resets the connection after as many bytes of the client's as it is told."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.left: int | None = None
        self.resets = 0

    def run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._target))
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(8_192):
                if counted and self.left is not None and (left := self.left - len(data)) < 0:
                    self.left, self.resets = None, self.resets + 1
                    for end in (source, sink):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        end.close()
                    return
                if counted and self.left is not None:
                    self.left = left
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


def test_the_connection_is_reset_in_the_middle_of_a_copy(bench: Bench) -> None:
    host = psycopg.conninfo.conninfo_to_dict(bench.database)
    proxy = Proxy(int(str(host["port"])))
    proxy.start()
    direct, through = bench.database, bench.database.replace(f":{host['port']}/", f":{proxy.port}/")
    bench.send_ratios([ratio(n) for n in range(4_000)])  # about a megabyte of rows
    bench.database = through
    with bench.sink() as sink:
        bench.database = direct
        bench.wait_positions()
        for n in range(1, 6):
            proxy.left = 60_000 * n
            bench.send_ratios([ratio(4_000 * n + i) for i in range(4_000)])
            bench.wait_positions()
        assert proxy.resets >= 3
        assert sink.value("sink_database_waits_total") >= 3
    assert bench.rows(COUNT) == [(24_000, 24_000)]


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, with so much room; only root can have one."""
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(directory)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise PermissionError(done.stderr)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_no_space_is_left_for_a_while(
    bench: Bench, server: PostgresServer, open_dir: Path, not_run: Callable[[str], None]
) -> None:
    server.start()
    try:
        with small_disk(open_dir / "small", 24) as disk:
            filled_up(bench, server, disk)
    except PermissionError as error:
        not_run(f"the sink on a full disk (no file system of its own could be mounted: {str(error).strip()})")
        server.stop("immediate")


def filled_up(bench: Bench, server: PostgresServer, disk: Path) -> None:
    space = disk / "space"
    space.mkdir()
    account = (server.data_dir / "cluster").stat()
    os.chown(space, account.st_uid, account.st_gid)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        connection.execute("CREATE DATABASE full_one TABLESPACE small")
    bench.database = server.dsn_of("full_one")
    with bench.sink() as sink:
        bench.send_ratios([ratio(0)])
        bench.wait_positions()
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * (shutil.disk_usage(disk).free - 300_000))
        bench.send_ratios([ratio(n) for n in range(1, 20_000)])
        said(bench, DISK_FULL)
        time.sleep(OUTAGE_S)
        assert psutil.Process(sink.process.pid).memory_info().rss < MOST_MB * 2**20
        ballast.unlink()
        bench.wait_positions()
        assert bench.rows(COUNT) == [(20_000, 20_000)]
        sink.stop()


@pytest.mark.long
def test_memory_is_bounded_while_the_database_takes_nothing(bench: Bench, server: PostgresServer) -> None:
    server.start()
    bench.database = server.dsn
    with bench.sink(BATCH_ROWS="2000") as sink:
        bench.wait_positions()
        server.pause()
        bench.send_ratios([ratio(n) for n in range(100_000)])
        said(bench, "reading paused")
        time.sleep(OUTAGE_S)
        assert psutil.Process(sink.process.pid).memory_info().rss < MOST_MB * 2**20
        server.resume()
        bench.wait_positions()
    assert bench.rows(COUNT) == [(100_000, 100_000)]


@pytest.mark.long
def test_a_stop_is_soon_while_the_database_is_frozen_at_the_start(bench: Bench, server: PostgresServer) -> None:
    server.start()
    bench.database = server.dsn
    server.pause()
    bench.start().port()
    time.sleep(1)
    bench.started[-1].process.send_signal(signal.SIGTERM)
    assert bench.started[-1].process.wait(10) == 0
    server.resume()
