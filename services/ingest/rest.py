"""The vendor's REST side: trades of one ticker, page by page, within bounds of time, size and number of calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import structlog

from marketdata.records import UNREADABLE
from marketdata.restvendor import RestTrade
from services.ingest import metrics
from services.ingest.budget import CallBudget
from services.ingest.retryafter import seconds_of

log = structlog.stdlib.get_logger()
logging.getLogger("httpcore").setLevel(logging.WARNING)
CALL_S: Final = 15.0
MAX_BODY: Final = 64 * 1024 * 1024
MAX_PAGES: Final = 5_000
CALLS_AT_ONCE: Final = 4
FIRST_WAIT_S, LAST_WAIT_S = 0.2, 5.0
LAST_TRY_S: Final = 0.4
"""What a last try before the deadline is given."""
TRADES: Final = "/v3/trades/"
VENDOR_HOSTS: Final = frozenset({"api.massive.com", "api.polygon.io"})
"""The old and the new name of the same house: pages of one may point to the other."""
_jitter = Random()  # noqa: S311 - no secret


class RestError(RuntimeError):
    """REST did not give what was asked for; the message says why, without the key."""


class RefusedError(RestError):
    """The vendor does not let us: 401 is about the key, 403 about the plan. Asking again changes nothing."""

    def __init__(self, status: int) -> None:
        key = status == 401
        super().__init__("the key is not accepted (401)" if key else "the plan does not include it (403)")
        self.reason: Final = "key" if key else "plan"
        self.remedy: Final = (
            "check POLYGON_API_KEY" if key else "REST trades are in the vendor's larger plans; gaps stay open without"
        )


class _TransientError(RestError):
    """Worth another try, after ``wait_s`` if the server named a time."""

    def __init__(self, message: str, reason: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait_s = wait_s


@dataclass(slots=True)
class Page:
    """Rows in ascending order of time, and (reason, bytes) of each that cannot be read."""

    rows: list[RestTrade] = field(default_factory=list)
    bad: list[tuple[str, bytes]] = field(default_factory=list)


class _Body(msgspec.Struct):
    results: list[RestTrade] = []
    next_url: str | None = None


class _LooseBody(msgspec.Struct):
    results: list[msgspec.Raw] = []
    next_url: str | None = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_loose = msgspec.json.Decoder(_LooseBody).decode
_decode_row = msgspec.json.Decoder(RestTrade).decode


class RestClient:
    """Asks one host with one key; the key is sent to that host only, in a header, and stands in no log or error."""

    def __init__(self, base_url: str, key: str, calls_per_minute: int) -> None:
        self._base = httpx.URL(base_url)
        local = self._base.host in {"127.0.0.1", "localhost"}
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(CALL_S, connect=5.0),
            follow_redirects=False,
            trust_env=not local,
        )
        self._budget = CallBudget(calls_per_minute)
        self._at_once = asyncio.Semaphore(CALLS_AT_ONCE)
        self.calls_per_minute = calls_per_minute

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def pages(
        self, ticker: str, span_ns: tuple[int, int], deadline: float, *, rows: int, urgent: bool
    ) -> AsyncIterator[Page]:
        """The ticker's trades from ``span_ns[0]`` to ``span_ns[1]``, both included, up to ``rows`` a page.

        Errors that may pass are tried again until ``deadline`` (monotonic seconds).

        Raises:
            RefusedError: the key or the plan is not accepted.
            RestError: anything else that cannot be had before the deadline, or ever.
        """
        query = f"timestamp.gte={span_ns[0]}&timestamp.lte={span_ns[1]}&order=asc&sort=timestamp&limit={rows}"
        path: str | None = f"{TRADES}{quote(ticker, safe=':')}?{query}"
        asked: set[str] = set()
        while path is not None:
            if path in asked or len(asked) >= MAX_PAGES:
                raise RestError(f"{ticker}: the pages have no end ({len(asked)} read)")
            asked.add(path)
            page, next_url = await self._page(path, deadline, urgent=urgent)
            path = None if next_url is None else self._own(next_url)
            yield page

    async def _page(self, path: str, deadline: float, *, urgent: bool) -> tuple[Page, str | None]:
        wait = FIRST_WAIT_S
        while True:
            try:
                return await self._once(path, deadline, urgent=urgent)
            except _TransientError as error:
                metrics.REST_ERRORS.labels(error.reason).inc()
                left = deadline - time.monotonic() - LAST_TRY_S
                pause = min(_jitter.uniform(wait / 2, wait), left) if error.wait_s is None else error.wait_s
                wait = min(2 * wait, LAST_WAIT_S)
                if left <= 0 or pause > left:
                    raise RestError(str(error)) from None
                await asyncio.sleep(pause)

    async def _once(self, path: str, deadline: float, *, urgent: bool) -> tuple[Page, str | None]:
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.01)):
                await self._budget.take(urgent=urgent)
                async with self._at_once, asyncio.timeout(CALL_S):
                    body = await self._get(path)
        except TimeoutError:
            raise _TransientError("no answer in time", "timeout") from None
        except httpx.HTTPError as error:
            raise _TransientError(f"no answer: {type(error).__name__}", "transport") from None
        except httpx.InvalidURL:
            raise RestError("a next_url that is no address") from None
        try:
            return _read(body)
        except UNREADABLE as error:
            raise _TransientError(f"not a page of trades: {error}", "unreadable") from None

    async def _get(self, path: str) -> bytes:
        metrics.REST_CALLS.inc()
        async with self._http.stream("GET", path) as answer:
            _check(answer)
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_BODY:
                    metrics.REST_ERRORS.labels("size").inc()
                    raise RestError(f"a page of more than {MAX_BODY} bytes")
            return bytes(body)

    def _own(self, next_url: str) -> str:
        """Path and query of ``next_url``, which must lead to the host that was asked."""
        try:
            parts = urlsplit(next_url)
            port = parts.port
        except ValueError:
            raise RestError("a next_url that is no address") from None
        base = self._base
        same = (parts.scheme, parts.hostname, port) == (base.scheme, base.host, base.port)
        vendor = parts.scheme == base.scheme == "https" and {parts.hostname, base.host} <= VENDOR_HOSTS
        if not (same or vendor) or not parts.path.startswith(TRADES):
            metrics.REST_ERRORS.labels("foreign").inc()
            raise RestError(f"the next page is said to be at {parts.hostname}{parts.path[:80]}: not followed")
        return f"{parts.path}?{parts.query}"


def _check(answer: httpx.Response) -> None:
    status = answer.status_code
    if status == 200:
        return
    if status in {401, 403}:
        metrics.REST_ERRORS.labels(str(status)).inc()
        raise RefusedError(status)
    if status == 429:
        raise _TransientError(
            "too many calls (429)", "429", seconds_of(answer.headers.get("retry-after"), time.time())
        )
    if status == 408 or status >= 500:
        raise _TransientError(f"the server fails ({status})", str(status))
    metrics.REST_ERRORS.labels(str(status)).inc()
    raise RestError(f"refused with status {status}")


def _read(body: bytes) -> tuple[Page, str | None]:
    """A page's rows; one that cannot be read does not spoil the others."""
    try:
        whole = _decode(body)
    except UNREADABLE:
        loose = _decode_loose(body)
    else:
        return Page(whole.results), whole.next_url
    page = Page()
    for raw in loose.results:
        try:
            page.rows.append(_decode_row(raw))
        except UNREADABLE as error:
            page.bad.append((f"REST: not a trade: {error}", bytes(raw)))
    return page, loose.next_url
