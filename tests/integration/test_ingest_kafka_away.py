"""Ingest while Kafka is not there yet, away, or another one."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from feed.server import FeedServer
from market.native import KafkaBroker, choose_port
from tests.integration.test_ingest_live import (
    bundled,
    check_clocks,
    identity,
    ingest,
    sent,
    standing,
)
from tests.support.topics import read_topic
from tests.support.workers import Worker, eventually

NAMESPACE = "away."
RATE = 300
AWAY_S = 25
ALLOWANCE_US = 250_000
MARKETS = ("stocks", "crypto")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """One of the test's own, not started yet: the shared one must stay up."""
    broker = KafkaBroker(tmp_path / "kafka", choose_port())
    yield broker
    broker.stop()


def worker_of(broker: KafkaBroker, feed: FeedServer, directory: Path, **env: str) -> Worker:
    limits = {"QUEUE_FRAMES": "100", "SPOOL_DIR": str(directory / "spool")}
    return ingest(broker.bootstrap, NAMESPACE, feed, directory / "ingest.log", **(limits | env))


def spooled(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "spool").rglob("*.frames"))


def trades(bootstrap: str) -> list[tuple[Any, ...]]:
    return [
        (r["symbol"], r["exchange"], r.get("trf", 0), r["id"], r["ts"])
        for market in MARKETS
        for p in read_topic(bootstrap, NAMESPACE + f"trades.{market}")
        for r in p
        if r["kind"] == "trade"
    ]


def untrue(partitions: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Trades below a clock although they were received before that clock was due: the wall clock says until when."""
    found = []
    for partition in partitions:
        clock = 0
        for record in partition:
            if record["kind"] == "clock":
                clock = record["ts"]
            elif record["ts"] < clock and record["received_ts"] < clock + ALLOWANCE_US:
                found.append(record | {"clock": clock})
    return found


async def now_sent(feed: FeedServer, ledger: Path) -> int:
    """How many trades the feed has sent until now that ingest has received."""
    feed.ledger.flush()
    count = len(sent(ledger))
    await asyncio.sleep(1)
    return count


async def test_nothing_is_lost_while_kafka_is_away_and_clocks_stay_true(broker: KafkaBroker, tmp_path: Path) -> None:
    await asyncio.to_thread(broker.start)
    async with bundled(tmp_path / "ledger", rate=RATE) as feed:
        with worker_of(broker, feed, tmp_path) as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            first = await now_sent(feed, tmp_path / "ledger")
            memory = psutil.Process(worker.child.popen.pid).memory_info().rss
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(AWAY_S)
            grown = psutil.Process(worker.child.popen.pid).memory_info().rss - memory
            waiting = spooled(tmp_path)
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(worker.wait_for, "no frames wait on disk any more")
            await asyncio.sleep(2)
            last = await now_sent(feed, tmp_path / "ledger")
            status, _ = await asyncio.to_thread(worker.terminate)
            assert status == 0, worker.output()
            assert not worker.events("connection lost"), "it read on all the time"
    print(f"{waiting} bytes on disk after {AWAY_S} s, memory grew by {grown >> 20} MiB")
    assert waiting > RATE * AWAY_S * 40, "what came meanwhile was on disk"
    assert grown < 32 * 1024 * 1024
    assert spooled(tmp_path) == 0
    found = trades(broker.bootstrap)
    assert len(found) == len(set(found))
    wanted = {identity(line) for line in sent(tmp_path / "ledger")[first:last]}
    assert len(wanted) > RATE * AWAY_S * 0.7
    assert not wanted - set(found)
    for market in MARKETS:
        partitions = standing(broker.bootstrap, NAMESPACE + f"trades.{market}")
        assert len(check_clocks(partitions)) > 60
        assert not untrue(partitions), "what was received in time stands above the clock that speaks for it"


async def test_a_stop_while_kafka_is_away_leaves_the_frames_for_the_next_start(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    await asyncio.to_thread(broker.start)
    async with bundled(tmp_path / "ledger", rate=RATE) as feed:
        with worker_of(broker, feed, tmp_path) as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            await asyncio.sleep(1)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(4)
            first = await now_sent(feed, tmp_path / "ledger")
            await asyncio.sleep(5)
            last = await now_sent(feed, tmp_path / "ledger")
            status, seconds = await asyncio.to_thread(worker.terminate)
            assert seconds < 10
            assert worker.events("frames are left for the next start")
            assert worker.events("stopped")[-1]["undelivered"] == 0 or status == 1
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(worker.start)
            await asyncio.to_thread(worker.wait_for, "no frames wait on disk any more")
            await asyncio.sleep(1)
            status, _ = await asyncio.to_thread(worker.terminate)
            assert status == 0, worker.output()
    assert spooled(tmp_path) == 0
    found = trades(broker.bootstrap)
    assert len(found) == len(set(found))
    wanted = {identity(line) for line in sent(tmp_path / "ledger")[first:last]}
    assert len(wanted) > RATE * 3
    assert not wanted - set(found)


async def test_it_waits_for_kafka_makes_its_topics_and_notices_a_kafka_made_anew(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    async with bundled(tmp_path / "ledger", rate=RATE) as feed:
        with worker_of(broker, feed, tmp_path, KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{broker.port}") as worker:
            said = await asyncio.to_thread(worker.wait_for, "Kafka does not answer", 2)
            assert "trying again" in said["action"]
            status, seconds = await asyncio.to_thread(worker.terminate)
            assert (status, seconds < 10) == (0, True), worker.output()
            await asyncio.to_thread(worker.start)
            await asyncio.to_thread(worker.wait_for, "Kafka does not answer")
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            assert worker.events("holder")[0]["epoch"] == 1
            await asyncio.sleep(2)
            await asyncio.to_thread(broker.kill)
            shutil.rmtree(broker.data_dir / "log")
            await asyncio.to_thread(broker.start)
            assert await asyncio.to_thread(worker.ended) == 70, worker.output()
            assert "made anew" in worker.events("fatal")[-1]["reason"]
            await asyncio.to_thread(worker.start)
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            assert worker.events("holder")[0]["epoch"] == 1
            await asyncio.to_thread(eventually, lambda: trades(broker.bootstrap), "trades in the new log")
            await asyncio.to_thread(worker.terminate)
