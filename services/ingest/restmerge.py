"""Several symbols' trades from REST as one stream, ascending by time, with one page of each in memory."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from marketdata.normalise import NormaliseError
from marketdata.records import Trade
from marketdata.restvendor import RestTrade, rest_trade, ticker_of
from services.ingest.hostclock import wall_us
from services.ingest.rest import Page, RestClient

ROWS_IN_ALL: Final = 100_000
MOST_ROWS, LEAST_ROWS = 5_000, 500
CONVERT_AT_ONCE: Final = 500
Span = tuple[int, int]
Aside = Callable[[str, bytes], None]
"""Called with the reason and the bytes of a row that is no trade."""


class _Reader:
    """One symbol's rows, taken one by one."""

    def __init__(self, market: str, symbol: str, pages: AsyncIterator[Page], epoch: int, aside: Aside) -> None:
        self._market = market
        self._symbol = symbol
        self._pages = pages
        self._epoch = epoch
        self._aside = aside
        self._trades: list[Trade] = []
        self._at = 0

    async def next(self) -> Trade | None:
        while self._at >= len(self._trades):
            page = await anext(self._pages, None)
            if page is None:
                return None
            self._at, self._trades = 0, await self._read(page)
        self._at += 1
        return self._trades[self._at - 1]

    async def _read(self, page: Page) -> list[Trade]:
        for reason, raw in page.bad:
            self._aside(reason, raw)
        trades, now = [], wall_us()
        for number, row in enumerate(page.rows):
            if number % CONVERT_AT_ONCE == CONVERT_AT_ONCE - 1:
                await asyncio.sleep(0)
            trade = self._trade(row, now)
            if trade is not None:
                trades.append(trade)
        return trades

    def _trade(self, row: RestTrade, now: int) -> Trade | None:
        try:
            return rest_trade(self._market, self._symbol, row, now, self._epoch)
        except NormaliseError as error:
            self._aside(f"REST: {error}", msgspec.json.encode(row))
            return None


async def merged(
    client: RestClient,
    market: str,
    spans: Mapping[str, Span],
    *,
    epoch: int,
    deadline: float,
    urgent: bool,
    aside: Aside,
) -> AsyncIterator[Trade]:
    """The trades of each symbol of ``spans`` within its span (µs, the last millisecond included).

    Raises:
        RestError: see RestClient.pages.
    """
    rows = min(max(ROWS_IN_ALL // max(len(spans), 1), LEAST_ROWS), MOST_ROWS)
    readers = []
    for symbol, (start, end) in spans.items():
        span_ns = (start * 1_000, end * 1_000 + 999_999)
        pages = client.pages(ticker_of(market, symbol), span_ns, deadline, rows=rows, urgent=urgent)
        readers.append(_Reader(market, symbol, pages, epoch, aside))
    try:
        async with asyncio.TaskGroup() as group:  # on an error the others' calls end too
            firsts = [group.create_task(reader.next()) for reader in readers]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    heap = [(_time(t), n, t) for n, task in enumerate(firsts) if (t := task.result()) is not None]
    heapq.heapify(heap)
    while heap:
        _, n, trade = heap[0]
        yield trade
        following = await readers[n].next()
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (_time(following), n, following))


def _time(trade: Trade) -> tuple[int, int]:
    return trade.ts_ns or trade.ts * 1_000, trade.sequence
