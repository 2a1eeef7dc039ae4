"""The vendor's own clients, both generations, against the feed: what they understand is what ours must be."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from feed.server import FeedServer
from tests.feed_peer import T0, Script, coin, free_ports, stock


@pytest.fixture(params=["massive", "polygon"])
def vendor(request: pytest.FixtureRequest) -> ModuleType:
    return import_module(request.param)


@pytest.fixture
def market() -> Script:
    return Script()


@pytest.fixture
async def feed(market: Script) -> AsyncIterator[FeedServer]:
    async with FeedServer(free_ports(), market) as server:
        yield server


class Listener:
    """An official WebSocket client running beside the test."""

    def __init__(self, vendor: ModuleType, feed: FeedServer, cluster: str, *items: str, key: str = "k") -> None:
        address = feed.ws_url.removeprefix("ws://")
        self.client = vendor.WebSocketClient(
            api_key=key, feed=address, market=cluster, secure=False, subscriptions=list(items), verbose=True,
            max_reconnects=0,
        )  # fmt: skip
        self.seen: list[Any] = []
        self._task = asyncio.create_task(self.client.connect(self._take))

    async def _take(self, messages: list[Any]) -> None:
        self.seen += messages

    async def trades(self, count: int) -> list[Any]:
        """The first `count` trades; what ended the client instead is raised."""
        async with asyncio.timeout(5):
            while len(self.seen) < count:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)
        return self.seen

    async def end(self) -> BaseException | None:
        """How the client ended by itself."""
        async with asyncio.timeout(5):
            await asyncio.wait({self._task})
        return self._task.exception()

    async def close(self) -> None:
        await self.client.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with asyncio.timeout(5):
        while text not in caplog.text:  # noqa: ASYNC110 - a log handler cannot be awaited
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _all_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "WebSocketClient")
    for name in ("massive.websocket", "polygon.websocket"):
        import_module(name).logger.addHandler(caplog.handler)


async def test_stock_trades_arrive_parsed(
    vendor: ModuleType, feed: FeedServer, market: Script, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(vendor, feed, "stocks", "T.MARA", "T.RIOT")
    await logged(caplog, "subscribed to: T.MARA")
    await logged(caplog, "subscribed to: T.RIOT")
    for status in ("Connected Successfully", "authenticated"):
        assert status in caplog.text
    market.put(stock("MARA", 1, c=(37,), ds="0.25", trfi=202, trft=T0), stock("HUT", 2), stock("RIOT", 3))
    first, second = await listener.trades(2)
    assert type(first).__name__ == "EquityTrade"
    assert vars(first) == {
        "event_type": "T", "symbol": "MARA", "exchange": 12, "id": "1", "tape": 3, "price": 20.5, "size": 100,
        "conditions": [37], "timestamp": T0 + 1, "sequence_number": 1, "trf_id": 202, "trf_timestamp": T0,
    } | ({"fractional_shares": "0.25"} if hasattr(first, "fractional_shares") else {})  # fmt: skip
    assert (second.symbol, second.conditions) == ("RIOT", None)
    await listener.close()


async def test_crypto_trades_arrive_parsed(
    vendor: ModuleType, feed: FeedServer, market: Script, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(vendor, feed, "crypto", "XT.*")
    await logged(caplog, "subscribed to: XT.*")
    market.put(coin(7))
    (trade,) = await listener.trades(1)
    assert type(trade).__name__ == "CryptoTrade"
    assert vars(trade) == {
        "event_type": "XT", "pair": "BTC-USD", "exchange": 23, "id": "7", "price": 65_000.5, "size": 0.25,
        "conditions": [1], "timestamp": T0 + 7, "received_timestamp": T0 + 47,
    }  # fmt: skip
    await listener.close()


async def test_subscriptions_can_be_changed_on_the_way(
    vendor: ModuleType, feed: FeedServer, market: Script, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(vendor, feed, "stocks", "T.MARA")
    await logged(caplog, "subscribed to: T.MARA")
    listener.client.subscribe("T.RIOT")
    listener.client.unsubscribe("T.MARA")
    await logged(caplog, "subscribed to: T.RIOT")
    await logged(caplog, "unsubscribed to: T.MARA")
    market.put(stock("MARA", 1), stock("RIOT", 2))
    assert [trade.symbol for trade in await listener.trades(1)] == ["RIOT"]
    await listener.close()


async def test_a_wrong_key_is_understood(vendor: ModuleType) -> None:
    async with FeedServer(free_ports(api_key="right"), Script()) as feed:
        error = await Listener(vendor, feed, "stocks", "T.*", key="wrong").end()
    assert type(error).__name__ == "AuthError"
    assert "authentication failed" in str(error)


async def test_a_surplus_connection_is_closed_with_its_status(
    vendor: ModuleType, feed: FeedServer, caplog: pytest.LogCaptureFixture
) -> None:
    first = Listener(vendor, feed, "stocks", "T.*")
    await logged(caplog, "subscribed to: T.*")
    error = await Listener(vendor, feed, "stocks", "T.*").end()
    assert "1008" in str(error)
    await logged(caplog, "Maximum number of connections exceeded.")
    await first.close()


async def test_rest_pages_are_followed_to_the_end(vendor: ModuleType, feed: FeedServer, market: Script) -> None:
    market.put(*(stock("MARA", n, c=(37,), trfi=201, trft=T0 + n) for n in range(25)), coin(30))
    async with asyncio.timeout(5):
        while feed.history.size < 26:  # noqa: ASYNC110 - the feed tells nobody
            await asyncio.sleep(0.005)
    client = vendor.RESTClient(api_key="k", base=feed.rest_url)

    def list_trades(ticker: str, **options: Any) -> list[Any]:
        return list(client.list_trades(ticker, order="asc", limit=10, **options))

    trades = await asyncio.to_thread(list_trades, "MARA", timestamp_gte=T0 * 1_000_000)
    assert [trade.id for trade in trades] == [str(n) for n in range(25)]
    third = trades[3]
    assert (third.price, third.size, third.exchange, third.conditions) == (20.5, 100, 12, [37])
    assert third.sip_timestamp // 1_000_000 == T0 + 3
    assert (third.tape, third.sequence_number, third.trf_id) == (3, 3, 201)
    assert third.trf_timestamp == (T0 + 3) * 1_000_000
    later = await asyncio.to_thread(list_trades, "MARA", timestamp_gt=third.sip_timestamp)
    assert [trade.id for trade in later] == [str(n) for n in range(4, 25)]
    (bitcoin,) = await asyncio.to_thread(list_trades, "X:BTCUSD")
    assert (bitcoin.price, bitcoin.size, bitcoin.id) == (65_000.5, 0.25, "30")
    assert bitcoin.participant_timestamp // 1_000_000 == T0 + 30
