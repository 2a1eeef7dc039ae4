"""The query of `/v3/trades/{ticker}`: bounds, order, limit, and the cursor that carries them to the next page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from feed.history import Place, Row, Span

DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 50_000
DAY_NS: Final = int(timedelta(days=1).total_seconds()) * 1_000_000_000
_FIRST, _LAST = -1, 1 << 62  # below and above every order of arrival
_EVER: Final[Span] = ((-1, _FIRST), (1 << 62, _LAST))


class QueryError(ValueError):
    """The request cannot be understood; the message says why and goes to the client."""


class Query(msgspec.Struct, frozen=True, array_like=True):
    """What is still to be delivered: rows strictly inside `span`, in pages of `limit`."""

    ticker: str
    span: Span
    limit: int
    descending: bool

    def after(self, row: Row) -> Query:
        """The query for what follows this row."""
        place = (row[0], row[1])
        span = (self.span[0], place) if self.descending else (place, self.span[1])
        return msgspec.structs.replace(self, span=span)


def encode_cursor(query: Query) -> str:
    """The query as an opaque text for `next_url`."""
    return urlsafe_b64encode(msgspec.json.encode(query)).decode()


def read_query(ticker: str, params: Mapping[str, str]) -> Query:
    """The query that the parameters mean.

    Raises:
        QueryError: a parameter has a value that the vendor would refuse, or the cursor is not ours.
    """
    if cursor := params.get("cursor"):
        return _read_cursor(ticker, cursor)
    if params.get("sort", "timestamp") != "timestamp":
        raise QueryError("sort must be timestamp")
    order = params.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise QueryError("order must be asc or desc")
    return Query(ticker, _span(params), _limit(params), order == "desc")


def _read_cursor(ticker: str, cursor: str) -> Query:
    try:
        query = msgspec.json.decode(urlsafe_b64decode(cursor), type=Query)
    except (ValueError, msgspec.DecodeError) as error:
        raise QueryError("cursor is not valid") from error
    if query.ticker != ticker:
        raise QueryError("cursor belongs to another ticker")
    return query


def _limit(params: Mapping[str, str]) -> int:
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise QueryError(f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def _span(params: Mapping[str, str]) -> Span:
    """The narrowest span that all timestamp parameters allow."""
    low, high = _EVER
    for name, value in params.items():
        if name == "timestamp" or name.startswith("timestamp."):
            bounds = _bounds(name.partition(".")[2], value)
            low, high = max(low, bounds[0]), min(high, bounds[1])
    return low, high


def _bounds(comparison: str, value: str) -> Span:
    start, end = _moments(value)
    at_start: Place = (start, _FIRST)
    past_end: Place = (end, _LAST)
    match comparison:
        case "":
            return at_start, past_end
        case "gte":
            return at_start, _EVER[1]
        case "gt":
            return past_end, _EVER[1]
        case "lte":
            return _EVER[0], past_end
        case "lt":
            return _EVER[0], at_start
    raise QueryError(f"timestamp.{comparison} is not known")


def _moments(value: str) -> tuple[int, int]:
    """First and last nanosecond of what the value names: one instant, or a whole day in UTC."""
    if value.isdigit():
        return int(value), int(value)
    try:
        day = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise QueryError("timestamp must be nanoseconds or YYYY-MM-DD") from error
    start = int(day.timestamp()) * 1_000_000_000
    return start, start + DAY_NS - 1
