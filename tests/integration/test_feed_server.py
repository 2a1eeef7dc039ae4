import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from feed import session
from feed.client import Client
from feed.faults import CloseConnection, NoFaults
from feed.server import FeedServer
from tests.feed_peer import Record, Script, ask, client, coin, free_ports, read, read_status, read_trades, stock


@pytest.fixture
def market() -> Script:
    return Script()


@pytest.fixture
async def feed(market: Script) -> AsyncIterator[FeedServer]:
    async with FeedServer(free_ports(), market) as server:
        yield server


async def closed(ws: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason of the close that must come now."""
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(5):
            await ws.recv()
    return ws.close_code, ws.close_reason


async def nothing_comes(ws: ClientConnection) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await ws.recv()
    except TimeoutError:
        return True
    return False


async def test_the_whole_dialogue(feed: FeedServer, market: Script) -> None:
    async with client(feed, "stocks", "T.MARA", "Q.MARA", "AM.*") as ws:
        market.put(stock("MARA", 1), stock("RIOT", 2), coin(3))
        assert [t["i"] for t in await read_trades(ws, 1)] == ["1"]
        await ask(ws, "subscribe", "ZZ.MARA,T.MARA,XT.BTC-USD")
        assert await nothing_comes(ws), "an unknown channel and a repeated subscribe get no answer"
        await ask(ws, "subscribe", "T.*")
        assert await read_status(ws) == ("success", "subscribed to: T.*")
        market.put(stock("MARA", 4), stock("RIOT", 5))
        assert [(t["sym"], t["i"]) for t in await read(ws)] == [("MARA", "4"), ("RIOT", "5")], "one mixed frame"
        await ask(ws, "unsubscribe", "T.*,T.MARA")
        assert await read_status(ws) == ("success", "unsubscribed to: T.*")
        assert await read_status(ws) == ("success", "unsubscribed to: T.MARA")
        market.put(stock("MARA", 6))
        assert await nothing_comes(ws)


async def test_a_trade_on_the_wire_has_the_documented_fields(feed: FeedServer, market: Script) -> None:
    async with client(feed, "stocks", "T.*") as stocks, client(feed, "crypto", "XT.*") as crypto:
        market.put(stock("MARA", 1, c=(14, 37), ds="100.5", trfi=202, trft=7), stock("RIOT", 2), coin(3))
        full, plain = await read(stocks)
        assert full == {
            "ev": "T", "sym": "MARA", "x": 12, "i": "1", "z": 3, "p": 20.5, "s": 100, "t": 1_709_650_800_001, "q": 1,
            "c": [14, 37], "ds": "100.5", "trfi": 202, "trft": 7,
        }  # fmt: skip
        assert plain.keys() == {"ev", "sym", "x", "i", "z", "p", "s", "t", "q"}, "absent fields are left out"
        assert await read(crypto) == [
            {"ev": "XT", "pair": "BTC-USD", "p": 65_000.5, "t": 1_709_650_800_003, "s": 0.25, "i": "3", "x": 23,
             "c": [1], "r": 1_709_650_800_043}
        ]  # fmt: skip


async def test_many_due_events_come_as_frames_below_a_mebibyte(feed: FeedServer, market: Script) -> None:
    async with client(feed, "stocks", "T.*", max_size=1 << 20) as ws:
        market.put(*(stock("MARA", n) for n in range(5000)))
        frames: list[list[Record]] = []
        while sum(len(frame) for frame in frames) < 5000:
            frames.append(await read(ws))
        assert [int(t["i"]) for frame in frames for t in frame] == list(range(5000))
        assert 5 < len(frames) < 50


@pytest.mark.parametrize("key", ["wrong", ""])
async def test_a_wrong_key_is_refused(key: str) -> None:
    async with FeedServer(free_ports(api_key="right"), Script()) as feed:
        async with connect(f"{feed.ws_url}/stocks") as ws:
            await read(ws)
            await ask(ws, "auth", key)
            assert await read_status(ws) == ("auth_failed", "authentication failed")
            assert (await closed(ws))[0] == 1008
        async with client(feed, "stocks", "T.*", key="right"):
            pass


async def test_any_key_but_none_opens_a_feed_without_a_key(feed: FeedServer) -> None:
    async with connect(f"{feed.ws_url}/stocks") as ws:
        await read(ws)
        await ask(ws, "auth", "")
        assert (await read_status(ws))[0] == "auth_failed"


async def test_silence_instead_of_a_key_times_out() -> None:
    async with FeedServer(free_ports(auth_timeout_s=0.1), Script()) as feed, connect(f"{feed.ws_url}/stocks") as ws:
        await read(ws)
        await ask(ws, "subscribe", "T.*")
        assert await read_status(ws) == ("error", "not authorized")
        assert (await read_status(ws))[0] == "auth_timeout"
        assert (await closed(ws))[0] == 1008


async def test_nonsense_is_answered_and_borne(feed: FeedServer, market: Script) -> None:
    async with client(feed, "stocks", "T.*") as ws:
        for text in ("hello", "[]", '{"action":"dance"}'):
            await ws.send(text)
            assert (await read_status(ws))[0] == "error"
        await ask(ws, "auth", "k")
        assert (await read_status(ws))[0] == "auth_success"
        market.put(stock("MARA", 1))
        assert len(await read_trades(ws, 1)) == 1


async def test_an_unknown_path_is_refused(feed: FeedServer) -> None:
    with pytest.raises(InvalidStatus, match="404"):
        await connect(f"{feed.ws_url}/options")


async def test_one_connection_per_cluster_and_key(feed: FeedServer, market: Script) -> None:
    async with client(feed, "stocks", "T.*") as first:
        async with client(feed, "stocks", "T.*") as second:
            assert (await read_status(second))[0] == "max_connections"
            assert (await closed(second))[0] == 1008
        async with client(feed, "crypto", "XT.*") as crypto, client(feed, "stocks", "T.*", key="other") as other:
            market.put(stock("MARA", 1), coin(2))
            for ws in (first, crypto, other):
                assert len(await read_trades(ws, 1)) == 1
    async with client(feed, "stocks", "T.*") as again:
        market.put(stock("MARA", 3))
        assert len(await read_trades(again, 1)) == 1


async def test_a_surplus_connection_that_never_subscribes_is_refused_too(
    feed: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MAX_CONNECTIONS_DELAY_S", 0.05)
    async with client(feed, "stocks"), client(feed, "stocks") as second:
        assert (await read_status(second))[0] == "max_connections"
        assert (await closed(second))[0] == 1008


async def test_more_connections_can_be_allowed() -> None:
    market = Script()
    async with (
        FeedServer(free_ports(max_connections=2), market) as feed,
        client(feed, "stocks", "T.*") as first,
        client(feed, "stocks", "T.*") as second,
    ):
        market.put(stock("MARA", 1))
        assert await read(first) == await read(second)


def narrow_socket(feed: FeedServer) -> socket.socket:
    """A connection that holds little unread, so that a client that stops reading is noticed early."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", feed.ws_port))
    sock.setblocking(False)
    return sock


async def flood(market: Script, feed: FeedServer) -> int:
    """Send until a client is dropped; the number of trades sent."""
    sent = 0
    while not feed.hub.slow_consumers:
        assert sent < 400_000, "the slow client was never dropped"
        market.put(*(stock("MARA", sent + n) for n in range(2000)))
        sent += 2000
        await asyncio.sleep(0.01)
    return sent


async def test_a_slow_reader_is_told_and_dropped_and_holds_up_nobody() -> None:
    market = Script()
    settings = free_ports(max_connections=2, max_queue_bytes=2_000_000)
    async with FeedServer(settings, market) as feed, client(feed, "stocks", "T.*") as quick:
        reader = asyncio.create_task(collect(quick))
        async with client(feed, "stocks", "T.*", sock=narrow_socket(feed), max_queue=1) as slow:
            sent = await flood(market, feed)
            read_late = await collect(slow)
            assert read_late[-1] == "slow_consumer"
            assert slow.close_code == 1008
            assert read_late[:-1] == [str(n) for n in range(len(read_late) - 1)], "what came, came whole and in order"
        market.put(stock("MARA", -1))
        assert await asyncio.wait_for(reader, 20) == [str(n) for n in range(sent)] + ["-1"]
        assert len(feed.hub) == 1


async def collect(ws: ClientConnection) -> list[str]:
    """Trade ids and status names until the connection closes or id -1 has come."""
    seen: list[str] = []
    while not seen or seen[-1] != "-1":
        try:
            seen += [event.get("i") or event["status"] for event in json.loads(await ws.recv())]
        except ConnectionClosed:
            break
    return seen


async def test_a_reader_that_never_wakes_is_cut_off() -> None:
    market = Script()
    settings = free_ports(max_queue_bytes=200_000, close_grace_s=0.2)
    async with FeedServer(settings, market) as feed:
        async with client(feed, "stocks", "T.*", sock=narrow_socket(feed), max_queue=1, close_timeout=0.1) as slow:
            await flood(market, feed)
            await asyncio.sleep(0.5)
            assert "slow_consumer" not in await collect(slow), "the server no longer waited to say it"
            assert slow.close_code == 1006
        async with client(feed, "stocks", "T.*"):
            pass


async def test_faults_are_asked_at_every_step(market: Script) -> None:
    class Trouble(NoFaults):
        async def on_subscribe(self, cluster: str, items: list[str]) -> list[str]:
            if "T.CUT" in items:
                raise CloseConnection(1011, "cut")
            return [item for item in items if item != "T.LOST"]

        async def on_connect(self, cluster: str) -> None:
            if cluster == "crypto":
                raise CloseConnection(1013, "try again later")

        def before_send(self, client: Client, frames: Sequence[bytes]) -> Sequence[bytes]:
            return [b"not json", *frames]

    async with FeedServer(free_ports(), market, Trouble()) as feed:
        async with connect(f"{feed.ws_url}/crypto") as ws:
            assert await closed(ws) == (1013, "try again later")
        async with client(feed, "stocks", "T.MARA") as ws:
            await ask(ws, "subscribe", "T.LOST")
            assert await nothing_comes(ws)
            market.put(stock("MARA", 1))
            assert await ws.recv() == "not json"
            assert len(await read_trades(ws, 1)) == 1
            await ask(ws, "subscribe", "T.CUT")
            assert await closed(ws) == (1011, "cut")


async def test_a_fault_can_refuse_a_right_key(market: Script) -> None:
    class NoEntry(NoFaults):
        async def on_auth(self, cluster: str, accepted: bool) -> bool:
            return not accepted

    async with FeedServer(free_ports(), market, NoEntry()) as feed, connect(f"{feed.ws_url}/stocks") as ws:
        await read(ws)
        await ask(ws, "auth", "k")
        assert (await read_status(ws))[0] == "auth_failed"


async def test_stopping_closes_clients_as_going_away(market: Script) -> None:
    async with FeedServer(free_ports(), market) as feed:
        ws = await connect(f"{feed.ws_url}/stocks")
        await read(ws)
    assert (await closed(ws))[0] == 1001
