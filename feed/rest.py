"""The REST side: trades already sent and splits, in the vendor's shape, beside the feed's own health and ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from feed.events import StockTrade
from feed.faults import Faults
from feed.history import History, Row, time_ns
from feed.ledger import Ledger
from feed.rest_query import Query, QueryError, encode_cursor, read_query
from feed.splits import PATH as SPLITS_PATH
from feed.splits import Splits

ROWS_AT_ONCE = 1000
PARTICIPANT_LAG_NS = 350_000  # a venue's own time stands this much before the SIP's


class Rest:
    """Answers from the history; `accepts` judges an API key, `health` describes the running feed."""

    def __init__(
        self,
        history: History,
        ledger: Ledger,
        faults: Faults,
        accepts: Callable[[str], bool],
        health: Callable[[], dict[str, Any]],
        *,
        splits: Splits,
    ) -> None:
        self._history = history
        self._ledger = ledger
        self._faults = faults
        self._accepts = accepts
        self._health = health
        self._splits = splits
        self._encode = msgspec.json.Encoder().encode

    def app(self, admin: Sequence[Route] = ()) -> Starlette:
        """The ASGI application with all routes, and those of the admin if there is one."""
        return Starlette(
            routes=[
                Route("/v3/trades/{ticker}", self.trades),
                Route(SPLITS_PATH, self.splits),
                Route("/health", self.health),
                Route("/ledger", self.ledger),
                *admin,
            ]
        )

    async def trades(self, request: Request) -> Response:
        """One page of a ticker's trades; status 401 without an accepted key, 400 for a bad parameter."""
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        try:
            query = read_query(request.path_params["ticker"], request.query_params)
        except QueryError as error:
            return self._error(400, str(error))
        return self._json(await self._page(query, request.url.path, str(request.base_url)))

    async def splits(self, request: Request) -> Response:
        """One page of the table of splits; the same refusals as for trades."""
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        try:
            rows, cursor = self._splits.page(request.query_params)
        except QueryError as error:
            return self._error(400, str(error))
        body: dict[str, Any] = {"status": "OK", "request_id": uuid4().hex, "results": rows}
        if cursor is not None:
            body["next_url"] = f"{request.base_url}{SPLITS_PATH[1:]}?cursor={cursor}"
        return self._json(body)

    async def health(self, _: Request) -> Response:
        """Whether the feed runs, and how it fares."""
        return self._json(self._health())

    async def ledger(self, _: Request) -> Response:
        """What was sent, by symbol and in all."""
        return self._json(self._ledger.summary())

    async def _refusal(self, request: Request) -> Response | None:
        """A fault's answer or that the key is unknown, None where the request may be answered."""
        answer = await self._faults.on_rest(request.url.path)
        if answer is not None:
            return Response(answer.body, answer.status, answer.headers, media_type="application/json")
        return None if self._accepts(api_key_of(request)) else self._error(401, "Unknown API Key")

    async def _page(self, query: Query, path: str, base_url: str) -> dict[str, Any]:
        newest = self._faults.rest_newest_ns(path)
        span = query.span if newest is None else (query.span[0], min(query.span[1], (newest, 0)))
        rows = self._history.page(query.ticker, span, query.limit + 1, query.descending)
        more, rows = len(rows) > query.limit, rows[: query.limit]
        body = {
            "status": "OK",
            "request_id": uuid4().hex,
            "results": await self._results(self._faults.rest_rows(path, rows, not more)),
        }
        if more:
            cursor = encode_cursor(query.after(rows[-1]))
            body["next_url"] = f"{base_url}v3/trades/{query.ticker}?cursor={cursor}"
        return body

    async def _results(self, rows: list[Row]) -> msgspec.Raw:
        """The rows encoded a part at a time, so that a page of 50,000 does not hold up the socket's clients."""
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            parts.append(self._encode([vendor_trade(row, self._history.correction(row)) for row in part])[1:-1])
            await asyncio.sleep(0)
        return msgspec.Raw(b"[" + b",".join(parts) + b"]")

    def _error(self, status: int, message: str) -> Response:
        return self._json({"status": "ERROR", "request_id": uuid4().hex, "error": message}, status)

    def _json(self, body: dict[str, Any], status: int = 200) -> Response:
        return Response(self._encode(body), status, media_type="application/json")


def vendor_trade(row: Row, correction: int) -> dict[str, Any]:
    """A trade as REST names its fields; absent ones are left out, times are nanoseconds."""
    trade = row[2]
    fields: dict[str, Any] = {"exchange": trade.x, "id": trade.i, "price": trade.p, "size": trade.s}
    if trade.c:
        fields["conditions"] = trade.c
    if not isinstance(trade, StockTrade):
        return {**fields, "participant_timestamp": time_ns(trade)}
    fields |= {
        "sip_timestamp": time_ns(trade),
        "participant_timestamp": time_ns(trade) - PARTICIPANT_LAG_NS,
        "sequence_number": trade.q,
        "tape": trade.z,
    }
    if trade.ds is not None:
        fields["decimal_size"] = trade.ds
    if trade.trfi is not None and trade.trft is not None:
        fields |= {"trf_id": trade.trfi, "trf_timestamp": trade.trft * 1_000_000}
    if correction:
        fields["correction"] = correction
    return fields


def api_key_of(request: Request) -> str:
    """The key that a request bears in its header or its query, empty if none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else request.query_params.get("apiKey", "")
