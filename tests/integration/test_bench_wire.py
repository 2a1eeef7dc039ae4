"""The replay server with its readers: the official client as the benchmark starts it, and what it tells of faults."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from bench.peers.environments import HERE
from bench.wire.official import PEER, counted
from bench.wire.server import Replay, State
from bench.wire.stream import CHANNELS, START_MS, Stream, write_stream
from market.native import Child, choose_port
from market.stack import get_health
from tests.feed_peer import ask, read, read_status

TRADES = 20_000


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return write_stream(tmp_path_factory.mktemp("stream") / "frames.jsonl", TRADES)


@pytest.fixture
async def replay(stream: Stream) -> AsyncIterator[tuple[Replay, str]]:
    replay = Replay(stream.path.read_bytes().splitlines()[:3], 1)
    async with serve(replay.serve, "127.0.0.1", 0, process_request=replay.answer, compression=None) as server:
        yield replay, f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def subscribed(address: str, cluster: str) -> ClientConnection:
    """A connection after the whole dialogue, as it is with the vendor."""
    ws = await connect(f"ws://{address}/{cluster}")
    assert await read_status(ws) == ("connected", "Connected Successfully")
    await ask(ws, "auth", "k")
    assert await read_status(ws) == ("auth_success", "authenticated")
    await ask(ws, "subscribe", CHANNELS[cluster])
    assert await read_status(ws) == ("success", f"subscribed to: {CHANNELS[cluster]}")
    return ws


async def test_trades_come_once_both_clusters_are_subscribed_with_times_of_now(
    replay: tuple[Replay, str], stream: Stream
) -> None:
    server, address = replay
    stocks = await subscribed(address, "stocks")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await stocks.recv()
    crypto = await subscribed(address, "crypto")

    first = (await read(stocks))[0]

    expected = json.loads(stream.path.read_bytes().splitlines()[0])[0]
    assert first == expected | {"t": expected["t"] + server.state.shift_ms}
    assert abs(START_MS + server.state.shift_ms - time.time() * 1_000) < 10_000
    await stocks.close()
    await crypto.close()


async def test_a_reader_that_comes_again_is_turned_away_and_told_of(replay: tuple[Replay, str]) -> None:
    server, address = replay
    first = await subscribed(address, "stocks")
    second = await connect(f"ws://{address}/stocks")

    with pytest.raises(ConnectionClosed):
        await second.recv()

    assert server.state.failed == "its reader of stocks connected a second time"
    await first.close()


async def test_rest_has_no_trades_and_health_tells_the_state(replay: tuple[Replay, str]) -> None:
    port = int(replay[1].partition(":")[2])

    healthy, told = await asyncio.to_thread(get_health, port)

    assert healthy
    assert msgspec.convert(told, State) == State()


@pytest.mark.parametrize("mode", ["parsed", "raw"])
def test_the_official_client_counts_every_trade(mode: str, stream: Stream, tmp_path: Path) -> None:
    port = choose_port()
    server = Child.start(
        "replay", [sys.executable, "-m", "bench.wire.server", stream.path, str(port)], tmp_path / "log"
    )
    try:
        server.wait_until(lambda: get_health(port)[0], 30)
        done = subprocess.run(
            [sys.executable, HERE / PEER / "peer.py"], capture_output=True, text=True, timeout=60, check=True,
            env={**os.environ, "ADDRESS": f"127.0.0.1:{port}", "MODE": mode, "TRADES": str(TRADES)},
        )  # fmt: skip
        state = msgspec.convert(get_health(port)[1], State)
    finally:
        server.stop()

    assert counted(done.stdout, TRADES, state.cpu_s).seconds > 0
    assert state.done
    assert not state.failed
