"""Broken set-ups, one thing broken in each: the doctor names that one and no other."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from feed.server import FeedServer
from feed.settings import FeedSettings
from market.cli import app
from market.doctor import feed, servers
from market.doctor.command import examine
from market.doctor.report import Finding, print_findings
from marketdata.topics import Topics
from services.ingest.settings import IngestSettings
from services.sink.migrate import migrate, read_migrations
from services.sink.settings import SinkSettings
from services.sink.storage import PLAIN
from tests.support.topics import new_namespace
from tests.support.vendor import Vendor
from tests.support.workers import eventually

pytestmark = pytest.mark.integration
P = 3


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@dataclass
class SetUp:
    """A set-up in which everything is right, until a test breaks it."""

    vendor: Vendor
    folder: Path
    ingest: dict[str, Any] = field(default_factory=dict)
    sink: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    free: int = 100 * 1024**3

    def findings(self) -> list[Finding]:
        urls = {f"{market}_url": f"{self.vendor.ws_url}/{market}" for market in ("stocks", "crypto")}
        ingest = {"rest_url": self.vendor.rest_url, "polygon_api_key": "good", "partitions": P} | urls | self.ingest
        settings = IngestSettings(spool_dir=ingest.pop("spool_dir", self.folder), **ingest)
        return examine(settings, SinkSettings(**self.sink), self.folder, force=self.force)


@pytest.fixture(scope="module")
def topics(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, P) as name:
        yield name


@pytest.fixture(scope="module")
def dsn(postgres: str) -> Iterator[str]:
    """A database with two schemas: ``public`` as this version wants it, ``behind`` one migration short."""
    name = f"doctor_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    made = postgres.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(made, autocommit=True) as connection:
        ours = [migration for migration in read_migrations() if migration.mode in {None, PLAIN.name}]
        migrate(connection, "public", PLAIN, ours)
        migrate(connection, "behind", PLAIN, ours[:-1])
    yield made
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def healthy(kafka: str, topics: str, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SetUp]:
    for name in (
        "POLYGON_API_KEY",
        "DRY_RUN",
        "STOCKS_FEED_DELAY_S",
        "CRYPTO_FEED_DELAY_S",
        "NAMESPACE",
        "PARTITIONS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(feed, "SETTLED_S", 0.6)
    monkeypatch.setattr(servers, "BEATS_S", 0.6)
    monkeypatch.setattr(servers, "ANSWER_S", 3.0)
    with Vendor() as vendor:
        made = SetUp(vendor, tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, made.free))
        made.ingest = {"kafka_bootstrap_servers": kafka, "namespace": topics}
        made.sink = {"postgres_dsn": dsn}
        yield made


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wrong_key(made: SetUp) -> None:
    made.ingest["polygon_api_key"] = "stolen"


def no_stocks_in_the_plan(made: SetUp) -> None:
    made.vendor.rest_forbidden = {"stocks"}


def no_stocks_on_the_socket(made: SetUp) -> None:
    made.vendor.socket_forbidden = {"stocks"}


def stocks_delayed_by_word(made: SetUp) -> None:
    made.vendor.word, made.vendor.age = {"stocks": "DELAYED"}, {"stocks": 905.0}


def crypto_delayed_by_age(made: SetUp) -> None:
    made.vendor.age = {"crypto": 905.0}


def connection_in_use(made: SetUp) -> None:
    made.vendor.busy = True


def feed_away(made: SetUp) -> None:
    made.ingest["rest_url"] = f"http://127.0.0.1:{closed_port()}"


def clock_off(made: SetUp) -> None:
    made.vendor.clock_off = 60.0


def clock_ahead(made: SetUp) -> None:
    made.vendor.clock_off = -60.0


def kafka_away(made: SetUp) -> None:
    made.ingest["kafka_bootstrap_servers"] = f"127.0.0.1:{closed_port()}"


def other_partitions(made: SetUp) -> None:
    made.ingest["partitions"] = P + 1


def database_away(made: SetUp) -> None:
    made.sink["postgres_dsn"] = f"postgresql://postgres@127.0.0.1:{closed_port()}/market"


def schema_behind(made: SetUp) -> None:
    made.sink["database_schema"] = "behind"


def disk_full(made: SetUp) -> None:
    made.free = 200 * 1024**2


def spool_not_writable(made: SetUp) -> None:
    (made.folder / "file").write_text("")
    made.ingest["spool_dir"] = made.folder / "file" / "spool"


@pytest.mark.parametrize(
    ("broken", "failing", "remedy"),
    [
        (wrong_key, {"key"}, "POLYGON_API_KEY"),
        (no_stocks_in_the_plan, {"plan stocks"}, "a plan that includes stocks"),
        (no_stocks_on_the_socket, {"plan stocks"}, "a plan with stocks streams"),
        (stocks_delayed_by_word, {"plan stocks"}, "STOCKS_FEED_DELAY_S=900"),
        (crypto_delayed_by_age, {"plan crypto"}, "CRYPTO_FEED_DELAY_S=900"),
        (connection_in_use, {"connection stocks", "connection crypto"}, "stop it"),
        (feed_away, {"key"}, "REST_URL"),
        (clock_off, {"clock"}, "synchronise"),
        (clock_ahead, {"clock"}, "synchronise"),
        (kafka_away, {"kafka"}, "KAFKA_BOOTSTRAP_SERVERS"),
        (other_partitions, {"topics"}, f"PARTITIONS={P}"),
        (database_away, {"database"}, "POSTGRES_DSN"),
        (schema_behind, {"schema"}, "start this version's sink"),
        (disk_full, {"disk MARKET_DATA", "disk SPOOL_DIR"}, "free the disk"),
        (spool_not_writable, {"disk SPOOL_DIR"}, "another folder in SPOOL_DIR"),
    ],
)
def test_what_is_broken_is_named_and_nothing_else(
    healthy: SetUp, broken: Callable[[SetUp], None], failing: set[str], remedy: str
) -> None:
    broken(healthy)
    findings = healthy.findings()
    found = [finding for finding in findings if finding.status == "fail"]
    assert {finding.check for finding in found} == failing, findings
    assert all(remedy in finding.remedy for finding in found)
    assert [finding for finding in findings if finding.status == "warn"] == []


def test_a_healthy_set_up_passes_every_check(healthy: SetUp) -> None:
    findings = healthy.findings()
    assert {finding.status for finding in findings} == {"ok"}, findings
    assert [finding.check for finding in findings] == [
        "key", "plan stocks", "connection stocks", "plan crypto", "connection crypto", "clock",
        "kafka", "topics", "database", "schema", "disk MARKET_DATA", "disk SPOOL_DIR",
    ]  # fmt: skip


def test_a_delayed_plan_that_the_settings_know_of_is_right(healthy: SetUp) -> None:
    stocks_delayed_by_word(healthy)
    healthy.ingest["stocks_feed_delay_s"] = 900
    assert {finding.status for finding in healthy.findings()} == {"ok"}


def test_a_password_that_is_refused_is_told_from_a_server_that_is_away(healthy: SetUp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        while client.recv(1_024)[4:8] in {b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30"}:
                            client.sendall(b"N")
                        fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "market"\0\0'
                        client.sendall(b"E" + (4 + len(fields)).to_bytes(4, "big") + fields)

        threading.Thread(target=refuse, daemon=True).start()
        healthy.sink["postgres_dsn"] = f"postgresql://market:wrong@127.0.0.1:{server.getsockname()[1]}/market"
        findings = healthy.findings()
    (failed,) = [finding for finding in findings if finding.status == "fail"]
    assert (failed.check, failed.remedy) == ("database", "correct user and password in POSTGRES_DSN")
    assert "wrong" not in failed.found


def test_the_connection_is_left_alone_while_an_ingest_holds_the_lease(
    healthy: SetUp, kafka: str, topics: str
) -> None:
    over = threading.Event()

    def hold() -> None:
        producer = Producer({"bootstrap.servers": kafka})
        while not over.wait(0.1):
            producer.produce(Topics(topics).lease, b"a word", partition=0)
            producer.flush(5)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        end = servers.ingest_runs
        eventually(lambda: end(kafka, Topics(topics).lease), "words on the lease")
        findings = {finding.check: finding for finding in healthy.findings()}
        assert healthy.vendor.connections == 0
        assert findings["connection stocks"].status == findings["connection crypto"].status == "skip"
        assert "an ingest runs" in findings["connection stocks"].found
        healthy.force = True
        assert {finding.status for finding in healthy.findings()} == {"ok"}
        assert healthy.vendor.connections == 2
    finally:
        over.set()
        holder.join()


async def test_the_bundled_feed_is_healthy(healthy: SetUp) -> None:
    settings = FeedSettings(ws_port=0, rest_port=0, symbols=("BTC-USD", "BTDR"), rate=200)
    async with FeedServer(settings) as bundled:
        healthy.vendor.rest_url, healthy.vendor.ws_url = bundled.rest_url, bundled.ws_url
        healthy.ingest |= {"polygon_api_key": None}
        await asyncio.sleep(1)
        findings = await asyncio.to_thread(healthy.findings)
        assert {finding.status for finding in findings} == {"ok"}, findings


def test_the_command_prints_lines_or_json_and_says_by_its_status(
    healthy: SetUp, kafka: str, topics: str, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = healthy.vendor
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": kafka, "NAMESPACE": topics, "POSTGRES_DSN": dsn, "PARTITIONS": str(P),
        "POLYGON_API_KEY": "good", "REST_URL": vendor.rest_url, "STOCKS_URL": f"{vendor.ws_url}/stocks",
        "CRYPTO_URL": f"{vendor.ws_url}/crypto", "SPOOL_DIR": str(healthy.folder),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    command = ["doctor", "--data-dir", str(healthy.folder)]
    well = CliRunner().invoke(app, command)
    assert (well.exit_code, len(well.stdout.splitlines())) == (0, 12), well.output
    monkeypatch.setenv("POLYGON_API_KEY", "not this one")
    ill = CliRunner().invoke(app, [*command, "--json"])
    report = json.loads(ill.stdout)
    assert (ill.exit_code, report["ok"]) == (1, False)
    assert report["checks"][0]["remedy"] == "correct POLYGON_API_KEY"
    assert "not this one" not in ill.output


@pytest.mark.parametrize("terminal", [False, True])
def test_colours_only_on_a_terminal(terminal: bool) -> None:
    out = io.StringIO()
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    print_findings([Finding("key", "fail", "no", "yes")], out)
    assert ("\x1b" in out.getvalue()) is terminal
