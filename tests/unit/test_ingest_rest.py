"""The REST client against a server that gives pages, errors, and pages it should not."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from services.ingest import rest
from services.ingest.budget import CallBudget
from services.ingest.rest import RefusedError, RestClient, RestError
from services.ingest.retryafter import seconds_of

KEY = "s3cret-key"
Answer = tuple[int, bytes, dict[str, str]]


def page(*ids: str, next_url: str | None = None, status: int = 200, **headers: str) -> Answer:
    rows = [{"id": i, "price": 1.5, "sip_timestamp": 1_709_650_800_000_000_000, "new_field": []} for i in ids]
    body = {"status": "OK", "results": rows} | ({"next_url": next_url} if next_url else {})
    return status, json.dumps(body).encode(), headers


class Vendor:
    """Answers each call with what ``answer`` makes of its number and path."""

    def __init__(self, answer: Callable[[int, str], Answer | None]) -> None:
        self._answer = answer
        self.calls: list[tuple[str, str]] = []
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := (await reader.readuntil(b"\r\n\r\n")).decode():
                path = request.split(" ")[1]
                keys = [line for line in request.splitlines() if line.lower().startswith("authorization:")]
                self.calls.append((path, keys[0].partition(" ")[2] if keys else ""))
                answer = self._answer(len(self.calls), path)
                if answer is None:
                    break
                status, body, headers = answer
                head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asked(
    answer: Callable[[int, str], Answer | None], calls: int = 1_000
) -> AsyncIterator[tuple[Vendor, RestClient]]:
    vendor = Vendor(answer)
    server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0)
    vendor.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = RestClient(vendor.base, KEY, calls)
    try:
        yield vendor, client
    finally:
        await client.close()
        server.close()


async def read(client: RestClient, seconds: float = 10, ticker: str = "MARA") -> list[str]:
    deadline = time.monotonic() + seconds
    return [
        str(row.id)
        async for found in client.pages(ticker, (1, 2), deadline, rows=100, urgent=True)
        for row in found.rows
    ]


async def test_it_reads_all_pages_with_the_key_in_a_header_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def answer(number: int, path: str) -> Answer:
        del path
        following = f"{vendor.base}/v3/trades/X:BTCUSD?cursor=c{number}" if number < 3 else None
        return page(f"{number}a", f"{number}b", next_url=following)

    async with asked(answer) as (vendor, client):
        assert await read(client, ticker="X:BTCUSD") == ["1a", "1b", "2a", "2b", "3a", "3b"]
    first, second, third = [path for path, _ in vendor.calls]
    assert first.startswith("/v3/trades/X:BTCUSD?")
    wanted = {
        "timestamp.gte": ["1"],
        "timestamp.lte": ["2"],
        "order": ["asc"],
        "sort": ["timestamp"],
        "limit": ["100"],
    }
    assert parse_qs(urlsplit(first).query) == wanted
    assert [second, third] == ["/v3/trades/X:BTCUSD?cursor=c1", "/v3/trades/X:BTCUSD?cursor=c2"]
    assert {key for _, key in vendor.calls} == {f"Bearer {KEY}"}
    assert KEY not in caplog.text


@pytest.mark.parametrize("status", [500, 502, 503, 408, 0, 1])
async def test_what_may_pass_is_tried_again(status: int) -> None:
    def answer(number: int, path: str) -> Answer | None:
        del path
        if number >= 3:
            return page("good")
        return None if status == 0 else (200, b"[half a pa", {}) if status == 1 else (status, b"", {})

    async with asked(answer) as (vendor, client):
        assert await read(client) == ["good"]
    assert len(vendor.calls) == 3


async def test_errors_that_last_end_at_the_deadline() -> None:
    async with asked(lambda *_: (500, b"", {})) as (vendor, client):
        began = time.monotonic()
        with pytest.raises(RestError, match="500"):
            await read(client, seconds=1.5)
        assert time.monotonic() - began < 8
    assert 2 <= len(vendor.calls) < 12


async def test_too_many_calls_wait_as_long_as_the_server_says() -> None:
    times = []

    def answer(number: int, path: str) -> Answer:
        del path
        times.append(time.monotonic())
        return page("late") if number == 2 else page(status=429, **{"Retry-After": "1"})

    async with asked(answer) as (vendor, client):
        assert await read(client) == ["late"]
        assert times[1] - times[0] >= 1
        with pytest.raises(RestError, match="429"):
            await read(client, seconds=0.5)
    assert len(vendor.calls) == 3


@pytest.mark.parametrize(("status", "reason", "word"), [(401, "key", "POLYGON_API_KEY"), (403, "plan", "plans")])
async def test_a_refused_key_and_a_plan_without_trades_are_told_apart(status: int, reason: str, word: str) -> None:
    async with asked(lambda *_: (status, KEY.encode(), {})) as (vendor, client):
        with pytest.raises(RefusedError) as refused:
            await read(client)
    assert (refused.value.reason, len(vendor.calls)) == (reason, 1)
    assert word in refused.value.remedy
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "next_url",
    [
        "http://evil.example/v3/trades/MARA?cursor=1",
        "https://127.0.0.1:{port}/v3/trades/MARA",
        "//evil.example/v3/trades/",
        "http://127.0.0.1:1/v3/trades/MARA",
        "http://127.0.0.1:{port}/admin",
        "http://127.0.0.1:{port}@evil.example/v3/trades/",
        "http://[",
        "file:///etc/passwd",
        "http://127.0.0.1:99999/v3/trades/M",
    ],
)
async def test_a_next_page_elsewhere_is_not_asked_for(next_url: str) -> None:
    def answer(number: int, path: str) -> Answer:
        del number, path
        return page("1", next_url=next_url.replace("{port}", vendor.base.rpartition(":")[2]))

    async with asked(answer) as (vendor, client):
        with pytest.raises(RestError):
            await read(client)
    assert len(vendor.calls) == 1


def test_the_vendor_s_two_names_are_one_house_and_the_key_goes_to_the_configured_one() -> None:
    client = RestClient("https://api.massive.com", KEY, 1)
    assert client._own("https://api.polygon.io/v3/trades/MARA?cursor=1") == "/v3/trades/MARA?cursor=1"
    with pytest.raises(RestError):
        client._own("http://api.polygon.io/v3/trades/MARA?cursor=1")


@pytest.mark.parametrize("fresh", [True, False])
async def test_pages_without_end_end(fresh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_PAGES", 20)

    def answer(number: int, path: str) -> Answer:
        del path
        return page("1", next_url=f"{vendor.base}/v3/trades/MARA?cursor={number if fresh else 0}")

    async with asked(answer) as (vendor, client):
        with pytest.raises(RestError, match="no end"):
            await read(client)
    assert len(vendor.calls) == (20 if fresh else 2)


async def test_a_huge_body_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_BODY", 100_000)
    async with asked(lambda *_: (200, b" " * 10_000_000, {})) as (vendor, client):
        with pytest.raises(RestError, match="bytes"):
            await read(client)
    assert len(vendor.calls) == 1


async def test_one_bad_row_does_not_spoil_the_page() -> None:
    rows = '{"results":[{"id":"1","price":2},{"id":"2","price":"x"},7,{"id":"3","price":2}]}'
    async with asked(lambda *_: (200, rows.encode(), {})) as (_, client):
        (found,) = [p async for p in client.pages("M", (1, 2), time.monotonic() + 5, rows=9, urgent=True)]
    assert [row.id for row in found.rows] == ["1", "3"]
    assert [raw for _, raw in found.bad] == [b'{"id":"2","price":"x"}', b"7"]


async def test_no_more_calls_than_allowed() -> None:
    async with asked(lambda *_: page("1"), calls=2) as (vendor, client):
        assert await read(client) + await read(client) == ["1", "1"]
        with pytest.raises(RestError, match="time"):
            await read(client, seconds=0.3)
    assert len(vendor.calls) == 2


def test_the_budget_is_of_any_minute_and_keeps_a_part_for_gaps() -> None:
    now = [0.0]
    budget = CallBudget(8, lambda: now[0])

    async def take(times: int) -> None:
        for _ in range(times):
            await budget.take(urgent=True)

    asyncio.run(take(6))
    assert (budget.left(urgent=True), budget.left(urgent=False)) == (2, 0)
    now[0] = 59.9
    assert budget.left(urgent=True) == 2
    now[0] = 60.0
    assert (budget.left(urgent=True), budget.left(urgent=False)) == (8, 6)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("7", 7), ("0.5", 0.5), ("1e9", None), ("99999", 300), ("soon", None), ("", None),
     ("Tue, 05 Mar 2024 15:00:10 GMT", 10), ("Tue, 05 Mar 2024 14:00:10 GMT", 0)],
)  # fmt: skip
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, 1_709_650_800) == seconds
