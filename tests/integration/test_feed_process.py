"""`python -m feed` as a user runs it: a process of its own."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.feed_peer import ask, read, read_trades


async def start(*options: str, **env: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "feed", *options, stderr=PIPE, env=env or None)


async def next_line(process: Process) -> dict[str, Any]:
    assert process.stderr is not None
    async with asyncio.timeout(10):
        line: dict[str, Any] = json.loads(await process.stderr.readline())
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_when_ready_and_stops_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    process = await start("--ws-port", "0", "--rest-port", "0", "--rate", "500", "--ledger", str(ledger))
    ready = await next_line(process)
    assert ready["event"] == "feed ready"
    async with connect(f"{ready['ws']}/stocks") as ws:
        await ask(ws, "auth", "k")
        await ask(ws, "subscribe", "T.*")
        for _ in range(3):
            assert (await read(ws))[0]["ev"] == "status"
        await read_trades(ws, 50)
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{ready['rest']}/health")).json()["status"] == "ok"
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    stopping = await next_line(process)
    assert stopping["trades_sent"] == len(ledger.read_text().splitlines()) >= 50


async def test_settings_come_from_the_environment_and_the_duration_ends_it() -> None:
    process = await start(FEED_WS_PORT="0", FEED_REST_PORT="0", TRADE_FREQUENCY="2000", FEED_DURATION="1")
    assert (await next_line(process))["event"] == "feed ready"
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert (await next_line(process))["trades_sent"] > 600


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await start("--ws-port", str(taken.getsockname()[1]), "--rest-port", "0")
        failed = await next_line(process)
        assert await process.wait() == 1
    assert "address already in use" in failed["reason"]


async def test_a_recording_is_written_played_and_a_broken_one_ends_the_feed(tmp_path: Path) -> None:
    process = await start("record", "--out", str(tmp_path), "--trades", "400", "--seconds", "4")
    written = await next_line(process)
    assert await process.wait() == 0
    play = [option for path in written["files"] for option in ("--play", path)]
    process = await start("--ws-port", "0", "--rest-port", "0", "--speed", "20", "--duration", "1", *play)
    await next_line(process)
    assert await process.wait() == 0
    assert [(await next_line(process))["event"] for _ in range(1)] == ["recording played to its end"]
    assert (await next_line(process))["trades_sent"] == 400
    broken = tmp_path / "broken.jsonl"
    broken.write_text("nonsense\n")
    process = await start("--ws-port", "0", "--rest-port", "0", "--play", str(broken))
    assert "broken.jsonl:1: not JSON" in (await next_line(process))["reason"]
    assert await process.wait() == 1
