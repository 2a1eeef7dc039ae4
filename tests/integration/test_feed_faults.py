"""Each fault on a running feed, as a client meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from feed.admin import read_scenario
from feed.server import FeedServer
from feed.settings import FeedSettings
from feed.trouble import FaultError
from tests.feed_peer import ask, read

RATE = 2_000


@pytest.fixture
async def feed() -> AsyncIterator[FeedServer]:
    settings = FeedSettings(ws_port=0, rest_port=0, rate=RATE, burst=1, admin=True, close_grace_s=1)
    async with FeedServer(settings) as running:
        yield running


async def subscribed(feed: FeedServer) -> ClientConnection:
    socket = await connect(f"{feed.ws_url}/stocks", max_size=None)
    await ask(socket, "auth", "k")
    await ask(socket, "subscribe", "T.*")
    for _ in range(3):
        assert (await read(socket))[0]["ev"] == "status"
    await socket.recv()
    return socket


async def admin(feed: FeedServer, method: str = "POST", path: str = "faults", **body: Any) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.request(method, f"{feed.rest_url}/admin/{path}", json=body or None)


async def ending(socket: ClientConnection) -> tuple[int | None, list[str]]:
    """The close code (None without a close frame) and the statuses that came before it."""
    statuses: list[str] = []
    try:
        async with asyncio.timeout(20):
            while True:
                statuses += [e["status"] for e in json.loads(await socket.recv()) if e.get("ev") == "status"]
    except ConnectionClosed as closed:
        return (closed.rcvd.code if closed.rcvd else None), statuses


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ({"fault": "drop"}, None, []),
        ({"fault": "close", "code": 1000}, 1000, []),
        ({"fault": "close", "code": 1008}, 1008, []),
        ({"fault": "close", "code": 1011}, 1011, []),
        ({"fault": "slow"}, 1008, ["slow_consumer"]),
        ({"fault": "refuse_auth"}, None, []),
    ],
)
async def test_connections_that_end(
    feed: FeedServer, fault: dict[str, Any], code: int | None, said: list[str]
) -> None:
    socket = await subscribed(feed)
    assert (await admin(feed, **fault)).status_code == 200
    assert await ending(socket) == (code, said)


async def test_a_client_of_the_other_cluster_is_left_alone(feed: FeedServer) -> None:
    socket = await subscribed(feed)
    await admin(feed, fault="drop", cluster="crypto")
    for _ in range(5):
        await socket.recv()
    await socket.close()


async def _read_until_quiet_for(socket: ClientConnection, seconds: float) -> None:
    while True:
        await asyncio.wait_for(socket.recv(), seconds)


async def test_silence_and_then_trades_again(feed: FeedServer) -> None:
    socket = await subscribed(feed)
    await admin(feed, fault="silence", seconds=1.5)
    with pytest.raises(TimeoutError):
        await _read_until_quiet_for(socket, 0.7)
    assert (await admin(feed, "GET")).json()["active"][0]["fault"] == "silence"
    await asyncio.wait_for(socket.recv(), 20)
    await socket.close()


@pytest.mark.parametrize(
    ("fault", "is_it"),
    [
        ("garbage", lambda raw: b"not JSON" in raw),
        ("no_ev", lambda raw: raw == b'[{"sym":"MARA","p":1.0}]'),
        ("big_frame", lambda raw: len(raw) > 1 << 20 and json.loads(raw)[0]["ev"] == "T"),
    ],
)
async def test_frames_that_should_not_be(feed: FeedServer, fault: str, is_it: Any) -> None:
    socket = await subscribed(feed)
    await admin(feed, fault=fault)
    async with asyncio.timeout(20):
        while not is_it(await socket.recv(decode=False)):
            pass
        json.loads(await socket.recv())  # and the stream goes on
    await socket.close()


async def test_frames_that_come_twice(feed: FeedServer) -> None:
    socket = await subscribed(feed)
    await admin(feed, fault="duplicate", share=1.0, seconds=30)
    async with asyncio.timeout(20):
        last = b""
        while last != (last := await socket.recv(decode=False)):
            pass
    await socket.close()


async def test_trouble_at_the_key_and_after_the_subscription(feed: FeedServer) -> None:
    await admin(feed, fault="refuse_auth", seconds=30)
    socket = await connect(f"{feed.ws_url}/stocks")
    await ask(socket, "auth", "k")
    assert await ending(socket) == (1008, ["connected", "auth_failed"])
    await admin(feed, "DELETE")
    await admin(feed, fault="drop_in_auth", count=1)
    socket = await connect(f"{feed.ws_url}/stocks")
    await ask(socket, "auth", "k")
    assert await ending(socket) == (None, ["connected"])
    await admin(feed, fault="max_connections", count=1)
    socket = await connect(f"{feed.ws_url}/stocks")
    await ask(socket, "auth", "k")
    await ask(socket, "subscribe", "T.*")
    assert await ending(socket) == (1008, ["connected", "auth_success", "max_connections"])
    await (await subscribed(feed)).close()


async def test_rest_that_fails_waits_forgets_and_is_late(feed: FeedServer) -> None:
    async with httpx.AsyncClient() as http:

        async def rows(expected: int = 200) -> Any:
            answer = await http.get(f"{feed.rest_url}/v3/trades/MARA?apiKey=k&limit=50000")
            assert answer.status_code == expected
            return answer.json().get("results"), answer.headers

        await asyncio.sleep(1)
        await admin(feed, fault="rest_error", status=503, seconds=30)
        await rows(503)
        await admin(feed, "DELETE")
        await admin(feed, fault="rest_limit", retry_after=7, seconds=30)
        assert (await rows(429))[1]["Retry-After"] == "7"
        await admin(feed, "DELETE")
        await admin(feed, path="stop")
        every = len((await rows())[0])
        await admin(feed, fault="rest_missing", share=0.5, seconds=30)
        assert 0 < len((await rows())[0]) < every
        await admin(feed, "DELETE")
        await admin(feed, fault="rest_late", lag_s=1_000, seconds=30)
        assert (await rows())[0] == []
        await admin(feed, "DELETE")
        assert len((await rows())[0]) == every
        await admin(feed, path="go")
        async with asyncio.timeout(20):
            while len((await rows())[0]) == every:
                pass


async def test_what_is_not_known_is_refused_and_without_leave_there_is_no_admin(feed: FeedServer) -> None:
    for body in (
        {"fault": "rain"},
        {"fault": "drop", "colour": 1},
        {"fault": "close", "code": 999},
        {"fault": "silence", "seconds": -1},
        {},
    ):
        answer = await admin(feed, **body)
        assert answer.status_code == 400
        assert "max_connections" in answer.json()["error"]
    async with FeedServer(FeedSettings(ws_port=0, rest_port=0)) as closed:
        assert (await admin(closed, fault="drop")).status_code == 404


async def test_a_scenario_happens_at_its_times(tmp_path: Path) -> None:
    path = tmp_path / "scenario.jsonl"
    path.write_text('{"at": 1.0, "fault": "close", "code": 1011}\n\n{"at": 0.1, "fault": "garbage"}\n')
    settings = FeedSettings(ws_port=0, rest_port=0, rate=RATE, scenario=path, close_grace_s=1)
    async with FeedServer(settings) as feed:
        socket = await subscribed(feed)
        garbage = 0
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(20):
                while True:
                    garbage += b"not JSON" in await socket.recv(decode=False)
        assert (garbage, socket.close_code) == (1, 1011)
    path.write_text('{"at": 1.0, "fault": "rain"}\n')
    with pytest.raises(FaultError, match="line 1"):
        read_scenario(path)
