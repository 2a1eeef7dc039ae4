"""Each fault on a running feed process, asked for over HTTP and met by a client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from feed.admin import read_scenario
from feed.kinds import FaultError
from feed.server import FeedServer
from feed.settings import FeedSettings
from tests.feed_peer import ask, read

RATE = 1_000


@dataclass
class Feed:
    """Where the process listens, and where its ledger is."""

    ws_url: str
    rest_url: str
    ledger: Path


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    ledger = tmp_path_factory.mktemp("feed") / "ledger.jsonl"
    options = ["--ws-port", "0", "--rest-port", "0", "--rate", str(RATE), "--burst", "1", "--ledger", str(ledger)]
    command = [sys.executable, "-m", "feed", *options, "--max-connections", "9", "--admin"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        ready = json.loads(running.stderr.readline())
        yield Feed(ready["ws"], ready["rest"], ledger)
        running.terminate()
        assert running.wait(30) == 0


@pytest.fixture
async def feed(process: Feed) -> AsyncIterator[Feed]:
    yield process
    await admin(process, "DELETE")
    await admin(process, path="go")


async def admin(feed: Feed | FeedServer, method: str = "POST", path: str = "faults", **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.request(method, f"{feed.rest_url}/admin/{path}", json=body or None)


async def fault(feed: Feed, name: str, **parameters: Any) -> None:
    answer = await admin(feed, fault=name, **parameters)
    assert answer.status_code == 200, answer.text


async def told(feed: Feed) -> dict[str, Any]:
    answer: dict[str, Any] = (await admin(feed, "GET")).json()
    return answer


@asynccontextmanager
async def entered(
    feed: Feed | FeedServer, cluster: str = "stocks", **options: Any
) -> AsyncIterator[ClientConnection]:
    """A connection that sent its key and its subscription; nothing is read yet."""
    async with connect(
        f"{feed.ws_url}/{cluster}", **({"max_size": None, "max_queue": None, "close_timeout": 1} | options)
    ) as socket:
        await ask(socket, "auth", "k")
        await ask(socket, "subscribe", "T.*" if cluster == "stocks" else "XT.*")
        yield socket


@asynccontextmanager
async def subscribed(
    feed: Feed | FeedServer, cluster: str = "stocks", **options: Any
) -> AsyncIterator[ClientConnection]:
    """A connection on which data flows."""
    async with entered(feed, cluster, **options) as socket:
        for _ in range(3):
            assert (await read(socket))[0]["ev"] == "status"
        assert (await read(socket))[0]["ev"] != "status"
        yield socket


async def ending(socket: ClientConnection) -> tuple[int | None, list[str]]:
    """The close code (None without a close frame) and the statuses that came before it."""
    statuses: list[str] = []
    try:
        async with asyncio.timeout(30):
            while True:
                statuses += [e["status"] for e in json.loads(await socket.recv()) if e.get("ev") == "status"]
    except ConnectionClosed as closed:
        return (closed.rcvd.code if closed.rcvd else None), statuses


@pytest.mark.parametrize(
    ("name", "parameters", "code", "said"),
    [
        ("drop", {}, None, []),
        ("close", {"code": 1000}, 1000, []),
        ("close", {"code": 1001}, 1001, []),
        ("close", {"code": 1008, "reason": "enough"}, 1008, []),
        ("close", {"code": 1011}, 1011, []),
        ("slow", {}, 1008, ["slow_consumer"]),
        ("slow", {"seconds": 0.3}, 1008, ["slow_consumer"]),
        ("silence", {"seconds": 0.3}, None, []),
        ("refuse_auth", {"count": 1}, None, []),
        ("drop_in_auth", {}, None, []),
        ("max_connections", {}, None, []),
    ],
)
async def test_connections_that_end(
    feed: Feed, name: str, parameters: dict[str, Any], code: int | None, said: list[str]
) -> None:
    async with subscribed(feed) as socket, subscribed(feed, "crypto") as other:
        await fault(feed, name, cluster="stocks", **parameters)
        assert await ending(socket) == (code, said)
        if "reason" in parameters:
            assert socket.close_reason == parameters["reason"]
        for _ in range(3):
            await other.recv()


@pytest.mark.parametrize("name", ["drop", "close", "slow", "silence"])
async def test_what_is_left_of_a_count_befalls_those_who_come_next(feed: Feed, name: str) -> None:
    await fault(feed, name, cluster="stocks", count=2, **({"seconds": 0.2} if name == "silence" else {}))
    assert (await told(feed))["active"][0]["left"] == 2
    for _ in range(2):
        async with entered(feed) as socket:
            code, said = await ending(socket)
            entry = ["connected", "auth_success", "success"]
            last = ["slow_consumer"] if name == "slow" else []
            if name in ("silence", "slow"):  # what was said just before may be held back, or thrown away as unread
                entry = entry[: len(said) - len(last)]
            assert said == entry + last
            assert code == {"close": 1000, "slow": 1008}.get(name)
    assert (await told(feed))["active"] == []
    async with subscribed(feed) as socket:
        for _ in range(20):
            await socket.recv()


async def frames_until_quiet(socket: ClientConnection, seconds: float) -> list[Any]:
    """What comes before so long a quiet, which must begin within 30 s."""
    frames: list[Any] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            frames.append(await asyncio.wait_for(socket.recv(), seconds))
        except TimeoutError:
            return frames
    pytest.fail("it is never quiet")


async def test_a_silent_connection_stays_open_and_others_may_come(feed: Feed) -> None:
    async with subscribed(feed) as socket:
        await fault(feed, "silence", cluster="stocks", seconds=60)
        await frames_until_quiet(socket, 0.5)
        await asyncio.wait_for(await socket.ping(), 20)
        assert (await told(feed))["active"][0]["fault"] == "silence"
        async with subscribed(feed) as second:
            await second.recv()
        await admin(feed, "DELETE")
        assert await ending(socket) == (None, [])


async def test_a_silent_connection_can_be_deaf_too(feed: Feed) -> None:
    async with subscribed(feed) as socket:
        await fault(feed, "silence", cluster="stocks", seconds=60, pong=False)
        await frames_until_quiet(socket, 0.5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await socket.ping(), 0.5)


async def test_what_a_silence_held_back_can_come_after_it(feed: Feed) -> None:
    async with subscribed(feed) as socket:
        began = time.time_ns() // 1_000_000
        await fault(feed, "silence", cluster="stocks", seconds=2, resume=True, pong=False)
        await frames_until_quiet(socket, 0.7)
        ended = time.time_ns() // 1_000_000
        async with asyncio.timeout(30):
            times = [event["t"] for _ in range(60) for event in await read(socket)]
        assert sum(began < t < ended for t in times) > RATE / 20
        await asyncio.wait_for(await socket.ping(), 20)


def _spoiled(raw: bytes) -> bool:
    return len(raw) == 500 and b"not JSON" in raw and _is_garbage(raw)


def _is_text(raw: bytes) -> bool:
    return raw.decode(errors="replace").encode() == raw


def _is_garbage(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("name", "parameters", "is_it"),
    [
        ("garbage", {"bytes": 500}, _spoiled),
        ("garbage", {"bytes": 500, "utf8": False}, lambda raw: _spoiled(raw) and not _is_text(raw)),
        ("no_ev", {}, lambda raw: b"ev" in raw and ["ev" in e for e in json.loads(raw)][-2:] == [True, False]),
        ("big_frame", {}, lambda raw: len(raw) > 1 << 20 and json.loads(raw)[0]["ev"] == "T"),
        ("big_frame", {"bytes": 3_000_000}, lambda raw: len(raw) > 3_000_000),
    ],
)
async def test_frames_that_should_not_be(
    feed: Feed, name: str, parameters: dict[str, Any], is_it: Callable[[bytes], bool]
) -> None:
    async with subscribed(feed) as socket:
        await fault(feed, name, cluster="stocks", count=2, **parameters)
        found = 0
        async with asyncio.timeout(30):
            while found < 2:
                found += is_it(await socket.recv(decode=False))
            for _ in range(10):
                assert all("ev" in event for event in json.loads(await socket.recv())), "and the stream goes on"
        assert (await told(feed))["active"] == []


async def test_frames_that_come_twice(feed: Feed) -> None:
    async with subscribed(feed) as socket:
        await fault(feed, "duplicate", share=0.5, seconds=60)
        async with asyncio.timeout(30):
            frames = [await socket.recv(decode=False) for _ in range(200)]
        twice = sum(a == b for a, b in pairwise(frames))
        assert 20 < twice < 100
        assert len(frames) - twice == len(set(frames))
    assert (await told(feed))["happened"]["duplicate"] >= twice


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("refuse_auth", 1008, ["connected", "auth_failed"]),
        ("drop_in_auth", None, ["connected"]),
        ("max_connections", 1008, ["connected", "auth_success", "success", "max_connections"]),
    ],
)
async def test_trouble_at_the_entry(feed: Feed, name: str, code: int | None, said: list[str]) -> None:
    await fault(feed, name, count=2, cluster="stocks")
    for _ in range(2):
        async with connect(f"{feed.ws_url}/stocks", close_timeout=1) as socket:
            with contextlib.suppress(ConnectionClosed):
                await ask(socket, "auth", "k")
                await ask(socket, "subscribe", "T.*")
            assert await ending(socket) == (code, said)
    async with subscribed(feed), subscribed(feed, "crypto"):
        pass
    await fault(feed, name, seconds=60)
    async with entered(feed) as socket:
        assert await ending(socket) == (code, said)
    await admin(feed, "DELETE")
    async with subscribed(feed):
        pass


async def get(feed: Feed, ticker: str = "MARA", **params: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as http:
        given = {"apiKey": "k", "limit": 50_000, "order": "asc"} | params
        return await http.get(f"{feed.rest_url}/v3/trades/{ticker}", params=given)


async def ids(feed: Feed, **params: Any) -> list[str]:
    return [row["id"] for row in (await get(feed, **params)).json()["results"]]


async def test_rest_that_fails_or_asks_for_patience(feed: Feed) -> None:
    await fault(feed, "rest_error", status=503, count=1, cluster="stocks")
    assert (await get(feed, "X:BTCUSD")).status_code == 200
    assert (await get(feed)).status_code == 503
    assert (await get(feed)).status_code == 200
    await fault(feed, "rest_limit", retry_after=7, seconds=60)
    answer = await get(feed)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    await admin(feed, "DELETE")
    assert (await get(feed)).status_code == 200


async def still(feed: Feed) -> list[str]:
    """MARA's trades once there are some hundred of them and the market is halted."""
    async with asyncio.timeout(60):
        while len(await ids(feed)) < 200:  # noqa: ASYNC110 - the feed tells nobody
            await asyncio.sleep(0.2)
    await admin(feed, path="stop")
    return await ids(feed)


async def test_rest_that_leaves_out_the_last_page_or_a_share(feed: Feed) -> None:
    every = await still(feed)
    await fault(feed, "rest_missing", seconds=60)
    first = (await get(feed, limit=len(every) - 10)).json()
    assert [row["id"] for row in first["results"]] == every[:-10]
    async with httpx.AsyncClient() as http:
        last = (await http.get(first["next_url"], params={"apiKey": "k"} | _query(first["next_url"]))).json()
    assert (last["results"], "next_url" in last) == ([], False)
    await admin(feed, "DELETE")
    await fault(feed, "rest_missing", share=0.5, seconds=60)
    some = await ids(feed)
    assert 0.3 * len(every) < len(some) < 0.7 * len(every)
    assert some == await ids(feed)
    await admin(feed, "DELETE")
    assert await ids(feed) == every


def _query(url: str) -> dict[str, str]:
    return dict(httpx.URL(url).params)


async def test_rest_that_is_late(feed: Feed) -> None:
    every = await still(feed)
    stopped = time.monotonic()
    await fault(feed, "rest_late", lag_s=1_000, seconds=60)
    assert (await get(feed, limit=5)).json().keys() == {"status", "request_id", "results"}, "no next page either"
    assert await ids(feed) == []
    await admin(feed, "DELETE")
    assert await ids(feed) == every
    await fault(feed, "rest_late", lag_s=3, seconds=60)
    await asyncio.sleep(max(0.0, stopped + 4 - time.monotonic()))
    assert await ids(feed) == every


async def test_a_halted_market_makes_no_trades_and_its_ledger_is_on_disk(feed: Feed) -> None:
    async with subscribed(feed) as socket:
        await admin(feed, path="stop")
        await frames_until_quiet(socket, 0.5)
        async with httpx.AsyncClient() as http:
            total = (await http.get(f"{feed.rest_url}/ledger")).json()["total"]
        lines = feed.ledger.read_bytes().splitlines()
        assert len(lines) == total
        assert {"price", "size", "sequence"} <= json.loads(lines[-1]).keys() | {"sequence"}
        await admin(feed, path="go")
        await asyncio.wait_for(socket.recv(), 20)
    stopped_ms = json.loads(lines[-1])["ts"]
    async with asyncio.timeout(20):
        while len(more := feed.ledger.read_bytes().splitlines(keepends=True)) <= len(lines):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert json.loads(more[len(lines)])["ts"] - stopped_ms > 400, "what it would have made meanwhile does not exist"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fault": "rain"},
        {"fault": "drop", "colour": 1},
        {"fault": "drop", "cluster": "options"},
        {"fault": "drop", "count": 0},
        {"fault": "close", "code": "x"},
        {"fault": "close", "code": 1006},
        {"fault": "silence", "seconds": -1},
        {"fault": "duplicate", "share": 1.5},
        {"fault": "rest_error", "status": 200},
        {"fault": "garbage", "bytes": 1 << 40},
        {"fault": "drop", "reason": "x" * 20_000},
    ],
)
async def test_what_is_not_known_is_refused(feed: Feed, body: dict[str, Any]) -> None:
    answer = await admin(feed, **body)
    assert answer.status_code == 400
    assert "max_connections" in answer.json()["error"] or "bytes" in answer.json()["error"]
    assert (await told(feed))["active"] == []


async def test_without_leave_there_is_no_admin() -> None:
    async with FeedServer(FeedSettings(ws_port=0, rest_port=0)) as closed:
        assert (await admin(closed, fault="drop")).status_code == 404


async def test_from_elsewhere_the_feeds_own_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feed.server.ip_address", lambda _host: __import__("ipaddress").ip_address("192.0.2.1"))
    for own, given, status in (("right", "right", 200), ("right", "wrong", 401), (None, "k", 401)):
        async with FeedServer(FeedSettings(ws_port=0, rest_port=0, admin=True, api_key=own)) as feed:
            url = f"{feed.rest_url}/admin/faults"
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {given}"}) as http:
                assert (await http.get(url)).status_code == status


async def test_a_scenario_happens_at_its_times(tmp_path: Path) -> None:
    path = tmp_path / "scenario.jsonl"
    path.write_text('{"at": 2, "fault": "close", "code": 1011}\n\n{"at": 0.1, "fault": "garbage"}\n')
    settings = FeedSettings(ws_port=0, rest_port=0, rate=RATE, scenario=path, close_grace_s=1)
    async with FeedServer(settings) as feed, entered(feed) as socket:
        garbage = 0
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(30):
                while True:
                    garbage += b"not JSON" in await socket.recv(decode=False)
        assert (garbage, socket.close_code) == (1, 1011)
        assert (await admin(feed, fault="drop")).status_code == 404, "a script gives nobody else leave"


@pytest.mark.parametrize(
    "line", ['{"at": 1, "fault": "rain"}', '{"fault": "drop"}', '{"at": -1, "fault": "drop"}', "[]", "nonsense"]
)
def test_a_line_that_is_no_fault_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scenario.jsonl"
    path.write_text('{"at": 0, "fault": "drop"}\n' + line + "\n")
    with pytest.raises(FaultError, match=r"scenario\.jsonl line 2: "):
        read_scenario(path)
