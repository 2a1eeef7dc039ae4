"""``market status`` against a real Kafka, a real PostgreSQL and a real ingest on a feed that falls silent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from feed.server import FeedServer
from market.cli import app
from market.status import servers
from marketdata.sessions import market_state
from services.sink.migrate import migrate, read_migrations
from services.sink.storage import PLAIN
from streaming.ops import Health, OpsServer
from tests.feed_peer import T0, Script, coin, free_ports, stock
from tests.support.topics import new_namespace
from tests.support.workers import PATIENCE_S, Worker

pytestmark = pytest.mark.integration
P = 2
SILENCE_S = 0.5


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, P) as name:
        yield name


class Stack:
    """A real ingest on a scripted feed, the other services' health as the test sets it, and the command's answer."""

    def __init__(self, worker: Worker, folder: Path) -> None:
        self.worker = worker
        self.folder = folder
        self.healthy = {"ratio": True, "aggregator": True, "sink": True}
        self.servers = {name: OpsServer(self._health(name), "127.0.0.1", 0).start() for name in self.healthy}

    def _health(self, name: str) -> Health:
        health = Health()
        health.add("progress", lambda: (self.healthy[name], {"stalled": not self.healthy[name]}))
        return health

    async def status(self, *more: str) -> Result:
        ports = {name: server.port for name, server in self.servers.items()}
        ports["ingest"] = self.worker.wait_for("started")["metrics_port"]
        named = ",".join(f"{name}={port}" for name, port in ports.items())
        arguments = ["status", "--ports", named, "--data-dir", str(self.folder), *more]
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, catch_exceptions=False)

    async def broken(self) -> dict[str, str]:
        """Detail by part of what is broken; the exit status must agree."""
        done = await self.status("--json")
        found = json.loads(done.stdout)
        parts = {name: part["detail"] for name, part in found["parts"].items() if not part["ok"]}
        assert (done.exit_code != 0) == bool(parts) == (not found["ok"]), done.output
        return parts

    async def becomes(self, broken: set[str], *, said: str = "") -> dict[str, str]:
        """Wait until just these parts are broken, and one of them says ``said``."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = await self.broken()
            if found.keys() == broken and (not said or any(said in detail for detail in found.values())):
                return found
            assert time.monotonic() < deadline, f"broken: {found}, not {broken} that says {said!r}"
            await asyncio.sleep(0.2)


def store_tick(database: str, received: datetime) -> None:
    """One row as the sink would store it."""
    day = received.date()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS ticks_{day:%Y%m%d} PARTITION OF ratio_ticks_live "
            f"FOR VALUES FROM ('{day} 00:00Z') TO ('{day + timedelta(days=1)} 00:00Z')"
        )
        connection.execute(
            "INSERT INTO ratio_ticks_live (time, symbol, stock_price, stock_volume, exchange, trf, trade_id, "
            "sequence, stock_size, eligible, updates_open_close, updates_volume, received_at, published_at, "
            "revision, src_partition, src_offset, src_n) "
            "VALUES (%s, 'MARA', 1, 1, 4, 0, %s, 1, 1, true, true, true, %s, now(), 0, 0, 0, 0)",
            (received, received.isoformat(), received),
        )


@pytest.fixture(autouse=True)
def environment(kafka: str, database: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection, "public", PLAIN, read_migrations())
    named = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "NAMESPACE": namespace, "PARTITIONS": str(P), "POSTGRES_DSN": database}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABASE_SCHEMA", raising=False)
    monkeypatch.setattr(servers, "LATE_S", 3_600)


async def flow(market: Script) -> None:
    """A trade of each cluster several times a second, until cancelled."""
    while True:
        now = time.time_ns() // 1_000_000
        market.put(stock("MARA", now - T0), coin(now - T0))
        await asyncio.sleep(SILENCE_S / 5)


@asynccontextmanager
async def stack_of(kafka: str, namespace: str, folder: Path, key: str, market: Script) -> AsyncIterator[Stack]:
    """With ``key`` ingest takes the feed for the vendor's."""
    async with FeedServer(free_ports(), market) as feed:
        urls = {f"{name.upper()}_URL": f"{feed.ws_url}/{name}" for name in ("stocks", "crypto")}
        more = {
            "REST_URL": feed.rest_url,
            "POLYGON_API_KEY": key,
            "DRY_RUN": "",
            "PARTITIONS": str(P),
            "SYMBOLS": "MARA",
            "SILENCE_TIMEOUT_S": str(SILENCE_S),
            "SPOOL_DIR": str(folder / "spool"),
        }
        with Worker("services.ingest", kafka, namespace, folder / "log", **urls, **more) as worker:
            yield await asyncio.to_thread(Stack, worker, folder)


async def test_what_is_broken_is_named_and_changes_the_exit_status(
    kafka: str, database: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Script()
    async with stack_of(kafka, namespace, tmp_path, "", market) as stack:
        trades = asyncio.create_task(flow(market))
        await asyncio.to_thread(stack.worker.wait_for, "connected", 2)
        store_tick(database, datetime.now(UTC))
        await stack.becomes(set())
        done = await stack.status()
        lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
        servers_and_market = ["kafka", "database", "newest tick", "market"]
        assert list(lines) == ["part", "ratio", "aggregator", "sink", "ingest", *servers_and_market]
        assert "stocks open at all times (the bundled feed), newest data" in lines["ingest"]
        assert "ratio_ticks_live 1, ratio_aggregates_500ms 0, candles 0" in lines["database"]
        assert str(market_state(time.time_ns() // 1_000)) in lines["market"]
        stack.healthy["ratio"] = False
        assert await stack.becomes({"ratio"}) == {"ratio": 'progress: {"stalled": true}'}
        stack.healthy["ratio"] = True
        await asyncio.to_thread(stack.servers["sink"].stop)
        assert "no answer on" in (await stack.becomes({"sink"}))["sink"]
        monkeypatch.setenv("POSTGRES_DSN", "postgresql://postgres@127.0.0.1:1/none")
        assert set(await stack.broken()) == {"sink", "database"}
        monkeypatch.setenv("POSTGRES_DSN", database)
        stack.servers["sink"] = OpsServer(Health(), "127.0.0.1", 0).start()
        monkeypatch.setattr(servers, "LATE_S", 2)
        assert "while ingest received a trade" in (await stack.becomes({"newest tick"}))["newest tick"]
        monkeypatch.setattr(servers, "LATE_S", 3_600)
        trades.cancel()
        # The two feeds fall silent one after the other.
        await stack.becomes({"ingest"}, said="stocks silent though open at all times (the bundled feed)")
        trades = asyncio.create_task(flow(market))
        await stack.becomes(set())
        trades.cancel()


async def test_a_closed_market_is_not_broken_and_an_open_one_that_is_silent_is(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    """The vendor's hours, whatever day it is: silent stocks are broken in regular hours and at no other time."""
    async with stack_of(kafka, namespace, tmp_path, "key", Script()) as stack:
        await asyncio.to_thread(stack.worker.wait_for, "connected", 2)
        broken = await stack.becomes({"ingest"}, said="crypto silent though open at all times, no data yet")
        state = market_state(time.time_ns() // 1_000)
        if state.phase == "regular":  # the two feeds fall silent one after the other
            broken = await stack.becomes({"ingest"}, said="stocks silent though open until")
        assert ("stocks silent though open until" in broken["ingest"]) == (state.phase == "regular")
        healthy, checks = await asyncio.to_thread(stack.worker.health)
        stocks = checks["data"]["detail"]["stocks"]
        assert not healthy
        assert (stocks["market"], stocks["broken"]) == (str(state), state.phase == "regular")
