"""Reads again from REST what was read: for corrections, which the socket never sends, and for what was missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from marketdata.partition import partition_of
from marketdata.records import Gap, Trade
from marketdata.units import DAY_US, SECOND_US
from services.ingest import metrics
from services.ingest.backfill import REACH_BACK_US, Backfiller
from services.ingest.hostclock import wall_us
from services.ingest.jobs import ORDER, Job, Jobs
from services.ingest.left import Left
from services.ingest.rest import RefusedError, RestError
from services.ingest.restmerge import Span
from services.ingest.seen import STOCKS_DAY_SHIFT_US
from services.ingest.standing import StandingError, first_clock, key_of, standing
from services.ingest.writer import Writer

log = structlog.stdlib.get_logger()
SETTLE_US: Final = 5 * SECOND_US
"""What is younger may still be on its way through the socket."""
LATE_PRINTS_US: Final = 300 * SECOND_US
"""What was reported in a gap may have happened so long before it."""
READ_S: Final = 120.0
REFUSED_S: Final = 3_600.0
FIRST_S: Final = 60.0
"""The first reading after a start comes no later: a predecessor may have ended just before its own."""
RETRY_S: Final = 10.0
DELIVERED_S: Final = 10.0
"""How long a gap's word waits for a moment in which nothing is under way to Kafka, if none comes."""
PAUSE_TIMES: Final = 4
LONGEST_PAUSE_S: Final = 0.05
"""Between two symbols it waits four times as long as one took, but no longer than this."""
KNOWN_S: Final = 300.0
"""What the log was found to hold is looked up again after this: well within what the writer remembers."""
RETRY_WITHIN_US: Final = DAY_US
AFTER_GAP_WITHIN_US: Final = 600 * SECOND_US
"""How long ago a predecessor's gap may have ended, given up or filled, that something is still done about it."""
CLOSED_US: Final = {"stocks": 20 * 3_600 * SECOND_US + 900 * SECOND_US, "crypto": DAY_US + 900 * SECOND_US}
"""From the start of a trading day to when all of it is read again: for stocks 01:15 UTC, after the last trade
in New York, summer or winter; for crypto a quarter past midnight."""
RECENT_US: Final = 2 * 3_600 * SECOND_US
"""An ingest that starts later than so long after that leaves the day alone."""


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log is that trades are compared with."""

    bootstrap: str
    topic: Callable[[str], str]
    partitions: int


class Corrections:
    """Every ``every_s`` the trailing ``window_us`` of each symbol, each day once as a whole, and what gaps leave.

    It never holds a clock, and uses no call that a gap may need. Off where ``every_s`` is 0.
    """

    def __init__(
        self,
        backfiller: Backfiller,
        writer: Writer,
        where: Log,
        *,
        every_s: float,
        window_us: int,
        delay_us: Callable[[str], int],
    ) -> None:
        self._backfiller = backfiller
        self._writer = writer
        self._log = where
        self._every_s = every_s
        self._window_us = window_us
        self._delay_us = delay_us
        self._jobs = Jobs()
        self._at_work = False
        self._born: dict[str, int] = {}
        self._days: dict[str, int] = {}

    def after_gap(self, market: str, span: Span) -> None:
        """A gap is filled: what was reported late while it lasted may lie before it."""
        self._ask(market, (span[0] - LATE_PRINTS_US, span[0] - REACH_BACK_US))

    def retry(self, market: str, span: Span) -> None:
        """A gap was given up: try it again."""
        self._ask(market, (span[0] - LATE_PRINTS_US, span[1] + SECOND_US), span)

    def take_up(self, left: Left) -> None:
        """Do what a predecessor may not have got to: its jobs ended with it."""
        for market in ORDER:
            now = self._event_now(market)
            for span in left.given_up(market, now - RETRY_WITHIN_US):
                self.retry(market, span)
            starts = [start for start, _ in left.filled(market, now - AFTER_GAP_WITHIN_US)]
            if starts:
                self._ask(market, (min(starts) - LATE_PRINTS_US, max(starts) - REACH_BACK_US))
        if self._jobs:
            log.info("a predecessor's gaps are read again", jobs=len(self._jobs))

    async def run(self) -> None:
        """Until cancelled; returns at once where it is off."""
        if not self._on:
            return
        self._days = {market: _closed_day(market, self._event_now(market) - RECENT_US) for market in ORDER}
        due = time.monotonic() + min(self._every_s, FIRST_S)
        while True:
            await asyncio.sleep(min(max(due - time.monotonic(), 0), 1.0))
            await self._try(self._one_job)
            if time.monotonic() >= due:
                due = time.monotonic() + self._every_s
                await self._try(self._trailing)
                if not self._jobs:  # what a gap has left is more urgent than a day that is over
                    await self._try(self._whole_days)

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except RefusedError as error:
            log.error("corrections cannot be read", reason=str(error), remedy=error.remedy,  # noqa: TRY400
                      action="next try in an hour")  # fmt: skip
            await asyncio.sleep(REFUSED_S)
        except (RestError, StandingError) as error:
            log.warning("trades could not be read again", reason=str(error), action="trying again")
            await asyncio.sleep(RETRY_S)

    @property
    def waiting(self) -> int:
        """How many stretches beside gaps are still to be read again, the one at work included."""
        return len(self._jobs) + self._at_work

    @property
    def _on(self) -> bool:
        return self._every_s > 0 and self._backfiller.enabled

    def _ask(self, market: str, span: Span, gap: Span | None = None) -> None:
        if self._on:
            self._jobs.ask(market, span, gap)
            metrics.REREADS.set(self.waiting)

    def _event_now(self, market: str) -> int:
        return wall_us() - self._delay_us(market)

    def _ready(self, job: Job) -> bool:
        return self._event_now(job.market) >= job.span[1] + SETTLE_US

    async def _one_job(self) -> None:
        job = self._jobs.take(self._ready)
        if job is None:
            return
        began, self._at_work = time.monotonic(), True
        try:
            await self._done(job)
        except (RestError, StandingError):
            self._jobs.failed(job)
            raise
        finally:
            self._at_work = False
            metrics.REREADS.set(self.waiting)
        log.info("read again beside a gap", market=job.market, start=job.span[0], end=job.span[1], found=job.found,
                 seconds=round(time.monotonic() - began, 1), waiting=self.waiting)  # fmt: skip

    async def _done(self, job: Job) -> None:
        if not await self._first(job.market) or not self._backfiller.symbols(job.market):
            raise StandingError(f"it is not known yet where trades.{job.market} begins, or with which symbols")
        found = await self._read(job)
        if job.gaps:
            await self._delivered()
        for start, end in sorted(job.gaps):
            self._writer.gap(Gap(cluster=job.market, start=start, end=end, status="filled",
                                 epoch=self._writer.epoch, trades=found))  # fmt: skip
            found = 0  # they are counted with the first of several gaps

    async def _delivered(self) -> None:
        """Wait until Kafka has what a job found: a kill between would leave a gap that is said to be filled."""
        deadline = time.monotonic() + DELIVERED_S
        while self._writer.under_way and time.monotonic() < deadline:  # noqa: ASYNC110 - deliveries tell nobody
            await asyncio.sleep(0.002)

    async def _trailing(self) -> None:
        for market in ORDER:
            now = self._event_now(market)
            end = min(now, self._writer.newest_clock(market)) - SETTLE_US  # an open gap holds the clock
            start = max(now - self._window_us, self._writer.known_from(market), await self._first(market))
            if start < end:
                found = 0
                for symbol in self._backfiller.symbols(market):
                    began = time.monotonic()
                    found += await self._symbols(market, [symbol], (start, end), None)
                    # Live trades come first: all symbols one after the other would hold them up for seconds.
                    await asyncio.sleep(min(PAUSE_TIMES * (time.monotonic() - began), LONGEST_PAUSE_S))
                log.info("read again", market=market, start=start, end=end, found=found)

    async def _whole_days(self) -> None:
        for market in ORDER:
            day = _closed_day(market, self._event_now(market))
            if day <= self._days[market]:
                continue
            start = day * DAY_US + (STOCKS_DAY_SHIFT_US if market == "stocks" else 0)
            found = await self._read(Job(market, (start, start + DAY_US - 1_000)))
            self._days[market] = day
            log.info("read the whole day again", market=market, start=start, found=found)

    async def _read(self, job: Job) -> int:
        """Write what is new of a job's span and symbols that are not done; returns how much it brought in all."""
        first = await self._first(job.market)
        span = (max(job.span[0], first), job.span[1])
        if not first or span[0] > span[1]:
            return job.found
        symbols = [symbol for symbol in self._backfiller.symbols(job.market) if symbol not in job.done]
        for p in range(self._log.partitions):
            await self._partition(job, span, p, [s for s in symbols if partition_of(s, self._log.partitions) == p])
        return job.found

    async def _partition(self, job: Job, span: Span, p: int, symbols: list[str]) -> None:
        """Read some symbols, compared with the log itself where ``span`` is older than the writer remembers."""
        market, known, looked = job.market, None, 0.0
        for symbol in symbols:
            if known is None and self._remembers(market, span):
                job.found += await self._symbols(market, [symbol], span, None)
                if self._remembers(market, span):  # still, so that nothing was left alone
                    job.done.add(symbol)
                    continue
            if known is None or time.monotonic() - looked > KNOWN_S:
                known = await asyncio.to_thread(standing, self._log.bootstrap, self._log.topic(market), p, *span)
                looked = time.monotonic()
            job.found += await self._symbols(market, [symbol], span, known)
            job.done.add(symbol)

    def _remembers(self, market: str, span: Span) -> bool:
        return span[0] >= self._writer.known_from(market)

    async def _symbols(self, market: str, symbols: list[str], span: Span, known: set[int] | None) -> int:
        accept = partial(self._accept, market, known)
        deadline = time.monotonic() + READ_S
        return await self._backfiller.read(market, dict.fromkeys(symbols, span), deadline, accept=accept)

    def _accept(self, market: str, known: set[int] | None, trade: Trade) -> bool:
        """Whether ``trade`` can be new; the writer drops what it remembers itself."""
        if known is not None:
            return key_of(trade) not in known
        return trade.ts >= self._writer.known_from(market)

    async def _first(self, market: str) -> int:
        """Where the log begins: nothing before it is missing."""
        if not self._born.get(market):
            bootstrap, topic = self._log.bootstrap, self._log.topic(market)
            self._born[market] = await asyncio.to_thread(first_clock, bootstrap, topic)
        return self._born[market]


def _closed_day(market: str, now: int) -> int:
    """The number of the last trading day that was over at ``now`` (µs)."""
    shift = STOCKS_DAY_SHIFT_US if market == "stocks" else 0
    return (now - shift - CLOSED_US[market]) // DAY_US
