"""The feed's /v3/reference/splits, as the vendor's own clients and plain requests see it."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from feed.faults import NoFaults, RestAnswer
from feed.server import FeedServer
from tests.feed_peer import Record, Script, free_ports

ROWS = [
    {"ticker": "AAPL", "execution_date": "2014-06-09", "split_from": 1, "split_to": 7},
    {"ticker": "GE", "execution_date": "2023-01-04", "split_from": 1, "split_to": 1.281, "id": "E9"},
    {"ticker": "HIVE", "execution_date": "2022-05-20", "split_from": 5, "split_to": 1},
    {"ticker": "AAPL", "execution_date": "2020-08-31", "split_from": 1, "split_to": 4},
    *({"ticker": f"S{n:02}", "execution_date": "2021-03-01", "split_from": 1, "split_to": 2} for n in range(25)),
]
AAPL = [("AAPL", "2014-06-09", 1, 7), ("AAPL", "2020-08-31", 1, 4)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "splits.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def told(rows: list[Record]) -> list[tuple[Any, ...]]:
    return [(row["ticker"], row["execution_date"], row["split_from"], row["split_to"]) for row in rows]


async def pages(http: httpx.AsyncClient, **params: Any) -> list[list[Record]]:
    """All pages in turn, as next_url leads."""
    found, url, query = [], "/v3/reference/splits", httpx.QueryParams(params)
    while True:
        answer = await http.get(url, params=query or None, headers={"Authorization": "Bearer k"})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["status"], bool(body["request_id"])) == ("OK", True)
        found.append(body["results"])
        if "next_url" not in body:
            return found
        url, query = body["next_url"], httpx.QueryParams()


@pytest.mark.parametrize("generation", ["massive", "polygon"])
async def test_the_vendors_own_client_reads_every_page(table: Path, generation: str) -> None:
    async with FeedServer(free_ports(splits=table), Script()) as feed:

        def read(**query: Any) -> list[Any]:
            client = import_module(generation).RESTClient(api_key="k", base=feed.rest_url)
            return list(client.list_splits(**query))

        rows = await asyncio.to_thread(read, limit=4, order="asc", sort="ticker")
        assert [row.ticker for row in rows] == sorted(str(row["ticker"]) for row in ROWS)
        rows = await asyncio.to_thread(read, ticker="AAPL", execution_date_gte="2014-06-10")
        assert [(row.execution_date, row.split_from, row.split_to) for row in rows] == [("2020-08-31", 1, 4)]
        rows = await asyncio.to_thread(read, reverse_split=True)
        assert [(row.ticker, row.split_from, row.split_to) for row in rows] == [("HIVE", 5, 1)]


async def test_pages_orders_bounds_and_numbers(table: Path) -> None:
    async with (
        FeedServer(free_ports(splits=table), Script()) as feed,
        httpx.AsyncClient(base_url=feed.rest_url) as http,
    ):
        whole = await pages(http)
        assert [len(page) for page in whole] == [10, 10, 9], "ten by default"
        assert told(whole[0][:2]) == [("GE", "2023-01-04", 1, 1.281), ("HIVE", "2022-05-20", 5, 1)], "newest first"
        assert whole[0][0]["id"] == "E9"
        ids = [row["id"] for page in whole for row in page]
        assert len(set(ids)) == len(ROWS)
        assert [told(page) for page in await pages(http, ticker="AAPL", limit=1, order="asc")] == [
            [row] for row in AAPL
        ]
        day = {"execution_date.gt": "2014-06-09", "execution_date.lt": "2021-03-01"}
        assert [told(page) for page in await pages(http, **day)] == [AAPL[1:]]
        assert [told(page) for page in await pages(http, execution_date="2014-06-09")] == [AAPL[:1]]
        assert await pages(http, ticker="NONE") == [[]]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "1001"},
        {"limit": "0"},
        {"order": "up"},
        {"sort": "id"},
        {"execution_date": "2020"},
        {"execution_date.near": "2020-01-01"},
        {"reverse_split": "maybe"},
        {"cursor": "!"},
    ],
)
async def test_what_the_vendor_would_refuse(table: Path, params: dict[str, str]) -> None:
    async with (
        FeedServer(free_ports(splits=table), Script()) as feed,
        httpx.AsyncClient(base_url=feed.rest_url) as http,
    ):
        answer = await http.get("/v3/reference/splits", params={"apiKey": "k", **params})
        assert (answer.status_code, answer.json()["status"]) == (400, "ERROR")


async def test_keys_and_faults_are_those_of_rest(table: Path) -> None:
    class Busy(NoFaults):
        async def on_rest(self, path: str) -> RestAnswer | None:
            return RestAnswer(503, b"{}") if "reference" in path and self.told else None

        told = False

    faults = Busy()
    async with (
        FeedServer(free_ports(splits=table, api_key="right"), Script(), faults) as feed,
        httpx.AsyncClient(base_url=feed.rest_url) as http,
    ):
        assert (await http.get("/v3/reference/splits?apiKey=wrong")).status_code == 401
        assert (await http.get("/v3/reference/splits?apiKey=right")).status_code == 200
        faults.told = True
        assert (await http.get("/v3/reference/splits?apiKey=right")).status_code == 503


async def test_without_a_table_there_are_none() -> None:
    async with FeedServer(free_ports(), Script()) as feed, httpx.AsyncClient(base_url=feed.rest_url) as http:
        assert await pages(http) == [[]]


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        '{"ticker": "A", "execution_date": "2020-13-01", "split_from": 1, "split_to": 2}',
        '{"ticker": "A", "execution_date": "2020-01-01", "split_from": 0, "split_to": 2}',
        '{"ticker": "A", "execution_date": "2020-01-01", "split_from": 1}',
    ],
)
def test_a_broken_table_is_refused_at_the_start_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "splits.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=r"splits\.jsonl, line 2"):
        FeedServer(free_ports(splits=path), Script())
