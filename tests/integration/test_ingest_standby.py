"""Two ingests of one feed: one writes, the other takes over, and nothing stands twice for a reader."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from feed.server import FeedServer
from tests.integration.test_ingest_live import (
    PARTITIONS,
    bundled,
    check_clocks,
    identity,
    ingest,
    sent,
    standing,
)
from tests.support.topics import new_namespace, read_topic
from tests.support.workers import eventually

FLOWS_WITHIN_S = 10
MARKETS = ("stocks", "crypto")
Record = dict[str, Any]


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


class Pair:
    """A holder and its standby, each with logs and a spool of its own."""

    def __init__(self, kafka: str, namespace: str, feed: FeedServer, directory: Path) -> None:
        self.first, self.second = (
            ingest(kafka, namespace, feed, directory / name, SPOOL_DIR=str(directory / f"{name}-spool"))
            for name in ("first", "second")
        )

    def start(self) -> None:
        self.first.start()
        self.first.wait_for("connected", 2)
        self.second.start()
        self.second.wait_for("standby")
        eventually(lambda: self.second.health()[0], "a standby is healthy")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (self.first, self.second):
            worker.__exit__()


def counted(partition: list[Record]) -> list[Record]:
    """What a reader who keeps the rule of epochs takes: nothing that an older epoch wrote after a newer one."""
    epoch, taken = 0, []
    for record in partition:
        if record["epoch"] >= epoch:
            epoch = record["epoch"]
            taken.append(record)
    return taken


def identities(partitions: list[list[Record]]) -> list[tuple[Any, ...]]:
    return [
        (r["symbol"], r["exchange"], r.get("trf", 0), r["id"], r["ts"])
        for partition in partitions
        for r in counted(partition)
        if r["kind"] == "trade"
    ]


def first_written(partitions: list[list[Record]], epoch: int) -> int:
    """When the broker took the first trade of an epoch, in µs."""
    return int(min(r["written"] for p in partitions for r in p if r["kind"] == "trade" and r["epoch"] == epoch))


async def sent_until_now(feed: FeedServer, ledger: Path) -> int:
    """How many trades the feed has made, all of which ingest has had time to receive."""
    feed.ledger.flush()
    count = len(sent(ledger))
    await asyncio.sleep(1)
    return count


def check_whole(kafka: str, namespace: str, lines: list[Record]) -> None:
    """Each trade of the feed's own ledger stands in the log, once for a reader."""
    found = [one for market in MARKETS for one in identities(standing(kafka, namespace + f"trades.{market}"))]
    assert len(found) == len(set(found))
    wanted = {identity(line) for line in lines}
    missing = wanted - set(found)
    assert len(wanted) > 1_000
    assert not missing, f"{len(missing)} of {len(wanted)}: {sorted(missing)[:5]}"


def check_copies(kafka: str, namespace: str) -> None:
    """Each partition of trades.stocks has a copy of each BTC trade that counts, of no other, and each once."""
    crypto = [counted(partition) for partition in standing(kafka, namespace + "trades.crypto")]
    coins = sorted(r["id"] for p in crypto for r in p if r["kind"] == "trade")
    for partition in standing(kafka, namespace + "trades.stocks"):
        assert sorted(r["id"] for r in counted(partition) if r["kind"] == "reference") == coins


def check_taken_over(kafka: str, namespace: str, since: float) -> None:
    check_copies(kafka, namespace)
    for market in MARKETS:
        partitions = standing(kafka, namespace + f"trades.{market}")
        seconds = first_written(partitions, 2) / 1e6 - since
        print(f"{market}: trades flow again after {seconds:.2f} s")
        assert 0 < seconds < FLOWS_WITHIN_S
        check_clocks([counted(p) for p in partitions], killed=(1,))
        gaps = [r for p in read_topic(kafka, namespace + "feed.gaps") for r in p if r["cluster"] == market]
        assert [(gap["status"], gap["epoch"]) for gap in gaps[:2]] == [("open", 2), ("filled", 2)]
        newest = min(max(r["ts"] for r in p if r["kind"] == "clock" and r["epoch"] == 1) for p in partitions)
        assert gaps[0]["start"] <= newest, "what the dead one had not written everywhere is missing"


async def test_a_standby_takes_over_within_ten_seconds_of_a_kill(kafka: str, namespace: str, tmp_path: Path) -> None:
    async with bundled(tmp_path / "ledger") as feed:
        with Pair(kafka, namespace, feed, tmp_path) as pair:
            await asyncio.to_thread(pair.start)
            assert not pair.second.events("connected"), "the feed allows one connection"
            first = await sent_until_now(feed, tmp_path / "ledger")
            await asyncio.sleep(1)
            killed = time.time()
            pair.first.kill()
            await asyncio.to_thread(pair.second.wait_for, "gap in the feed", 4)
            healthy, checks = await asyncio.to_thread(pair.second.health)
            assert checks["role"]["detail"] == {"role": "holder", "epoch": 2}
            assert healthy, checks
            last = await sent_until_now(feed, tmp_path / "ledger")
            status, _ = await asyncio.to_thread(pair.second.terminate)
            assert status == 0, pair.second.output()
    check_taken_over(kafka, namespace, killed)
    check_whole(kafka, namespace, sent(tmp_path / "ledger")[first:last])


async def test_a_stop_gives_the_lease_back_and_the_next_stop_too(kafka: str, namespace: str, tmp_path: Path) -> None:
    async with bundled(tmp_path / "ledger") as feed:
        with Pair(kafka, namespace, feed, tmp_path) as pair:
            await asyncio.to_thread(pair.start)
            first = await sent_until_now(feed, tmp_path / "ledger")
            stopped = time.time()
            status, seconds = await asyncio.to_thread(pair.first.terminate)
            assert status == 0, pair.first.output()
            assert seconds < 10
            await asyncio.to_thread(pair.second.wait_for, "gap in the feed", 4)
            await asyncio.sleep(2)
            last = await sent_until_now(feed, tmp_path / "ledger")
            await asyncio.to_thread(pair.second.terminate)
    check_taken_over(kafka, namespace, stopped)
    check_whole(kafka, namespace, sent(tmp_path / "ledger")[first:last])
    words = [record for partition in read_topic(kafka, namespace + "ingest.lease") for record in partition]
    assert [word["epoch"] for word in words if word.get("released")] == [1, 2]
    assert len({word["holder"] for word in words}) == 2


async def test_a_holder_that_sleeps_and_wakes_ends_and_adds_nothing_that_counts(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with bundled(tmp_path / "ledger") as feed:
        with Pair(kafka, namespace, feed, tmp_path) as pair:
            await asyncio.to_thread(pair.start)
            first = await sent_until_now(feed, tmp_path / "ledger")
            pair.first.pause()
            await asyncio.to_thread(pair.second.wait_for, "holder")
            refused = await asyncio.to_thread(pair.second.wait_for, "connection lost")
            assert refused["reason"] == "max_connections", "the sleeper's sockets are still open"
            pair.first.resume()
            assert await asyncio.to_thread(pair.first.ended) == 70, pair.first.output()
            (fatal,) = pair.first.events("fatal")
            assert "taken over" in fatal["reason"]
            await asyncio.to_thread(pair.second.wait_for, "gap in the feed", 4)
            last = await sent_until_now(feed, tmp_path / "ledger")
            await asyncio.to_thread(pair.second.terminate)
    check_whole(kafka, namespace, sent(tmp_path / "ledger")[first:last])
    check_copies(kafka, namespace)
    for market in MARKETS:
        partitions = standing(kafka, namespace + f"trades.{market}")
        check_clocks([counted(p) for p in partitions], killed=(1,))
        after = sum(len(p) - len(counted(p)) for p in partitions)
        print(f"{market}: {after} records of the sleeper after its successor's")


async def test_a_standby_that_is_told_to_stop_does_so_and_leaves_the_holder_alone(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    async with bundled(tmp_path / "ledger", rate=100) as feed:
        with Pair(kafka, namespace, feed, tmp_path) as pair:
            await asyncio.to_thread(pair.start)
            status, seconds = await asyncio.to_thread(pair.second.terminate)
            assert (status, seconds < 10) == (0, True), pair.second.output()
            assert pair.first.child.running
            await asyncio.to_thread(pair.first.terminate)
    words = [record for partition in read_topic(kafka, namespace + "ingest.lease") for record in partition]
    assert {word["epoch"] for word in words} == {1}
