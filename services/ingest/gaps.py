"""The gaps of a live feed: opened at a loss, filled once data flows again, recorded at each turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec
import structlog

from marketdata.records import Gap
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.ingest.backfill import Backfiller
from services.ingest.cluster import cancelled
from services.ingest.corrections import Corrections
from services.ingest.outage import Outage
from services.ingest.rest import RefusedError, RestError
from services.ingest.writer import Writer

log = structlog.stdlib.get_logger()


class Gaps:
    """Holds the clocks back while gaps are open, and has them filled. Times in µs, ``now`` of the wall clock."""

    def __init__(self, writer: Writer, backfiller: Backfiller, corrections: Corrections, limit_us: int) -> None:
        self._writer = writer
        self._backfiller = backfiller
        self._corrections = corrections
        self._outages: Mapping[str, Outage] = {m: Outage(m, limit_us, writer.epoch) for m in MARKETS}
        self._known_from = dict.fromkeys(MARKETS, 0)
        self._remembered = dict.fromkeys(MARKETS, 0)
        self._inside: dict[str, tuple[int, ...]] = {}
        self._born = {market: 0 if writer.newest_clock(market) else None for market in MARKETS}
        self._before = dict.fromkeys(MARKETS, 0)
        self._fills: dict[str, asyncio.Task[None]] = {}

    def is_open(self, market: str) -> bool:
        """Whether a gap is open, given up or not."""
        return self._outages[market].is_open

    def begin(self, market: str, start: int, now: int, inside: tuple[int, ...] = ()) -> None:
        """The feed was lost; what happened from ``start`` on may be missing.

        ``inside`` are the starts of a predecessor's gaps that this one holds: they are closed with it.
        """
        outage = self._outages[market]
        if (fill := self._fills.pop(market, None)) is not None:
            fill.cancel()
        if not outage.is_open:
            self._inside[market] = inside
            self._remembered[market] = self._writer.known_from(market)
            self._known_from[market] = max(self._writer.known_from(market), self._born[market] or 0)
            self._before[market] = self._backfiller.filled[market]
            self._writer.hold(market)
        self._record(outage.begin(start, now))

    def flows(self, market: str, end: int, now: int) -> None:
        """What happens from ``end`` on is received again: begin to fill what was missed before."""
        outage = self._outages[market]
        if not outage.flows(end):
            return
        if not outage.holds:  # its end was not known when it was given up
            self._record(outage.gap(outage.start or end, end, "given_up"))
            self._hand_over(market)
            return
        self._backfiller.expect(market, end)
        deadline = time.monotonic() + outage.left_us(now) / SECOND_US
        self._fills[market] = asyncio.create_task(self._fill(market, deadline))

    def limit(self, market: str, now: int) -> int | None:
        """The greatest clock allowed; None where nothing holds it back, also because a gap's time has run out."""
        if self._born[market] is None:  # a new log: nothing before its first clock is missing
            self._born[market] = self._writer.newest_clock(market) or None
        outage = self._outages[market]
        gap = outage.expire(now)
        if gap is not None:
            self._record(gap)
            if (fill := self._fills.pop(market, None)) is not None:
                fill.cancel()
            if outage.end is not None:
                self._hand_over(market)
        return outage.limit()

    def check(self) -> None:
        """Raise what a fill ended with, if that was a fault of ours."""
        for market, fill in list(self._fills.items()):
            if fill.done():
                del self._fills[market]
                if not fill.cancelled():
                    fill.result()

    async def stop(self) -> None:
        """End what is under way; a gap that is open then stays so, for the next start."""
        for fill in self._fills.values():
            await cancelled(fill)
        self._fills.clear()

    async def _fill(self, market: str, deadline: float) -> None:
        outage = self._outages[market]
        if outage.start is None or outage.end is None:
            return
        span = (outage.start, outage.end)
        try:
            if not self._backfiller.enabled:
                raise RestError("REST_CALLS_PER_MINUTE is 0")
            if market == "stocks":
                await self._crypto_first(deadline)
            await self._backfiller.fill(market, span, self._known_from[market], deadline)
        except RestError as error:
            remedy = error.remedy if isinstance(error, RefusedError) else None
            log.error("the gap could not be filled", market=market, reason=str(error), remedy=remedy)  # noqa: TRY400
            self._record(outage.give_up())
            self._hand_over(market)
            return
        if span[0] < self._remembered[market]:  # what is older than the writer remembers was left alone
            self._record(outage.give_up())
            self._hand_over(market)
            return
        self._record(outage.gap(*span, "filled", self._backfiller.filled[market] - self._before[market]))
        self._close(market)
        self._corrections.after_gap(market, span)

    async def _crypto_first(self, deadline: float) -> None:
        """BTC stands before the stocks that are joined with it, unless its gap stays open for too long."""
        crypto, patience = self._outages["crypto"], (deadline - time.monotonic()) / 2
        until = time.monotonic() + patience
        while crypto.holds and time.monotonic() < until:  # noqa: ASYNC110 - several things end it
            await asyncio.sleep(0.02)

    def _hand_over(self, market: str) -> None:
        """What was given up is tried again by the poller, without the clock waiting for it."""
        inside = self._inside.get(market, ())
        span = self._close(market)
        if span is not None:
            for start in (span[0], *inside):
                self._corrections.retry(market, (start, span[1]))

    def _close(self, market: str) -> tuple[int, int] | None:
        self._backfiller.done(market)
        self._writer.release(market)
        self._inside.pop(market, None)
        return self._outages[market].close()

    def _record(self, gap: Gap | None) -> None:
        if gap is None:
            return
        self._writer.gap(gap)
        if gap.end is not None:
            for start in self._inside.get(gap.cluster, ()):
                self._writer.gap(msgspec.structs.replace(gap, start=start, trades=0))
