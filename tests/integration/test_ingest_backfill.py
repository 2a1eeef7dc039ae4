"""Gaps of the feed, filled from the bundled feed's REST: nothing lost, nothing twice, no clock ahead of its gap."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from feed.events import Event
from feed.model import MarketModel
from feed.pump import wall_ms
from feed.server import FeedServer
from feed.settings import FeedSettings
from tests.integration.test_ingest_live import Record, check_clocks, identity, sent, standing
from tests.support.cutter import Cutter, cutter
from tests.support.topics import new_namespace
from tests.support.workers import Worker, eventually

PARTITIONS = 6
SYMBOLS = ("BTC-USD", "BTDR", "CAN", "CLSK", "CORZ", "MARA", "RIOT")
RATE = 600
ON_THE_WAY_US = 1_500_000
"""A clock may pass the start of a gap by as much as the loss took to be noticed, on a busy machine."""


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


class StocksDelayed:
    """A market as a delayed plan shows it: stock trades come so many ms after they happened, BTC at once."""

    def __init__(self, delay_ms: int) -> None:
        self._delay_ms = delay_ms
        self._model = MarketModel(list(SYMBOLS), 3, RATE, wall_ms(), burst=2)
        self._waiting: deque[tuple[int, Event]] = deque()

    def advance(self, to_ms: int) -> list[Event]:
        due = []
        for event in self._model.advance(to_ms):
            if event.ev == "T" and self._delay_ms:
                self._waiting.append((to_ms + self._delay_ms, event))
            else:
                due.append(event)
        while self._waiting and self._waiting[0][0] <= to_ms:
            due.append(self._waiting.popleft()[1])
        return due


@dataclass
class Stand:
    """A feed behind proxies, and an ingest on it."""

    feed: FeedServer
    sockets: Cutter
    rest: Cutter
    worker: Worker
    ledger: Path
    since_ms: int = 0

    def sent(self) -> set[tuple[Any, ...]]:
        """Identities of what the feed's own account has by now of the time since ingest was there."""
        self.feed.ledger.flush()
        return {identity(line) for line in sent(self.ledger) if line["ts"] >= self.since_ms}

    async def gap(self, market: str, status: str) -> Record:
        def found() -> Record | None:
            assert self.worker.child.running, self.worker.output()
            events = self.worker.events("gap in the feed")
            return next((e for e in events if (e["market"], e["status"]) == (market, status)), None)

        answer: Record = await asyncio.to_thread(eventually, found, lambda: self.worker.output()[-2_000:])
        return answer


@asynccontextmanager
async def stand(kafka: str, namespace: str, path: Path, delay_ms: int = 0, **env: str) -> AsyncIterator[Stand]:
    settings = FeedSettings(ws_port=0, rest_port=0, symbols=SYMBOLS, ledger=path / "ledger", tick_ms=5)
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(FeedServer(settings, StocksDelayed(delay_ms)))
        sockets = await stack.enter_async_context(cutter(feed.ws_url))
        rest = await stack.enter_async_context(cutter(feed.rest_url))
        urls = {f"{m.upper()}_URL": f"{sockets.url}/{m}" for m in ("stocks", "crypto")} | {"REST_URL": rest.url}
        common = {"SYMBOLS": ",".join(SYMBOLS[1:]), "PARTITIONS": str(PARTITIONS), "POLYGON_API_KEY": ""}
        spool = {"SPOOL_DIR": str(path / "spool")}
        worker = Worker("services.ingest", kafka, namespace, path / "log", **urls, **common, **spool, **env)
        stack.enter_context(worker)
        await asyncio.to_thread(worker.wait_for, "connected", 2)
        await asyncio.sleep(1 + delay_ms / 1_000)
        yield Stand(feed, sockets, rest, worker, path / "ledger", wall_ms())


async def finish(stand: Stand) -> set[tuple[Any, ...]]:
    """Let it run on for a moment, and stop it; returns what must stand in the log."""
    await asyncio.sleep(1)
    wanted = stand.sent()
    await asyncio.sleep(1)
    status, _ = await asyncio.to_thread(stand.worker.terminate)
    assert status == 0, stand.worker.output()
    return wanted


def trades_of(partitions: list[list[Record]]) -> list[Record]:
    return [record for partition in partitions for record in partition if record["kind"] == "trade"]


def identities(trades: list[Record]) -> list[tuple[Any, ...]]:
    return [(r["symbol"], r["exchange"], r.get("trf", 0), r["id"], r["ts"]) for r in trades]


def each_once(wanted: set[tuple[Any, ...]], *markets: list[list[Record]]) -> None:
    found = [key for partitions in markets for key in identities(trades_of(partitions))]
    assert len(found) == len(set(found))
    missing = sorted(wanted - set(found), key=lambda key: key[4])
    assert not missing, f"{len(missing)} of {len(wanted)}: {missing[:5]}"


def held(partitions: list[list[Record]], gap: Record) -> int:
    """How many trades of the gap stand there; no clock above them is past its start."""
    count = 0
    for partition in partitions:
        clock = 0
        for record in partition:
            if record["kind"] == "clock":
                clock = record["ts"]
            elif record["kind"] == "trade" and record.get("backfilled") and gap["start"] < record["ts"] < gap["end"]:
                count += 1
                assert clock <= gap["start"] + ON_THE_WAY_US, "the clock went on before the gap was filled"
    return count


def held_within(partitions: list[list[Record]], gap: Record) -> int:
    """How many filled-in trades of the gap stand there, wherever."""
    return sum(bool(r.get("backfilled")) and gap["start"] < r["ts"] < gap["end"] for r in trades_of(partitions))


@pytest.mark.parametrize("delay_ms", [0, 4_000], ids=["real-time", "delayed stocks"])
async def test_what_was_missed_is_filled_in_before_the_clock_goes_on(
    kafka: str, namespace: str, tmp_path: Path, delay_ms: int
) -> None:
    async with stand(kafka, namespace, tmp_path, delay_ms, STOCKS_FEED_DELAY_S=str(delay_ms / 1_000)) as here:
        here.since_ms -= delay_ms
        here.sockets.cut()
        cut_us = time.time_ns() // 1_000
        await asyncio.sleep(4)
        here.sockets.mend()
        gaps = {market: await here.gap(market, "filled") for market in ("stocks", "crypto")}
        wanted = await finish(here)
    stocks, crypto = (standing(kafka, f"{namespace}trades.{m}") for m in ("stocks", "crypto"))
    assert len(wanted) > 2_000
    each_once(wanted, stocks, crypto)
    for market, partitions in (("stocks", stocks), ("crypto", crypto)):
        records = [r for p in standing(kafka, namespace + "feed.gaps") for r in p if r["cluster"] == market]
        assert [r["status"] for r in records] == ["open", "filled"]
        opened, filled = records
        gap = gaps[market]
        assert (opened["start"], gap["start"], filled["end"]) == (gap["start"], filled["start"], gap["end"])
        delay_us = delay_ms * 1_000 if market == "stocks" else 0
        assert abs(gap["start"] + delay_us - cut_us) < 1_000_000, "in event time"
        assert gap["end"] - gap["start"] > 3_000_000
        in_gap = held(partitions, gap)
        assert in_gap > 50
        assert filled["trades"] == sum(bool(r.get("backfilled")) for r in trades_of(partitions)) >= in_gap
        check_clocks(partitions)
    for partition in stocks:
        filled_in = [(i, r["kind"]) for i, r in enumerate(partition) if r.get("backfilled")]
        coins = [i for i, kind in filled_in if kind == "reference"]
        assert len(coins) > 20
        assert all(i > coins[-1] for i, kind in filled_in if kind == "trade"), "BTC stands before the stocks"


async def test_what_rest_does_not_give_in_time_is_given_up_and_filled_in_when_it_does(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with stand(kafka, namespace, tmp_path, GAP_TIMEOUT_S="4") as here:
        here.rest.fails = True
        here.sockets.cut()
        await asyncio.sleep(2)
        here.sockets.mend()
        gaps = {market: await here.gap(market, "given_up") for market in ("stocks", "crypto")}
        await asyncio.sleep(2)
        healthy, checks = await asyncio.to_thread(here.worker.health)
        assert healthy, checks
        before = {m: standing(kafka, f"{namespace}trades.{m}") for m in gaps}
        here.rest.fails = False
        for market in gaps:
            await here.gap(market, "filled")
        wanted = await finish(here)
    for market, gap in gaps.items():
        records = [r for p in standing(kafka, namespace + "feed.gaps") for r in p if r["cluster"] == market]
        words = [r["status"] for r in records]  # given up twice: before and after its end was known
        assert words in (["open", "given_up", "filled"], ["open", "given_up", "given_up", "filled"])
        assert [r["end"] is None for r in records] == [True, *[True] * (len(records) - 3), False, False]
        assert not [r for r in trades_of(before[market]) if r.get("backfilled")]
        clocks = [r for p in before[market] for r in p if r["kind"] == "clock"]
        passed = [r["written"] for r in clocks if r["ts"] > gap["start"] + ON_THE_WAY_US]
        assert passed, "the clock goes on"
        assert min(passed) > gap["start"] + 3_500_000, "it waited until then"
        assert records[-1]["trades"] > 50
    each_once(wanted, *(standing(kafka, f"{namespace}trades.{m}") for m in gaps))


async def test_a_new_ingest_fills_what_its_predecessor_gave_up(kafka: str, namespace: str, tmp_path: Path) -> None:
    """The gap is older than either remembers, so that what REST shows is compared with the log."""
    gaps: dict[str, Record] = {}

    def word(market: str) -> Record:
        records = [r for p in standing(kafka, namespace + "feed.gaps") for r in p]
        same = [r for r in records if (r["cluster"], r["start"]) == (market, gaps[market]["start"])]
        return same[-1]

    async with stand(kafka, namespace, tmp_path, GAP_TIMEOUT_S="3", REVISION_HORIZON_S="10") as here:
        here.rest.fails = True
        here.sockets.cut()
        await asyncio.sleep(2)
        here.sockets.mend()
        for market in ("stocks", "crypto"):
            gaps[market] = await here.gap(market, "given_up")
        await asyncio.sleep(20)
        here.worker.kill()
        gaps = {market: word(market) for market in gaps}  # its end was told later where the feed was still away
        assert all(gap["status"] == "given_up" and gap["end"] for gap in gaps.values())
        before = {m: standing(kafka, f"{namespace}trades.{m}") for m in gaps}
        here.rest.fails = False
        await asyncio.to_thread(here.worker.start, GAP_TIMEOUT_S="30")

        for market in gaps:
            filled = lambda market=market: word(market)["status"] == "filled"  # noqa: E731
            await asyncio.to_thread(eventually, filled, lambda: here.worker.output()[-2_000:], 90, 1)
        wanted = await finish(here)
    for market, gap in gaps.items():
        last = word(market)
        assert (last["status"], last["end"], last["epoch"]) == ("filled", gap["end"], 2)
        assert last["trades"] > 50
        assert not [r for r in trades_of(before[market]) if r.get("backfilled")], "the first one brought nothing"
        assert held_within(standing(kafka, f"{namespace}trades.{market}"), gap) > 50
    each_once(wanted, *(standing(kafka, f"{namespace}trades.{m}") for m in gaps))


async def test_a_new_ingest_fills_what_its_predecessor_left(kafka: str, namespace: str, tmp_path: Path) -> None:
    async with stand(kafka, namespace, tmp_path) as here:
        here.worker.kill()
        await asyncio.sleep(2)
        await asyncio.to_thread(here.worker.start)
        for market in ("stocks", "crypto"):
            await here.gap(market, "filled")
        here.sockets.cut()  # and again, in the middle of a second gap's filling
        await asyncio.sleep(1)
        here.sockets.mend()
        await here.gap("stocks", "open")
        await asyncio.to_thread(here.worker.wait_for, "connected", 3)
        here.worker.kill()
        await asyncio.to_thread(here.worker.start)
        for market in ("stocks", "crypto"):
            await here.gap(market, "filled")
        wanted = await finish(here)
    each_once(wanted, *(standing(kafka, f"{namespace}trades.{m}") for m in ("stocks", "crypto")))
