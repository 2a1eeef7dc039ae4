"""`/v3/reference/splits`: a table of stock splits from a file, in pages as the vendor gives them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from feed.rest_query import QueryError

PATH: Final = "/v3/reference/splits"
DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 1000
_SORTS: Final = ("execution_date", "ticker")
_COMPARISONS: Final = ("", "gte", "gt", "lte", "lt")


class StockSplit(msgspec.Struct, frozen=True, kw_only=True):
    """One row in the vendor's shape: `split_from` shares became `split_to`."""

    ticker: str
    execution_date: str
    split_from: Decimal
    split_to: Decimal
    id: str = ""

    def __post_init__(self) -> None:
        date.fromisoformat(self.execution_date)
        if self.split_from <= 0 or self.split_to <= 0:
            raise ValueError("shares must be more than 0")


class SplitQuery(msgspec.Struct, frozen=True, array_like=True):
    """Which rows, in which order, and how many of them went before."""

    ticker: str | None
    dates: dict[str, str]
    reverse: bool | None
    sort: str
    descending: bool
    limit: int
    offset: int = 0

    def takes(self, row: StockSplit) -> bool:
        """Whether `row` is asked for; dates compare as texts, since they are YYYY-MM-DD."""
        if self.ticker not in {None, row.ticker}:
            return False
        if self.reverse is not None and self.reverse != (row.split_from > row.split_to):
            return False
        day = row.execution_date
        fits = {"": day.__eq__, "gte": day.__ge__, "gt": day.__gt__, "lte": day.__le__, "lt": day.__lt__}
        return all(fits[comparison](bound) for comparison, bound in self.dates.items())


class Splits:
    """The rows that the feed knows."""

    def __init__(self, rows: Iterable[StockSplit] = ()) -> None:
        self._rows = tuple(rows)

    def page(self, params: Mapping[str, str]) -> tuple[list[dict[str, Any]], str | None]:
        """The page that the parameters mean, and the cursor of the next one if there is one.

        Raises:
            QueryError: a parameter has a value that the vendor would refuse, or the cursor is not ours.
        """
        query = _read_query(params)
        rows = [row for row in self._rows if query.takes(row)]
        rows.sort(
            key=lambda row: (getattr(row, query.sort), row.execution_date, row.ticker), reverse=query.descending
        )
        end = query.offset + query.limit
        cursor = None
        if end < len(rows):
            raw = msgspec.json.encode(msgspec.structs.replace(query, offset=end))
            cursor = urlsafe_b64encode(raw).decode()
        return [_vendor(row) for row in rows[query.offset : end]], cursor


def read_splits(path: Path) -> Splits:
    """The table in a file of JSON lines.

    Raises:
        ValueError: a line is not a split; the message names it.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows.append(msgspec.json.decode(line, type=StockSplit))
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return Splits(rows)


def _by_day(row: StockSplit) -> tuple[str, str]:
    return row.execution_date, row.ticker


def _by_ticker(row: StockSplit) -> tuple[str, str]:
    return row.ticker, row.execution_date


def _vendor(row: StockSplit) -> dict[str, Any]:
    return {
        "execution_date": row.execution_date,
        "id": row.id or f"{row.ticker}-{row.execution_date}",
        "split_from": _number(row.split_from),
        "split_to": _number(row.split_to),
        "ticker": row.ticker,
    }


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _read_query(params: Mapping[str, str]) -> SplitQuery:
    if cursor := params.get("cursor"):
        try:
            return msgspec.json.decode(urlsafe_b64decode(cursor), type=SplitQuery)
        except (ValueError, msgspec.DecodeError) as error:
            raise QueryError("cursor is not valid") from error
    sort, order = params.get("sort", "execution_date"), params.get("order", "desc")
    if sort not in _SORTS:
        raise QueryError(f"sort must be one of {', '.join(_SORTS)}")
    if order not in {"asc", "desc"}:
        raise QueryError("order must be asc or desc")
    return SplitQuery(params.get("ticker"), _dates(params), _reverse(params), sort, order == "desc", _limit(params))


def _dates(params: Mapping[str, str]) -> dict[str, str]:
    dates = {}
    for name, value in params.items():
        field, _, comparison = name.partition(".")
        if field != "execution_date":
            continue
        if comparison not in _COMPARISONS:
            raise QueryError(f"{name} is not known")
        try:
            dates[comparison] = date.fromisoformat(value).isoformat()
        except ValueError as error:
            raise QueryError("execution_date must be YYYY-MM-DD") from error
    return dates


def _reverse(params: Mapping[str, str]) -> bool | None:
    text = params.get("reverse_split")
    if text is None:
        return None
    if text.lower() not in {"true", "false"}:
        raise QueryError("reverse_split must be true or false")
    return text.lower() == "true"


def _limit(params: Mapping[str, str]) -> int:
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise QueryError(f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)
