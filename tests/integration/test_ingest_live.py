"""Ingest against the bundled feed, on a real Kafka."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from feed.server import FeedServer
from feed.settings import FeedSettings
from marketdata.partition import partition_of
from tests.support.topics import new_namespace, read_messages
from tests.support.workers import Worker

PARTITIONS = 6
UNSENT_US = 20_000
"""What the feed had due so shortly before it stood still, it may not have sent yet: its tick is 5 ms."""
SYMBOLS = ("BTC-USD", "BTDR", "CAN", "CLSK", "CORZ", "MARA", "RIOT")
Stalls = list[tuple[int, int]]
Identity = tuple[str, int, int, str, int]
Record = dict[str, Any]


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


@asynccontextmanager
async def stalls() -> AsyncIterator[Stalls]:
    """When this process, and the feed in it, stood still for over 0.1 s, from and to in µs: it was busy elsewhere."""
    found: Stalls = []

    async def watch() -> None:
        while True:
            began = time.time_ns() // 1_000
            await asyncio.sleep(0.01)
            if (now := time.time_ns() // 1_000) - began > 100_000:
                found.append((began - UNSENT_US, now))

    watching = asyncio.create_task(watch())
    yield found
    watching.cancel()


@asynccontextmanager
async def bundled(ledger: Path, rate: float = 600) -> AsyncIterator[FeedServer]:
    settings = FeedSettings(ws_port=0, rest_port=0, symbols=SYMBOLS, rate=rate, burst=2, ledger=ledger, tick_ms=5)
    async with FeedServer(settings) as feed:
        yield feed


def ingest(kafka: str, namespace: str, feed: FeedServer, log: Path, **env: str) -> Worker:
    urls = {f"{market.upper()}_URL": f"{feed.ws_url}/{market}" for market in ("stocks", "crypto")}
    urls["REST_URL"] = feed.rest_url
    symbols = {"SYMBOLS": ",".join(SYMBOLS[1:]), "PARTITIONS": str(PARTITIONS), "POLYGON_API_KEY": ""}
    return Worker("services.ingest", kafka, namespace, log, **urls, **symbols, **env)


def sent(ledger: Path) -> list[Record]:
    lines = [json.loads(line) for line in ledger.read_bytes().splitlines()]
    return [line for line in lines if not line.get("correction")]


def identity(line: Record) -> Identity:
    return (line["symbol"], line["exchange"], line["trf"] or 0, line["id"], line["ts"] * 1_000)


def standing(kafka: str, topic: str) -> list[list[Record]]:
    """Every record by partition, with the broker's time of writing in µs."""
    return [
        [json.loads(m.value()) | {"written": m.timestamp()[1] * 1_000, "at": p} for m in partition]
        for p, partition in enumerate(read_messages(kafka, topic))
    ]


def check_clocks(partitions: list[list[Record]], killed: tuple[int, ...] = ()) -> list[tuple[int, int]]:
    """Strictly increasing in every partition and the same in all; returns (epoch, ts) of each.

    What an epoch that was ``killed`` left in a partition is a prefix of what it left in the others. A new epoch first
    says the partition's last clock again.
    """
    clocks = [without_fences([(r["epoch"], r["ts"]) for r in p if r["kind"] == "clock"]) for p in partitions]
    whole: list[tuple[int, int]] = []
    for epoch in sorted({epoch for each in clocks for epoch, _ in each}):
        parts = [[clock for clock in each if clock[0] == epoch] for each in clocks]
        longest = max(parts, key=len)
        assert all(part == (longest[: len(part)] if epoch in killed else longest) for part in parts)
        whole += longest
    for each in (*clocks, whole):
        values = [ts for _, ts in each]
        assert values == sorted(set(values)), "nor does a new epoch go back"
        assert all(ts % 50_000 == 0 for ts in values)
    return whole


def without_fences(clocks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The clocks (epoch, ts) of a partition without those with which a new epoch repeats the last."""
    kept = clocks[:1]
    for before, clock in pairwise(clocks):
        if clock[0] == before[0]:
            kept.append(clock)
        else:
            assert clock[1] == before[1], "a new epoch says the last clock again"
    return kept


def late(partitions: list[list[Record]], kind: str, stalled: Stalls) -> tuple[int, int]:
    """(trades below a clock they should stand above, all trades), the feed's deliberately late ones aside.

    So are those of times when the feed ``stalled``: it sent them late.
    """
    count = total = 0
    for partition in partitions:
        clock = 0
        for record in partition:
            if record["kind"] == "clock":
                clock = record["ts"]
            elif record["kind"] == kind and record.get("trf", 0) == 0:
                total += 1
                on_time = not any(began <= record["ts"] <= ended for began, ended in stalled)
                count += on_time and record["ts"] < clock
    return count, total


async def test_what_the_feed_sends_stands_in_the_log_once_and_clocks_are_true(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with stalls() as stalled, bundled(tmp_path / "ledger") as feed:
        with ingest(kafka, namespace, feed, tmp_path / "log") as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            await asyncio.sleep(0.5)
            feed.ledger.flush()
            before = len(sent(tmp_path / "ledger"))
            await asyncio.sleep(4)
            feed.ledger.flush()
            wanted = sent(tmp_path / "ledger")[before:]
            await asyncio.sleep(1)
            healthy, checks = await asyncio.to_thread(worker.health)
            assert healthy, checks
            status, seconds = await asyncio.to_thread(worker.terminate)
            assert status == 0, worker.output()
            assert seconds < 4
    stocks, crypto = standing(kafka, namespace + "trades.stocks"), standing(kafka, namespace + "trades.crypto")
    trades = [r for p in stocks + crypto for r in p if r["kind"] == "trade"]
    found = [(r["symbol"], r["exchange"], r.get("trf", 0), r["id"], r["ts"]) for r in trades]
    assert len(found) == len(set(found))
    assert len(wanted) > 1_000
    assert not {identity(line) for line in wanted} - set(found)
    assert all(r["at"] == partition_of(r["symbol"], PARTITIONS) for r in trades)
    coins = [r["id"] for p in crypto for r in p if r["kind"] == "trade"]
    assert all([r["id"] for r in p if r["kind"] == "reference"] == coins for p in stocks)
    for partitions in (stocks, crypto):
        assert len(check_clocks(partitions)) > 60
        count, total = late(partitions, "trade", stalled)
        assert total > 100
        assert count <= total / 1_000, f"{count} of {total} stand below a clock that says they stand above"


async def test_a_restart_goes_on_with_the_next_epoch_and_says_what_is_missing(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with bundled(tmp_path / "ledger", rate=200) as feed:
        with ingest(kafka, namespace, feed, tmp_path / "log") as worker:
            for round_number in range(3):
                if round_number:
                    await asyncio.to_thread(worker.start)
                await asyncio.to_thread(worker.wait_for, "connected", 2)
                await asyncio.sleep(2)
                (worker.kill if round_number == 0 else worker.terminate)()
    for market in ("stocks", "crypto"):
        clocks = check_clocks(standing(kafka, namespace + f"trades.{market}"), killed=(1,))
        assert {epoch for epoch, _ in clocks} == {1, 2, 3}
        trades = [r for p in standing(kafka, namespace + f"trades.{market}") for r in p if r["kind"] == "trade"]
        found = [(r["symbol"], r["exchange"], r.get("trf", 0), r["id"], r["ts"]) for r in trades]
        assert len(found) == len(set(found))
        ((*gaps,),) = [[r for r in p if r["cluster"] == market] for p in standing(kafka, namespace + "feed.gaps")]
        assert [(gap["status"], gap["epoch"]) for gap in gaps] == [
            ("open", 2), ("filled", 2), ("open", 3), ("filled", 3)
        ]  # fmt: skip
        for opened, closed in zip(gaps[::2], gaps[1::2], strict=True):
            assert opened["start"] == closed["start"] < closed["end"]
            last_clock = max(ts for epoch, ts in clocks if epoch < opened["epoch"])
            assert opened["start"] <= last_clock
            missed = [ts for _, ts in clocks if opened["start"] < ts < closed["end"] - 250_000]
            assert len(missed) <= 12, "the clock waits at the start of the gap"


async def test_after_a_stall_clocks_speak_for_what_waited_in_the_sockets(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    """Stopped for longer than the allowance, ingest finds old trades in its sockets: no clock may pass them."""
    async with stalls() as stalled, bundled(tmp_path / "ledger", rate=2_000) as feed:
        with ingest(kafka, namespace, feed, tmp_path / "log") as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            await asyncio.sleep(1)
            for _ in range(6):
                worker.pause()
                await asyncio.sleep(0.9)
                worker.resume()
                await asyncio.sleep(0.6)
            await asyncio.to_thread(worker.terminate)
    for market in ("stocks", "crypto"):
        partitions = standing(kafka, namespace + f"trades.{market}")
        check_clocks(partitions)
        count, total = late(partitions, "trade", stalled)
        assert total > 300
        assert count <= total / 1_000, f"{count} of {total} stand below a clock that says they stand above"
