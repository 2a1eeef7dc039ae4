"""What was missed, fetched from REST and written through the one writer, a slice at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

import structlog

from marketdata.records import Trade
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.ingest import metrics
from services.ingest.hostclock import wall_us
from services.ingest.overlap import Overlap
from services.ingest.rest import LAST_TRY_S, RestClient, RestError
from services.ingest.restmerge import Span, merged
from services.ingest.writer import Writer

log = structlog.stdlib.get_logger()
ALL: Final = "*"
SLICE: Final = 100
REACH_BACK_US: Final = 15 * SECOND_US
"""A trade reported off-exchange is due within 10 s: what came out in the gap may have happened so long before."""
REREAD_US: Final = 60 * SECOND_US
"""What is not complete is read again from so far before the last trade that REST showed."""
FIRST_WAIT_S, LAST_WAIT_S = 0.3, 3.0
BAD_ROWS: Final = 10_000


class Backfiller:
    """Reads stretches of event time again and writes what the log has not.

    ``may_write`` is asked before each slice; ``delay_us`` is a market's feed delay.
    """

    def __init__(
        self,
        client: RestClient,
        writer: Writer,
        subscribed: Mapping[str, tuple[str, ...]],
        may_write: Callable[[], bool],
        delay_us: Callable[[str], int],
    ) -> None:
        self._client = client
        self._writer = writer
        self._subscribed = subscribed
        self._may_write = may_write
        self._delay_us = delay_us
        self._overlaps: dict[str, Overlap] = {}
        self._bad: dict[bytes, None] = {}
        self.filled = dict.fromkeys(MARKETS, 0)
        """New trades that gaps have brought, by market."""

    @property
    def enabled(self) -> bool:
        """Whether any call may be made."""
        return self._client.calls_per_minute > 0

    def overlap(self, market: str) -> Overlap | None:
        """What wants to hear of each live trade; None where no gap is being filled."""
        return self._overlaps.get(market)

    def symbols(self, market: str) -> list[str]:
        """What is subscribed; of a subscription to all, what was seen within the horizon."""
        names = self._subscribed[market]
        return sorted(self._writer.symbols(market)) if ALL in names else list(names)

    def expect(self, market: str, end: int) -> None:
        """Data flows again: notice from now on what comes live after ``end`` µs."""
        self._overlaps[market] = Overlap(end)

    def done(self, market: str) -> None:
        """The gap is over: no more live trades are noticed."""
        self._overlaps.pop(market, None)

    async def fill(self, market: str, span: Span, known_from: int, deadline: float) -> None:
        """Fill the gap ``span`` (µs) until REST is known to have shown all of it.

        A trade before ``known_from`` may stand in the log unknown to the writer and is left alone. Call ``expect``
        before.

        Raises:
            RestError: not before ``deadline`` (monotonic seconds), or not at all.
        """
        low = max(span[0] - REACH_BACK_US, known_from)
        overlap = self._overlaps[market]
        lows = dict.fromkeys(self.symbols(market), low)
        if not 0 < len(lows) <= self._client.calls_per_minute:
            raise RestError(f"{len(lows)} symbols, with {self._client.calls_per_minute} calls a minute")
        wait = FIRST_WAIT_S
        while lows:
            read_at = wall_us() - self._delay_us(market)
            spans = {symbol: (first, overlap.until(symbol)) for symbol, first in lows.items()}
            last: dict[str, int] = {}
            await self.read(market, spans, deadline, overlap=overlap, last=last)
            missing = overlap.incomplete(lows, read_at)
            lows = {symbol: max(low, last.get(symbol, low) - REREAD_US) for symbol in missing}
            left = deadline - time.monotonic() - LAST_TRY_S
            if lows and left <= 0:
                raise RestError(f"REST does not show yet what {len(lows)} symbols sent after the gap: {missing[:3]}")
            await asyncio.sleep(min(wait, left) if lows else 0)
            wait = min(2 * wait, LAST_WAIT_S)

    async def read(
        self,
        market: str,
        spans: Mapping[str, Span],
        deadline: float,
        *,
        overlap: Overlap | None = None,
        last: dict[str, int] | None = None,
        accept: Callable[[Trade], bool] | None = None,
    ) -> int:
        """Write what is new of ``spans`` (µs by symbol), ascending by time; returns how many trades.

        With an ``overlap`` it is urgent, and the overlap is shown what comes; ``last`` gets each symbol's last time;
        only what ``accept`` approves is written. Raises RestError.
        """
        found = count = 0
        stream = merged(
            self._client, market, spans, epoch=self._writer.epoch, deadline=deadline, urgent=overlap is not None,
            aside=self._aside,
        )  # fmt: skip
        async with aclosing(stream) as trades:  # type: ignore[type-var]
            async for trade in trades:
                if count % SLICE == 0:
                    await self._turn()
                count += 1
                if overlap is not None:
                    overlap.shown(trade)
                if last is not None:
                    last[trade.symbol] = trade.ts
                if (accept is None or accept(trade)) and self._writer.trade(market, trade):
                    found += 1
                    metrics.BACKFILLED.labels(market).inc()
                    self.filled[market] += overlap is not None
        return found

    async def _turn(self) -> None:
        """Let live trades and clocks go first, and wait while nothing may be written."""
        await asyncio.sleep(0)
        while not self._may_write():  # noqa: ASYNC110 - it is asked, and tells nobody
            await asyncio.sleep(0.02)

    def _aside(self, reason: str, raw: bytes) -> None:
        """Put a bad row aside once, however often it is read."""
        if raw in self._bad:
            return
        if len(self._bad) >= BAD_ROWS:
            self._bad.clear()
        self._bad[raw] = None
        self._writer.dead_letter(reason, raw, wall_us())
