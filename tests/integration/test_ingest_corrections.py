"""What the poller reads again: cancels, which the socket never sends, and trades that it did not bring."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from feed.events import Event, StockTrade
from feed.pump import wall_ms
from feed.server import FeedServer
from feed.settings import FeedSettings
from tests.feed_peer import Script
from tests.integration.test_ingest_live import Record, standing
from tests.support.topics import new_namespace
from tests.support.workers import Worker, eventually

PARTITIONS = 2


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


def trade(symbol: str, number: int, ago_ms: int = 0, correction: int = 0) -> Event:
    ts = wall_ms() - ago_ms
    made = StockTrade(symbol, 12, str(number), 3, 20.5, 100, ts, number)
    return Event(ts, "T", symbol, made, made, correction)


async def test_cancels_and_trades_that_were_missed_are_found_and_written_once(
    kafka: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script()
    settings = FeedSettings(ws_port=0, rest_port=0)
    async with FeedServer(settings, script) as feed:
        urls = {f"{m.upper()}_URL": f"{feed.ws_url}/{m}" for m in ("stocks", "crypto")} | {"REST_URL": feed.rest_url}
        env = {"SYMBOLS": "MARA", "PARTITIONS": str(PARTITIONS), "POLYGON_API_KEY": "", "SPOOL_DIR": str(tmp_path)}
        worker = Worker("services.ingest", kafka, namespace, tmp_path / "log", CORRECTIONS_EVERY_S="2", **urls, **env)
        with worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            for number in range(20):
                script.put(trade("MARA", number))
                await asyncio.sleep(0.1)
            script.put(trade("MARA", 5, correction=8), trade("MARA", 100, correction=10))
            # Nobody hears of these but REST.
            publish = feed.hub.publish
            monkeypatch.setattr(feed.hub, "publish", lambda _events: None)
            script.put(trade("MARA", 200), trade("MARA", 201, ago_ms=500))
            await asyncio.sleep(0.2)
            monkeypatch.setattr(feed.hub, "publish", publish)

            def found() -> list[Record]:
                records = [r for p in standing(kafka, namespace + "trades.stocks") for r in p]
                again = [r for r in records if r.get("backfilled")]
                return records if len(again) >= 3 else []

            await asyncio.to_thread(eventually, found, lambda: worker.output()[-2_000:], 60, 1)
            await asyncio.to_thread(worker.wait_for, "read again", len(worker.events("read again")) + 4)
            records = await asyncio.to_thread(found)
            await asyncio.to_thread(worker.terminate)
    trades = [r for r in records if r["kind"] == "trade"]
    again = {(r["id"], r.get("correction", 0)) for r in trades if r.get("backfilled")}
    assert again == {("100", 10), ("200", 0), ("201", 0)}
    live = [r["id"] for r in trades if not r.get("backfilled")]
    assert sorted(live, key=int) == [str(n) for n in range(20)]
    assert len(trades) == 23
    cancel = next(r for r in trades if r.get("correction"))
    assert cancel["ts"] == cancel["ts_ns"] // 1_000_000 * 1_000
