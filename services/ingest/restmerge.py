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
ROWS_AT_LEISURE: Final = 2_000
"""What is not urgent is read in smaller pages: memory that a large one has taken stays with the process."""
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
        self._page = Page()
        self._at = 0
        self._now = 0

    async def next(self) -> Trade | None:
        """Rows become trades one by one, so that a page is in memory once."""
        while True:
            while self._at >= len(self._page.rows):
                page = await anext(self._pages, None)
                if page is None:
                    return None
                self._page, self._at, self._now = page, 0, wall_us()
                for reason, raw in page.bad:
                    self._aside(reason, raw)
            self._at += 1
            trade = self._trade(self._page.rows[self._at - 1], self._now)
            if trade is not None:
                return trade

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
    most = MOST_ROWS if urgent else ROWS_AT_LEISURE
    rows = min(max(ROWS_IN_ALL // max(len(spans), 1), LEAST_ROWS), most)
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
