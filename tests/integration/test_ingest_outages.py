"""Ingest against a server that misbehaves in every way the vendor's has been seen to."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.topics import new_namespace, read_topic
from tests.support.workers import Worker, eventually

PARTITIONS = 2
KEY = "s3cret-key"
Fault = Callable[["Peer", ServerConnection], Awaitable[None]]


def status(name: str, message: str = "") -> str:
    return json.dumps([{"ev": "status", "status": name, "message": message}])


class Peer:
    """A server of both clusters; on stocks each connection but the last ends in ``fault``."""

    def __init__(self, fault: Fault, faults: int) -> None:
        self._fault = fault
        self._faults = faults
        self.url = ""
        self.stocks: list[float] = []
        self.subscribed: list[str] = []
        self.keys: set[str] = set()
        self.sent: list[str] = []

    async def serve(self, ws: ServerConnection) -> None:
        assert ws.request is not None
        stocks = ws.request.path.startswith("/stocks")
        if stocks:
            self.stocks.append(time.monotonic())
        faulty = stocks and len(self.stocks) <= self._faults
        try:
            await ws.send(status("connected", "Connected Successfully"))
            self.keys.add(json.loads(await ws.recv())["params"])
            if faulty and self._fault is auth_failed:
                await self._fault(self, ws)
            await ws.send(status("auth_success", "authenticated"))
            items = json.loads(await ws.recv())["params"]
            if stocks:
                self.subscribed.append(items)
            await ws.send(status("success", f"subscribed to: {items}"))
            if faulty:
                await self._fault(self, ws)
            while True:
                await self.trade(ws) if stocks else await ws.send("[]")
                await asyncio.sleep(0.02)
        except ConnectionClosed:
            return

    async def trade(self, ws: ServerConnection, *around: str) -> None:
        """One good trade, with ``around`` in the same frame."""
        number = str(len(self.sent))
        good = {"ev": "T", "sym": "MARA", "p": 20.5, "t": time.time_ns() // 1_000_000, "i": number, "x": 4, "s": 1}
        await ws.send("[" + ",".join([*around, json.dumps(good)]) + "]")
        self.sent.append(number)


async def drop(peer: Peer, ws: ServerConnection) -> None:
    await peer.trade(ws)
    await asyncio.sleep(0.2)
    ws.transport.abort()
    await ws.wait_closed()


def close(code: int) -> Fault:
    async def closed(peer: Peer, ws: ServerConnection) -> None:
        await peer.trade(ws)
        await ws.close(code)

    return closed


async def silence(peer: Peer, ws: ServerConnection) -> None:
    await peer.trade(ws)
    await ws.wait_closed()


async def max_connections(peer: Peer, ws: ServerConnection) -> None:
    del peer
    await ws.send(status("max_connections", "Maximum number of connections exceeded."))
    await ws.close(1008)


async def auth_failed(peer: Peer, ws: ServerConnection) -> None:
    del peer
    await ws.send(status("auth_failed", "authentication failed"))
    await ws.close(1008)


async def garbage(peer: Peer, ws: ServerConnection) -> None:
    """None of it ends the connection."""
    for raw in ("nonsense", "{}", "5", '{"ev":"T"}', b"\xff\xfe", "[" * 50_000, "x" * 3_000_000):
        await ws.send(raw)
    for element in ('{"sym":"MARA"}', '{"ev":"NEW"}', "null", '{"ev":"T","sym":"MARA","p":0,"t":1,"i":"1"}'):
        await peer.trade(ws, element)


@asynccontextmanager
async def misbehaving(fault: Fault, faults: int = 1) -> AsyncIterator[Peer]:
    peer = Peer(fault, faults)
    async with serve(peer.serve, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        peer.url = f"ws://user:{KEY}@127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield peer


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


def ingest(kafka: str, namespace: str, peer: Peer, log: Path, **env: str) -> Worker:
    urls = {f"{market.upper()}_URL": f"{peer.url}/{market}?apiKey={KEY}" for market in ("stocks", "crypto")}
    base = {"SYMBOLS": "MARA,RIOT", "PARTITIONS": str(PARTITIONS), "POLYGON_API_KEY": KEY, "LOG_LEVEL": "DEBUG",
            "REST_CALLS_PER_MINUTE": "0"}  # fmt: skip
    return Worker("services.ingest", kafka, namespace, log, **urls, **base, **env)


async def until(condition: Callable[[], Any]) -> None:
    await asyncio.to_thread(eventually, condition, "what the server waits for")


def records(kafka: str, topic: str) -> list[dict[str, Any]]:
    return [record for partition in read_topic(kafka, topic) for record in partition]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (drop, "closed 1006"),
        (close(1000), "closed 1000"),
        (close(1008), "closed 1008"),
        (close(1011), "closed 1011"),
        (silence, "silence"),
    ],
    ids=["drop", "1000", "1008", "1011", "silence"],
)
async def test_it_comes_back_subscribes_again_and_records_the_gap(
    kafka: str, namespace: str, tmp_path: Path, fault: Fault, reason: str
) -> None:
    async with misbehaving(fault) as peer:
        # A dry run counts every hour as open; silence outside market hours is borne 20 times longer.
        with ingest(kafka, namespace, peer, tmp_path / "log", SILENCE_TIMEOUT_S="1", DRY_RUN="true") as worker:
            lost = (await asyncio.to_thread(worker.wait_for, "connection lost"))["reason"]
            await until(lambda: len(peer.sent) > 30)
            await asyncio.to_thread(worker.terminate)
            output = worker.output()
    assert lost == reason
    assert peer.subscribed == ["T.MARA,T.RIOT"] * 2
    assert peer.stocks[1] - peer.stocks[0] < 4
    assert KEY not in output
    found = [r["id"] for r in records(kafka, namespace + "trades.stocks") if r["kind"] == "trade"]
    assert found == peer.sent[: len(found)]
    assert len(found) >= len(peer.sent) - 1
    opened, closed = records(kafka, namespace + "feed.gaps")
    assert (opened["cluster"], opened["status"], opened.get("end")) == ("stocks", "open", None)
    assert (closed["status"], closed["start"]) == ("given_up", opened["start"])
    assert closed["start"] < closed["end"]


async def test_bytes_that_are_no_events_are_put_aside_on_the_same_connection(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with misbehaving(garbage) as peer:
        with ingest(kafka, namespace, peer, tmp_path / "log") as worker:
            await until(lambda: len(peer.sent) > 30)
            status_code, _ = await asyncio.to_thread(worker.terminate)
            assert status_code == 0, worker.output()
    assert len(peer.stocks) == 1
    found = [r["id"] for r in records(kafka, namespace + "trades.stocks") if r["kind"] == "trade"]
    assert found == peer.sent[: len(found)]
    assert len(found) > 20
    letters = records(kafka, namespace + "ingest.dlq")
    assert len(letters) == 11


async def test_too_many_connections_after_subscribing_make_no_hot_loop_and_release_no_clock(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with misbehaving(max_connections, faults=1_000) as peer:
        with ingest(kafka, namespace, peer, tmp_path / "log") as worker:
            await asyncio.sleep(8)
            for _ in range(120):  # a busy machine starts the service late
                if len(peer.stocks) < 3:
                    await asyncio.sleep(0.1)
            (first, *_) = worker.events("connection lost")
            await asyncio.to_thread(worker.terminate)
    assert first["reason"] == "max_connections"
    assert "another process" in first["remedy"]
    assert 3 <= len(peer.stocks) <= 25
    stocks = records(kafka, namespace + "trades.stocks")
    assert not [r for r in stocks if r["kind"] == "clock"], "no data flowed: nothing can be said of the stocks"


async def test_a_refused_key_is_named_and_tried_again_slowly(kafka: str, namespace: str, tmp_path: Path) -> None:
    async with misbehaving(auth_failed, faults=1_000) as peer:
        with ingest(kafka, namespace, peer, tmp_path / "log") as worker:
            lost = await asyncio.to_thread(worker.wait_for, "connection lost")
            await asyncio.sleep(3)
            output = worker.output()
            status_code, seconds = await asyncio.to_thread(worker.terminate)
    assert lost["reason"] == "auth_failed"
    assert "check POLYGON_API_KEY" in lost["remedy"]
    assert "60.0 s" in lost["action"]
    assert len(peer.stocks) == 1
    assert peer.keys == {KEY}
    assert KEY not in output
    assert (status_code, seconds < 4) == (0, True)


async def test_it_stops_at_once_while_it_connects(kafka: str, namespace: str, tmp_path: Path) -> None:
    called = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with server:
        peer = Peer(drop, 0)
        peer.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with ingest(kafka, namespace, peer, tmp_path / "log") as worker:
            await asyncio.wait_for(called.wait(), 30)
            status_code, seconds = await asyncio.to_thread(worker.terminate)
            assert status_code == 0, worker.output()
            assert seconds < 3
            assert "Traceback" not in worker.output()
