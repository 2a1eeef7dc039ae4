"""What tests of the feed need at the other end: a scripted market and a small client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from feed.events import CryptoTrade, Event, StockTrade
from feed.server import FeedServer
from feed.settings import FeedSettings

T0 = 1_709_650_800_000
Record = dict[str, Any]


class Script:
    """A market that sends exactly what the test puts into it, at the next tick."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, *events: Event) -> None:
        self._events += events

    def advance(self, to_ms: int) -> list[Event]:
        del to_ms
        events, self._events = self._events, []
        return events


def stock(symbol: str, number: int, *, correction: int = 0, **fields: Any) -> Event:
    trade = StockTrade(symbol, 12, str(number), 3, 20.5, 100, T0 + number, number, **fields)
    return Event(T0 + number, "T", symbol, trade, trade, correction)


def coin(number: int) -> Event:
    trade = CryptoTrade("BTC-USD", 65_000.5, T0 + number, 0.25, str(number), 23, (1,), T0 + number + 40)
    return Event(T0 + number, "XT", "BTC-USD", trade, trade)


def free_ports(**settings: Any) -> FeedSettings:
    return FeedSettings(ws_port=0, rest_port=0, **settings)


async def ask(ws: ClientConnection, action: str, params: str) -> None:
    await ws.send(json.dumps({"action": action, "params": params}))


async def read(ws: ClientConnection) -> list[Record]:
    """The events of the next frame."""
    async with asyncio.timeout(5):
        frame: list[Record] = json.loads(await ws.recv())
    assert isinstance(frame, list)
    return frame


async def read_status(ws: ClientConnection) -> tuple[str, str]:
    """Status and message of the next frame, which holds one status event."""
    (event,) = await read(ws)
    assert event["ev"] == "status"
    return event["status"], event["message"]


async def read_trades(ws: ClientConnection, count: int) -> list[Record]:
    """The next trades, over as many frames as they take; anything else in between fails."""
    trades: list[Record] = []
    while len(trades) < count:
        trades += await read(ws)
    assert all(trade["ev"] in {"T", "XT"} for trade in trades)
    return trades


@asynccontextmanager
async def client(
    feed: FeedServer, cluster: str, *items: str, key: str = "k", **options: Any
) -> AsyncIterator[ClientConnection]:
    """A connection that has authenticated and subscribed, its confirmations read."""
    # Unread frames would stop the client from seeing the answer to its own close.
    async with connect(f"{feed.ws_url}/{cluster}", **({"max_queue": None} | options)) as ws:
        assert await read_status(ws) == ("connected", "Connected Successfully")
        await ask(ws, "auth", key)
        assert await read_status(ws) == ("auth_success", "authenticated")
        if items:
            await ask(ws, "subscribe", ",".join(items))
            for item in items:
                assert await read_status(ws) == ("success", f"subscribed to: {item}")
        yield ws


async def all_pages(http: httpx.AsyncClient, ticker: str, **params: Any) -> list[list[Record]]:
    """The results of every page, following next_url."""
    pages, url, query = [], f"/v3/trades/{ticker}", httpx.QueryParams({"order": "asc", **params})
    while True:
        answer = await http.get(url, params=query or None, headers={"Authorization": "Bearer k"})
        assert answer.status_code == 200
        body = answer.json()
        assert body["status"] == "OK"
        assert body["request_id"]
        pages.append(body["results"])
        if "next_url" not in body:
            return pages
        url, query = body["next_url"], httpx.QueryParams()
