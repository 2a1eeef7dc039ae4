"""Splits from the vendor's REST: page by page, within bounds of calls, pages, size and time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from market.stack import StackError
from marketdata.actions import ActionsError, Split, split_of
from services.ingest.rest import VENDOR_HOSTS
from services.ingest.retryafter import seconds_of

PATH: Final = "/v3/reference/splits"
ROWS: Final = 1000
MAX_PAGES: Final = 200
MAX_BODY: Final = 16 * 1024 * 1024
CALL_S: Final = 15.0
TRIES: Final = 5
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 15.0
MINUTE_S: Final = 60.0
Params = dict[str, str | int]


class _Row(msgspec.Struct):
    ticker: str
    execution_date: str
    split_from: Decimal
    split_to: Decimal


class _Body(msgspec.Struct):
    results: list[_Row] = []
    next_url: str | None = None


_decode = msgspec.json.Decoder(_Body).decode


class _TransientError(Exception):
    """Worth another try, after ``wait_s`` where the server names a time."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class SplitsClient:
    """Asks one host with one key, which goes into a header, to that host only, and into no message.

    ``refused`` says which splits cannot be and were left out. ``clock`` and ``sleep`` (seconds) are those of the
    process unless a test brings its own.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        calls_per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if calls_per_minute < 1:
            raise StackError("REST_CALLS_PER_MINUTE=0 allows no call: set what the plan allows")
        self._base = httpx.URL(base_url)
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(CALL_S, connect=5.0),
            follow_redirects=False,
            trust_env=self._base.host not in {"127.0.0.1", "localhost"},
        )
        self._per_minute = calls_per_minute
        self._calls: deque[float] = deque()
        self._clock, self._sleep = clock, sleep
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def splits(self, symbol: str | None, first: str, last: str) -> Iterator[Split]:
        """Splits of ``symbol`` (None: of all) from day ``first`` to ``last``, both ``YYYY-MM-DD`` and included.

        Raises:
            StackError: REST refuses, goes on failing, or its pages have no end; the message says what to do.
        """
        query: Params = {"execution_date.gte": first, "execution_date.lte": last, "limit": ROWS}
        query |= {"order": "asc", "sort": "execution_date"}
        if symbol is not None:
            query["ticker"] = symbol
        cursors: set[str] = set()
        body = self._page(query)
        yield from self._read(body)
        while body.next_url is not None:
            body = self._page(self._next(body.next_url, cursors))
            yield from self._read(body)

    def _read(self, body: _Body) -> Iterator[Split]:
        for row in body.results:
            try:
                yield split_of(row.ticker, row.execution_date, f"{row.split_from:f}", f"{row.split_to:f}")
            except ActionsError as error:
                self.refused.append(f"{row.ticker} {row.execution_date}: {error}")

    def _page(self, params: Params) -> _Body:
        wait, tries = FIRST_WAIT_S, 1
        while True:
            self._pace()
            try:
                return self._once(params)
            except _TransientError as error:
                if tries == TRIES:
                    raise StackError(f"splits from {self._base.host}: {error}, {TRIES} times: try later") from None
                self._sleep(wait if error.wait_s is None else min(error.wait_s, MINUTE_S))
                wait, tries = min(2 * wait, LAST_WAIT_S), tries + 1

    def _pace(self) -> None:
        """Wait until a call fits into the last minute's share, and count it."""
        while self._calls and self._calls[0] <= self._clock() - MINUTE_S:
            self._calls.popleft()
        if len(self._calls) >= self._per_minute:
            self._sleep(max(self._calls.popleft() + MINUTE_S - self._clock(), 0))
        self._calls.append(self._clock())

    def _once(self, params: Params) -> _Body:
        try:
            with self._http.stream("GET", PATH, params=params) as answer:
                _check(answer)
                body = bytearray()
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MAX_BODY:
                        raise StackError(f"splits from {self._base.host}: a page of more than {MAX_BODY} bytes")
            return _decode(bytes(body))
        except httpx.HTTPError as error:
            raise _TransientError(f"no answer ({type(error).__name__})") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _TransientError(f"not a page of splits ({error})") from None

    def _next(self, next_url: str, cursors: set[str]) -> Params:
        """The next page's parameters; ``next_url`` must lead to the host that was asked, and somewhere new."""
        try:
            parts = urlsplit(next_url)
            place = (parts.scheme, parts.hostname, parts.port)
        except ValueError:
            raise StackError("splits: a next_url that is no address") from None
        base = self._base
        vendor = parts.scheme == base.scheme == "https" and {parts.hostname, base.host} <= VENDOR_HOSTS
        if not (vendor or place == (base.scheme, base.host, base.port)) or parts.path != PATH:
            raise StackError(
                f"splits: the next page is said to be at {parts.hostname}{parts.path[:80]}: not followed"
            )
        cursor = parse_qs(parts.query).get("cursor", [""])[0]
        if not cursor or cursor in cursors or len(cursors) >= MAX_PAGES:
            raise StackError(f"splits: the pages have no end ({len(cursors) + 1} read)")
        cursors.add(cursor)
        return {"cursor": cursor}


def _check(answer: httpx.Response) -> None:
    status = answer.status_code
    if status == 200:
        return
    host: Any = answer.request.url.host
    if status == 401:
        raise StackError(f"{host} does not accept the key (401): check POLYGON_API_KEY")
    if status == 403:
        raise StackError("the plan does not include splits (403): write the file by hand")
    if status == 429:
        raise _TransientError("too many calls (429)", seconds_of(answer.headers.get("retry-after"), time.time()))
    if status == 408 or status >= 500:
        raise _TransientError(f"the server fails ({status})")
    raise StackError(f"splits from {host}: refused with status {status}")
