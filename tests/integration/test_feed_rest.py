import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from feed.events import Event
from feed.faults import NoFaults, RestAnswer
from feed.model import MarketModel
from feed.pump import wall_ms
from feed.server import FeedServer
from feed.symbols import DEFAULT_SYMBOLS
from tests.feed_peer import T0, Record, Script, all_pages, client, coin, free_ports, read_trades, stock


async def sent(feed: FeedServer, count: int) -> None:
    async with asyncio.timeout(5):
        while feed.history.size < count:  # noqa: ASYNC110 - the feed tells nobody
            await asyncio.sleep(0.01)


class Halting:
    """The market model until it is halted, so that the books stand still to be compared."""

    def __init__(self, model: MarketModel) -> None:
        self._model = model
        self.halted = False

    def advance(self, to_ms: int) -> list[Event]:
        return [] if self.halted else self._model.advance(to_ms)


def identity(row: Record) -> tuple[Any, ...]:
    return row["exchange"], row.get("trf_id"), row["id"]


async def test_all_pages_equal_the_ledger_and_what_the_socket_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    market = Halting(MarketModel(list(DEFAULT_SYMBOLS), 4, 800, wall_ms(), burst=1))
    feed = FeedServer(free_ports(ledger=path), market)
    async with feed, client(feed, "stocks", "T.MARA") as ws, client(feed, "crypto", "XT.*") as coins:
        heard = await read_trades(ws, 60)
        heard_coins = await read_trades(coins, 10)
        async with httpx.AsyncClient(base_url=feed.rest_url) as http:
            bound = {"timestamp.lte": time.time_ns()}
            while_running = await all_pages(http, "MARA", limit=20, **bound)
        market.halted = True
        async with httpx.AsyncClient(base_url=feed.rest_url) as http:
            counts = (await http.get("/ledger")).json()
            pages = {symbol: await all_pages(http, symbol, limit=37) for symbol in counts["stocks"]}
            pages["BTC-USD"] = await all_pages(http, "X:BTCUSD", limit=37)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == counts["total"]
    for symbol, parts in pages.items():
        rows = [row for part in parts for row in part]
        assert all(len(part) == 37 for part in parts[:-1])
        assert len(rows) == {**counts["stocks"], **counts["crypto"]}[symbol]
        own = [line for line in lines if line["symbol"] == symbol]
        assert {identity(row) for row in rows} == {(line["exchange"], line["trf"], line["id"]) for line in own}
        times = [row["sip_timestamp" if "sip_timestamp" in row else "participant_timestamp"] for row in rows]
        assert times == sorted(times)
        assert sorted(time // 1_000_000 for time in times) == sorted(line["ts"] for line in own)
    known = {row["id"]: row for part in pages["MARA"] for row in part}
    for trade in heard:
        row = known[trade["i"]]
        assert (row["price"], row["size"], row["exchange"]) == (trade["p"], trade["s"], trade["x"])
        assert row["sip_timestamp"] // 1_000_000 == trade["t"]
        assert row.get("conditions") == trade.get("c")
    assert {trade["i"] for trade in heard} <= {row["id"] for part in while_running for row in part}
    assert {trade["i"] for trade in heard_coins} <= {row["id"] for part in pages["BTC-USD"] for row in part}


@pytest.fixture
def market() -> Script:
    return Script()


async def test_bounds_order_and_limit(market: Script) -> None:
    async with FeedServer(free_ports(), market) as feed, httpx.AsyncClient(base_url=feed.rest_url) as http:
        market.put(*(stock("MARA", n) for n in range(1500)))
        await sent(feed, 1500)

        async def ids(**params: Any) -> list[int]:
            answer = await http.get("/v3/trades/MARA", params={"apiKey": "k", **params})
            return [int(row["id"]) for row in answer.json()["results"]]

        assert await ids() == list(range(1499, 499, -1)), "newest first, 1,000 by default"
        assert await ids(order="asc", limit=3) == [0, 1, 2]
        assert await ids(**{"timestamp.gte": (T0 + 1497) * 1_000_000, "order": "asc"}) == [1497, 1498, 1499]
        assert await ids(**{"timestamp.lt": (T0 + 2) * 1_000_000}) == [1, 0]
        assert len(await ids(timestamp="2024-03-05", limit=50_000)) == 1500
        assert await ids(timestamp="2024-03-04") == []


async def test_keys_and_bad_requests(market: Script) -> None:
    async with (
        FeedServer(free_ports(api_key="right"), market) as feed,
        httpx.AsyncClient(base_url=feed.rest_url) as http,
    ):
        for options in ({}, {"params": {"apiKey": "wrong"}}, {"headers": {"Authorization": "Bearer wrong"}}):
            answer = await http.get("/v3/trades/MARA", **options)  # type: ignore[arg-type]
            assert answer.status_code == 401
            assert answer.json()["status"] == "ERROR"
        for options in ({"params": {"apiKey": "right"}}, {"headers": {"Authorization": "Bearer right"}}):
            answer = await http.get("/v3/trades/NONE", **options)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["results"]) == (200, [])
        answer = await http.get("/v3/trades/MARA", params={"apiKey": "right", "limit": "50001"})
        assert answer.status_code == 400
        assert "limit" in answer.json()["error"]


async def test_only_what_was_sent_is_known(market: Script) -> None:
    async with FeedServer(free_ports(), market) as feed, httpx.AsyncClient(base_url=feed.rest_url) as http:
        assert await all_pages(http, "MARA") == [[]]
        market.put(stock("MARA", 1), coin(2))
        await sent(feed, 2)
        assert [row["id"] for row in (await all_pages(http, "MARA"))[0]] == ["1"]
        assert [row["id"] for row in (await all_pages(http, "X:BTCUSD"))[0]] == ["2"]


async def test_a_cancel_record_is_in_rest_and_never_on_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    trade = {"ev": "T", "sym": "XXX", "x": 4, "z": 1, "p": 157.04, "s": 1273, "trfi": 201}
    numbers = [{"i": str(n), "q": n, "t": T0 + n, "trft": T0 + n} for n in range(3)]
    marks: tuple[Record, ...] = ({"_corr": 8}, {"_corr": 10}, {})
    path.write_text("".join(json.dumps({**trade, **n, **m}) + "\n" for n, m in zip(numbers, marks, strict=True)))
    feed = FeedServer(free_ports(play=(path,), speed=0.004))
    async with feed, client(feed, "stocks", "T.*") as ws, httpx.AsyncClient(base_url=feed.rest_url) as http:
        (last,) = await read_trades(ws, 1)
        await sent(feed, 3)
        rows = (await all_pages(http, "XXX"))[0]
    assert last["i"] == "2", "the first went out before the client came, the cancel never does"
    assert not any(name.startswith("_") for name in last)
    assert {row["id"]: row.get("correction", 0) for row in rows} == {"0": 8, "1": 10, "2": 0}
    assert feed.ledger.summary() == {"stocks": {"XXX": 2}, "crypto": {}, "total": 2, "corrections": 1}


async def test_health_tells_of_the_feed(market: Script) -> None:
    async with (
        FeedServer(free_ports(), market) as feed,
        client(feed, "stocks", "T.*") as ws,
        httpx.AsyncClient(base_url=feed.rest_url) as http,
    ):
        market.put(stock("MARA", 1))
        await read_trades(ws, 1)
        health = (await http.get("/health")).json()
    assert health["status"] == "ok"
    assert (health["clients"], health["trades_sent"], health["trades_in_history"]) == (1, 1, 1)


async def test_a_fault_can_answer_in_rests_place(market: Script) -> None:
    class Busy(NoFaults):
        async def on_rest(self, path: str) -> RestAnswer | None:
            return RestAnswer(503, b'{"status":"ERROR"}') if path.endswith("MARA") else None

    async with FeedServer(free_ports(), market, Busy()) as feed, httpx.AsyncClient(base_url=feed.rest_url) as http:
        assert (await http.get("/v3/trades/MARA?apiKey=k")).status_code == 503
        assert (await http.get("/v3/trades/RIOT?apiKey=k")).status_code == 200
